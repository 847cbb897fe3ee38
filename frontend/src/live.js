// Live updates of the logs: what changed is gathered and shown at most four times a second, list and drawer alike.
import { refreshDrawer } from './live-drawer.js';
import { discard, followHead, holding, offer, offered, refreshRows } from './live-rows.js';
import { one, remember, say, whenever } from './page.js';
import { openStream } from './stream.js';
import { _, _n } from './texts.js';

const PACE = 250;
const QUIET = 12_000;

let button = null;
let connection = 'connecting';
let paused = false;
const waiting = new Set();

const WORDS = { connecting: _('Connecting'), live: _('Live'), lost: _('Reconnecting'), ended: _('Signed out') };

const show = () => {
  if (!button) return;
  const count = waiting.size;
  const held = () => (count ? _n('Paused, %(count)s change', 'Paused, %(count)s changes', count) : _('Paused'));
  const text = paused && connection !== 'ended' ? held() : WORDS[connection];
  button.dataset.state = paused ? 'paused' : connection;
  button.setAttribute('aria-pressed', paused);
  if (one('.lbl', button).textContent !== text) one('.lbl', button).textContent = text;
};

// Said now and then, however much happens.
let news = 0;
let silence = 0;
const announce = (count) => {
  news += count;
  if (!news || silence) return;
  say(_n('%(count)s new conversation', '%(count)s new conversations', news));
  news = 0;
  silence = setTimeout(() => { silence = 0; announce(0); }, QUIET);
};

// The figures above the list cost more than its rows, and need not be of this second.
const FIGURES_EVERY = 10_000;
let figures = 0;
const freshFigures = () => {
  figures ||= setTimeout(() => {
    figures = 0;
    if (!paused && !document.hidden) one('#figures')?.dispatchEvent(new Event('stale'));
  }, FIGURES_EVERY);
};

let timer = 0;
let busy = false;
let free = 0;
const flush = async () => {
  timer = 0;
  if (busy || paused || document.hidden || !waiting.size) return;
  busy = true;
  const ids = [...waiting];
  waiting.clear();
  const begun = performance.now();
  try {
    const open = one('.dr')?.dataset.session;
    if (open && (ids.includes(open) || ids.includes('*'))) await refreshDrawer(one('.dr'));
    // A list that cannot be shown has nothing to follow.
    if (one('#list') && !one('#list [role="alert"]')) announce(holding() ? await refreshRows(ids) : await followHead());
    freshFigures();
  } catch {
    // Whatever it was, it is asked for again: nothing that was heard may be lost.
    ids.forEach((id) => waiting.add(id));
    free = performance.now() + 2000;
  }
  // A server that has much to do is asked less often.
  free = Math.max(free, begun + PACE, performance.now() + 2 * (performance.now() - begun));
  busy = false;
  soon();
};
const soon = () => {
  if (!timer && waiting.size && !paused) timer = setTimeout(flush, Math.max(0, free - performance.now()));
};

const heard = (name, data) => {
  if (name === 'changes') data.changes.forEach((change) => waiting.add(change.session_id));
  if (name === 'reset') waiting.add('*');
  show();
  soon();
};

const pause = (on) => {
  paused = on;
  remember('live', on ? 'paused' : 'on');
  show();
  say(on ? _('Live updates are paused') : _('Live updates are on'));
  soon();
};

document.addEventListener('click', async (event) => {
  if (event.target.closest('[data-live]')) {
    if (connection === 'ended') location.reload();
    else pause(!paused);
  }
  if (event.target.closest('[data-new]')) {
    one('.scroll')?.focus({ preventScroll: true });
    one('.scroll')?.scrollTo({ top: 0 });
    announce(await followHead());
  }
});
export const togglePause = () => { if (button) pause(!paused); };

// What was held back comes in, and what does not belong here goes, when nobody reads the rows any more.
const heldBack = () => offered() || one('#rows > tr[data-left]');
const catchUp = () => { if (heldBack() && !holding() && !paused) { waiting.add('*'); soon(); } };
document.addEventListener('focusout', () => setTimeout(catchUp, 100));
document.addEventListener('scroll', catchUp, { capture: true, passive: true });
document.addEventListener('visibilitychange', () => { if (!document.hidden) soon(); });
setInterval(catchUp, 1000);

// A new result of the filters has everything that is new.
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id === 'list') discard();
});

let begun = false;
whenever(() => {
  button = one('[data-live]');
  const source = one('[data-since]');
  if (!source || begun) { show(); return; }
  begun = true;
  paused = button?.dataset.state === 'paused';
  openStream(source.dataset.since, { heard, state: (now) => { connection = now; show(); } });
  show();
  offer();
});

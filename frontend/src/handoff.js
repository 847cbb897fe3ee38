// The Handoff Inbox: the queue and the open conversation kept up to date, what an agent writes kept on the server, and a
// form that is sent once, however often one clicks and whatever the network does.
import { countTimes, length, put } from './durations.js';
import { useKeys } from './keyboard.js';
import { morphChildren, morphRows } from './morph.js';
import { all, giveFocus, isNarrow, one, partOf, remember, say, whenever } from './page.js';
import { newer, settle } from './parts.js';
import { openStream } from './stream.js';
import { _ } from './texts.js';

const PACE = 250;
const ROWS_EVERY = 15_000;
const LOOK_EVERY = 5_000;
const DRAFT_AFTER = 400;
const TRIES = 8;

const inbox = () => one('[data-inbox]');
const talk = () => one('.talk');
const address = () => inbox().dataset.address;
const show = () => one('#queue').dataset.show;
// Which part of the queue is shown: the same one is asked for again, and stays in the address.
const part = () => {
  const { cursor } = one('#queue').dataset;
  return `show=${show()}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;
};
const headers = (more = {}) => ({ 'HX-Request': 'true', 'X-CSRF-Token': inbox().dataset.csrf, ...more });
const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

// Counting times ------------------------------------------------------------------------------------------------------
const tick = () => {
  countTimes();
  const window_ = one('[data-until]');
  if (!window_) return;
  const left = (Date.parse(window_.dataset.until) - Date.now()) / 1000;
  put(window_, left > 0 ? _('Free text for another %(time)s', { time: length(left) }) : _('24-hour window closed: templates only'));
  window_.classList.toggle('soon', left > 0 && left < 3600);
  // The server decides; the page only stops offering what it would refuse.
  if (left <= 0 && !one('[data-kind-set=answer]')?.disabled) refreshTalk({ composer: true }).catch(() => {});
};
setInterval(() => { if (inbox()) tick(); }, 1000);

// The queue -----------------------------------------------------------------------------------------------------------
const rowsState = () => new Map(all('#waits > li').map((row) => [row.id, { ...row.dataset }]));

const refreshQueue = async () => {
  const open = talk()?.dataset.session ?? '';
  const before = rowsState();
  const fresh = await partOf(`${address()}/rows?${part()}&open=${open}`, headers({ 'X-By-Itself': '1' }));
  const rows = one('#waits', fresh);
  if (!rows) return;
  morphRows(one('#waits'), rows);
  all('[data-chip] b').forEach((count, place) => put(count, all('[data-chip] b', fresh)[place].textContent));
  [['.queue-none', '#waits'], ['.queue-more', '#waits']].forEach(([selector]) => {
    one(selector)?.remove();
    const now = one(selector, fresh);
    if (now) one('#queue').append(now);
  });
  markOpen();
  tellNews(before);
};

const markOpen = () => {
  const open = talk()?.dataset.session;
  all('.wait-link').forEach((link) => {
    if (link.dataset.open === open) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  });
  inbox().classList.toggle('talking', Boolean(talk()));
};

// A note and a sound for what is new, if somebody wants them ----------------------------------------------------------------
let notifying = false;
const tone = () => {
  try {
    const audio = new AudioContext();
    const [swing, volume] = [audio.createOscillator(), audio.createGain()];
    swing.frequency.value = 660;
    volume.gain.setValueAtTime(0.12, audio.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.35);
    swing.connect(volume).connect(audio.destination);
    swing.start();
    swing.stop(audio.currentTime + 0.35);
    swing.onended = () => audio.close();
  } catch {
    // Without sound the note is enough.
  }
};
const notify = (title) => {
  say(title);
  if (!notifying) return;
  tone();
  if (document.hidden && window.Notification?.permission === 'granted') new Notification(title, { tag: 'handoff' });
};
const tellNews = (before) => {
  const rows = all('#waits > li');
  const added = rows.filter((row) => !before.has(row.id) && row.dataset.owned === 'no');
  const written = rows.filter((row) => row.dataset.mine === 'yes'
    && Number(row.dataset.unread) > Number(before.get(row.id)?.unread ?? row.dataset.unread));
  const given = rows.filter((row) => row.dataset.mine === 'yes' && before.has(row.id) && before.get(row.id).mine === 'no');
  if (given.length && given.some((row) => row.id !== `wait-${talk()?.dataset.session}`)) notify(_('A conversation was assigned to you'));
  else if (written.length) notify(_('New message from one of your contacts'));
  else if (added.length) notify(_('A new conversation is waiting'));
};
const showNotify = () => {
  const button = one('[data-notify]');
  if (!button) return;
  button.setAttribute('aria-pressed', notifying);
};

// The open conversation -----------------------------------------------------------------------------------------------
const composer = () => one('[data-composer]');
const lastSeen = () => Number(one('.talk .msgs')?.dataset.last || 0);

// What was done here is said until something else is done here: an update that comes by itself takes no words away.
const dress = (fresh, { composer: everything = false, said = false, emptied = false } = {}) => {
  const [old, now] = [talk(), one('.talk', fresh)];
  if (!old || !now || old.dataset.session !== now.dataset.session) return;
  const changed = ['owner', 'open', 'mine'].some((name) => old.dataset[name] !== now.dataset[name]);
  Object.assign(old.dataset, now.dataset);
  const poped = one('.talk-h :popover-open', old);
  if (!poped || changed) morphChildren(one('.talk-h', old), one('.talk-h', now));
  if (said) one('[data-said]', old).replaceChildren(...one('[data-said]', now).childNodes);
  morphChildren(one('[data-facts]', old), one('[data-facts]', now));
  if (everything || changed) {
    const [form, focused] = [composer(), document.activeElement?.id === 'compose'];
    one('[data-foot]', old).replaceChildren(...one('[data-foot]', now).childNodes);
    if (!emptied) keepWritten(form);
    if (focused) one('#compose', old)?.focus();
  } else {
    const shared = all('.shared-draft', now);
    all('.shared-draft', old).forEach((each) => each.remove());
    one('[data-foot]', old).prepend(...shared);
  }
  tick();
};

// What is being written stays, whoever has the conversation by now; above all, a note does not become an answer.
const keepWritten = (before) => {
  const form = composer();
  if (!before || !form) return;
  const written = one('#compose', before).value;
  const { files } = one('[data-file]', before);
  if (written) one('#compose', form).value = written;
  if (written || before.dataset.chosen) showKind(before.dataset.kind);
  if (written) one('[data-share]', form).checked = one('[data-share]', before).checked;
  if (!files.length) return;
  const field = one('[data-file]', form);
  field.files = files;
  field.dispatchEvent(new Event('change', { bubbles: true }));
};

// Counts what was done here: an answer that was asked for before that may tell of how it was, and is let go.
let done = 0;
const refreshTalk = async (how = {}) => {
  const [open, before] = [talk(), done];
  if (!open) return;
  const fresh = await partOf(`${open.dataset.address}?show=${show()}`, headers({ 'HX-Target': 'section#talk', 'X-By-Itself': '1' }));
  if (talk() !== open || done !== before) return;
  dress(fresh, how);
  const seen = lastSeen();
  await newer(open);
  if (lastSeen() > seen) look();
};

const openTalk = async (id, { push = true, focus = true } = {}) => {
  await saveDraft();
  const to = `${address()}/${id}?${part()}`;
  let fresh;
  try {
    fresh = await partOf(to, headers({ 'HX-Target': 'section#talk' }));
  } catch {
    location.assign(to);
    return;
  }
  one('#talk').replaceChildren(...fresh.childNodes);
  if (push) history.pushState({ handoff: id }, '', to);
  begun(focus);
};
const closeTalk = async () => {
  const id = talk()?.dataset.session;
  await saveDraft();
  history.pushState({}, '', `${address()}?${part()}`);
  one('#talk').replaceChildren();
  markOpen();
  giveFocus(one(`#wait-${id} .wait-link`));
};
const begun = (focus) => {
  markOpen();
  if (!talk()) return;
  settle(talk());
  tick();
  look();
  if (focus) giveFocus(one('#talk-name'));
};
addEventListener('popstate', () => { if (inbox()) location.reload(); });

// Who looks, who types, how far it was read --------------------------------------------------------------------------------
let typedAt = 0;
const look = async () => {
  const open = talk();
  if (!open || document.hidden || !composer()) return;
  const fields = new URLSearchParams({ seen: lastSeen(), typing: Date.now() - typedAt < LOOK_EVERY });
  try {
    const response = await fetch(`${open.dataset.address}/look`, { method: 'POST', body: fields, headers: headers({ 'X-By-Itself': '1' }) });
    if (!response.ok || talk() !== open) return;
    const read = new DOMParser().parseFromString(`<template>${await response.text()}</template>`, 'text/html');
    const fresh = document.createElement('div');
    fresh.append(document.importNode(one('template', read).content, true));
    morphChildren(one('#onlookers'), fresh);
    const row = one(`#wait-${open.dataset.session}`);
    if (row?.classList.contains('unread')) soon('*');
  } catch {
    // The next look tells the same.
  }
};
setInterval(() => { if (inbox()) look(); }, LOOK_EVERY);

// Whether new conversations are given to this agent --------------------------------------------------------------------------
const HERE_EVERY = 45_000;
const here = async (fields = {}) => {
  if (!one('[data-presence]')) return true;
  try {
    const body = new URLSearchParams(fields);
    const response = await fetch(`${address()}/presence`, { method: 'POST', body, headers: headers({ 'X-By-Itself': '1' }) });
    return response.ok;
  } catch {
    return false;
  }
};
const setPresent = async (button) => {
  const available = button.getAttribute('aria-pressed') !== 'true';
  if (!await here({ available })) {
    say(_('That did not work. Try again.'));
    return;
  }
  button.setAttribute('aria-pressed', available);
  put(one('span', button), available ? _('Available') : _('Away'));
  say(available ? _('New conversations will be assigned to you') : _('No new conversations will be assigned to you'));
};
setInterval(() => { if (inbox()) here(); }, HERE_EVERY);

// Drafts --------------------------------------------------------------------------------------------------------------
let draftTimer = 0;
let unsaved = null;
const draftState = (text) => { const place = one('[data-draft-state]'); if (place) put(place, text); };
const noteDraft = () => {
  const form = composer();
  if (!form) return;
  unsaved = {
    to: form.dataset.draft,
    fields: new URLSearchParams({ text: one('#compose', form).value, kind: form.dataset.kind, shared: one('[data-share]', form).checked }),
  };
  clearTimeout(draftTimer);
  draftTimer = setTimeout(saveDraft, DRAFT_AFTER);
};
async function saveDraft() {
  clearTimeout(draftTimer);
  const mine = unsaved;
  if (!mine) return;
  unsaved = null;
  try {
    const response = await fetch(mine.to, { method: 'POST', body: mine.fields, headers: headers({ 'X-By-Itself': '1' }), keepalive: true });
    if (!response.ok) throw new Error(String(response.status));
    draftState(_('Draft saved'));
  } catch {
    draftState(_('Draft not saved yet'));
    unsaved ??= mine;
    draftTimer = setTimeout(saveDraft, 2000);
  }
}
addEventListener('pagehide', saveDraft);
document.addEventListener('visibilitychange', () => { if (document.hidden) saveDraft(); else look(); });

// Forms: sent once, tried again with the same key while the server is away ------------------------------------------------------
const sent = async (form, to) => {
  const body = new FormData(form);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await fetch(to, { method: 'POST', body, headers: headers({ 'HX-Target': 'section#talk' }) });
      if (response.status < 500) return response;
    } catch {
      // It may have arrived; its key sees to it that it is done once.
    }
    if (attempt === TRIES) return null;
    say(_('Not sent yet. Trying again.'));
    draftState(_('Not sent yet. Trying again.'));
    await wait(Math.min(500 * 2 ** attempt, 8000) * (0.75 + Math.random() / 2));
  }
};
const submit = async (form) => {
  if (form.dataset.busy) return;
  form.dataset.busy = 'yes';
  const isComposer = form.matches('[data-composer]');
  if (isComposer) {
    clearTimeout(draftTimer);
    unsaved = null;
  } else await saveDraft();
  all('button', form).forEach((button) => { button.disabled = true; });
  const response = await sent(form, isComposer ? form.dataset[form.dataset.kind] : form.action);
  if (!response || ![200, 409].includes(response.status)) {
    delete form.dataset.busy;
    all('button', form).forEach((button) => { button.disabled = false; });
    const text = response?.status === 404 ? _('This conversation is no longer in the inbox.') : _('That did not work. Try again.');
    say(text);
    draftState(text);
    if (isComposer) noteDraft();
    return;
  }
  const read = new DOMParser().parseFromString(`<template>${await response.text()}</template>`, 'text/html');
  const open = talk();
  form.closest('[popover]')?.hidePopover();
  done += 1;
  dress(document.importNode(one('template', read).content, true), { composer: true, said: true, emptied: isComposer });
  if (isComposer) giveFocus(one('#compose'));
  soon('*');
  await newer(open).catch(() => {});
  one('.talk .chat').scrollTop = one('.talk .chat').scrollHeight;
  look();
};
document.addEventListener('submit', (event) => {
  if (!event.target.matches('[data-act],[data-composer]') || !inbox()) return;
  event.preventDefault();
  submit(event.target);
});

// What the composer offers ---------------------------------------------------------------------------------------------------
const showKind = (kind) => {
  const form = composer();
  if (!form || one(`[data-kind-set=${kind}]`, form).disabled) return false;
  form.dataset.kind = kind;
  form.dataset.chosen = 'yes';
  form.action = form.dataset[kind];
  form.classList.toggle('noting', kind === 'note');
  all('[data-kind-set]', form).forEach((button) => button.setAttribute('aria-pressed', button.dataset.kindSet === kind));
  const field = one('#compose', form);
  const { contact } = field.dataset;
  const isNote = kind === 'note';
  one('label[for=compose]', form).textContent = isNote ? _('Internal note') : _('Reply to %(contact)s', { contact });
  field.placeholder = isNote ? _('A note for colleagues; %(contact)s does not see it', { contact }) : _('Write to %(contact)s', { contact });
  one('[data-send] .lbl', form).textContent = isNote ? _('Add note') : _('Send');
  return true;
};
const setKind = (kind) => {
  if (!showKind(kind)) return;
  one('#compose').focus();
  noteDraft();
};
export const insert = (text) => {
  const field = one('#compose');
  if (!field) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, 'end');
  field.focus();
  field.dispatchEvent(new Event('input', { bubbles: true }));
};

document.addEventListener('input', (event) => {
  if (event.target.id === 'compose') { typedAt = Date.now(); noteDraft(); }
  if (event.target.matches?.('[data-find]')) {
    const wanted = event.target.value.trim().toLowerCase();
    all('li', event.target.closest('[popover]')).forEach((item) => {
      item.hidden = Boolean(wanted) && !item.textContent.toLowerCase().includes(wanted);
    });
  }
  if (event.target.matches?.('[data-find-emoji]')) {
    const wanted = event.target.value.trim().toLowerCase();
    all('.emoji [data-emoji]').forEach((button) => { button.hidden = Boolean(wanted) && !button.getAttribute('aria-label').includes(wanted); });
  }
});
document.addEventListener('change', (event) => {
  if (event.target.matches('[data-share]')) noteDraft();
  if (event.target.matches('[data-file]')) {
    const [file] = event.target.files;
    const chosen = one('[data-chosen]');
    chosen.hidden = !file;
    put(one('span', chosen), file?.name ?? '');
    event.target.setCustomValidity((file?.size ?? 0) > 4_000_000 ? _('This file is larger than 4 MB.') : '');
    event.target.reportValidity();
  }
});
document.addEventListener('toggle', async (event) => {
  const pop = event.target;
  if (event.newState !== 'open' || pop.id !== 'emoji' || pop.childElementCount) return;
  pop.append(await partOf(pop.dataset.source, headers()));
  one('input', pop)?.focus();
}, true);

document.addEventListener('click', (event) => {
  if (!inbox()) return;
  const target = event.target;
  const link = target.closest('.wait-link');
  const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
  if (link && plain) {
    event.preventDefault();
    openTalk(link.dataset.open);
  }
  if (target.closest('[data-back]') && plain) {
    event.preventDefault();
    closeTalk();
  }
  const kind = target.closest('[data-kind-set]');
  if (kind) setKind(kind.dataset.kindSet);
  const emoji = target.closest('[data-emoji]');
  if (emoji) insert(emoji.dataset.emoji);
  const offered = target.closest('[data-insert]');
  if (offered) {
    offered.closest('[popover]').hidePopover();
    if (composer()?.dataset.kind === 'note') setKind('answer');
    insert(offered.dataset.insert);
    // What is still open in it is chosen, so that one types over it.
    const field = one('#compose');
    const gap = /⟦[^⟧]*⟧/.exec(field.value);
    if (gap) field.setSelectionRange(gap.index, gap.index + gap[0].length);
  }
  const presence = target.closest('[data-presence]');
  if (presence) setPresent(presence);
  const draft = target.closest('[data-use-draft]');
  if (draft) insert(draft.dataset.useDraft);
  if (target.closest('[data-unchoose]')) {
    const field = one('[data-file]');
    field.value = '';
    field.dispatchEvent(new Event('change', { bubbles: true }));
  }
  const about = target.closest('[data-about]');
  if (about) {
    const open = talk().classList.toggle('about-open');
    about.setAttribute('aria-expanded', open);
    if (open) one('[data-facts]').scrollTop = 0;
  }
  if (target.closest('[data-notify]')) {
    notifying = !notifying;
    remember('notify', notifying ? 'on' : 'off');
    if (notifying) {
      tone();
      window.Notification?.requestPermission?.();
    }
    showNotify();
    say(notifying ? _('Notifications are on') : _('Notifications are off'));
  }
});

document.addEventListener('keydown', (event) => {
  if (event.target.id === 'compose' && event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    composer().requestSubmit();
  }
});

const step = (by) => {
  const links = all('.wait-link');
  const focused = links.indexOf(document.activeElement);
  const now = focused >= 0 ? focused : links.findIndex((link) => link.hasAttribute('aria-current'));
  const next = links[Math.max(0, Math.min(links.length - 1, now + by))];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
};
const pop = (id) => { one(`#${id}`)?.togglePopover(); one(`#${id} :is(input:not([type=hidden]),textarea,select)`)?.focus(); };
const keys = {
  j: () => step(1),
  k: () => step(-1),
  r: () => setKind('answer'),
  n: () => setKind('note'),
  e: () => pop('resolve'),
  a: () => { if (one('[data-claim]')) one('[data-claim]').click(); else pop(one('#assign') ? 'assign' : 'take-over'); },
  '?': () => one('#keys')?.togglePopover(),
};
if (inbox()) useKeys(keys, () => { if (talk() && isNarrow()) closeTalk(); });

// Live ----------------------------------------------------------------------------------------------------------------
const waiting = new Set();
let timer = 0;
let busy = false;
let free = 0;
let connection = 'connecting';
const WORDS = { connecting: _('Connecting'), live: _('Live'), lost: _('Reconnecting'), ended: _('Signed out') };
const showState = () => {
  const pill = one('[data-inbox-live]');
  if (!pill) return;
  pill.dataset.state = connection;
  put(one('.lbl', pill), WORDS[connection]);
};
const flush = async () => {
  timer = 0;
  if (busy || document.hidden || !waiting.size) return;
  busy = true;
  const ids = [...waiting];
  waiting.clear();
  const at = performance.now();
  try {
    const open = talk()?.dataset.session;
    if (open && (ids.includes(open) || ids.includes('*'))) await refreshTalk();
    await refreshQueue();
  } catch {
    ids.forEach((id) => waiting.add(id));
    free = performance.now() + 2000;
  }
  // A server that has much to do is asked less often.
  free = Math.max(free, at + PACE, performance.now() + (performance.now() - at));
  busy = false;
  soon();
};
const soon = (id) => {
  if (id) waiting.add(id);
  if (!timer && waiting.size) timer = setTimeout(flush, Math.max(0, free - performance.now()));
};
setInterval(() => { if (inbox() && connection === 'live') soon('rows'); }, ROWS_EVERY);
document.addEventListener('visibilitychange', () => { if (!document.hidden && inbox()) soon('*'); });

let started = false;
whenever(() => {
  const page = inbox();
  if (!page || started) return;
  started = true;
  notifying = /(?:^|; )notify=on/.test(document.cookie);
  showNotify();
  begun(false);
  here();
  openStream(page.dataset.inboxSince, {
    address: `${address()}/events`,
    heard: (name, data) => {
      if (name === 'changes') data.changes.forEach((change) => soon(change.session_id));
      if (name === 'reset') soon('*');
    },
    state: (now) => {
      const was = connection;
      connection = now;
      showState();
      if (now === 'live' && was === 'lost') soon('*');
    },
  });
});

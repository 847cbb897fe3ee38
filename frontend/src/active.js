// Active Sessions: the list kept up to date without losing what is ticked or focused, and the two things an administrator
// does to sessions, to one or to all that are ticked, each after a confirmation with a reason.
import { countTimes, put } from './durations.js';
import { morphChildren, morphRows } from './morph.js';
import { all, one, partOf, request, say } from './page.js';
import { _, _n } from './texts.js';

const EVERY = 3000;

const page = () => one('[data-active-page]');
const list = () => one('#active');
const ticked = () => all('[data-tick]:checked');

const showTicked = () => {
  const [boxes, chosen] = [all('[data-tick]'), ticked()];
  put(one('[data-ticked]'), chosen.length ? _n('%(count)s selected', '%(count)s selected', chosen.length) : _('None selected'));
  one('[data-act-on-ticked=end]').disabled = !chosen.length;
  // One that neither an agent nor a dispatch has is not released; the answer says so for each.
  one('[data-act-on-ticked=release]').disabled = !chosen.some((box) => box.dataset.canRelease === 'yes');
  const tickAll = one('[data-tick-all]');
  tickAll.checked = boxes.length > 0 && chosen.length === boxes.length;
  tickAll.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
};

const dress = (fresh, { told = false } = {}) => {
  morphRows(one('[data-sessions]'), one('[data-sessions]', fresh));
  ['[data-none]', '.foot', ...(told ? ['[data-told]'] : [])].forEach((part) => {
    morphChildren(one(part, list()), one(part, fresh));
  });
  const counts = all('[data-count]', fresh);
  all('[data-count]', list()).forEach((count, place) => put(count, counts[place].textContent));
  countTimes();
  showTicked();
};

const headers = { 'HX-Request': 'true', 'HX-Target': 'section#active' };
let busy = false;
const refresh = async () => {
  if (!page() || busy || document.hidden) return;
  busy = true;
  try {
    dress(await partOf(list().dataset.source, { ...headers, 'X-By-Itself': '1' }));
  } catch {
    // The next time tells the same.
  }
  busy = false;
};
setInterval(refresh, EVERY);
document.addEventListener('visibilitychange', refresh);

// What is to be done to which sessions is said in the confirmation, and where the focus goes back to.
let asked = null;
const ask = (verb, boxes, button) => {
  const pop = one(`#confirm-${verb}`);
  one('[data-chosen-ids]', pop).replaceChildren(...boxes.map((box) => {
    const field = document.createElement('input');
    Object.assign(field, { type: 'hidden', name: 'session_id', value: box.dataset.tick });
    return field;
  }));
  const names = boxes.slice(0, 3).map((box) => box.dataset.name).join(', ');
  const more = boxes.length - 3;
  put(one('[data-chosen-names]', pop), more > 0 ? _n('%(names)s and %(count)s more', '%(names)s and %(count)s more', more, { names }) : names);
  asked = button;
  pop.showPopover();
  one('[name=reason]', pop).focus();
};
document.addEventListener('click', (event) => {
  if (!page()) return;
  const many = event.target.closest('[data-act-on-ticked]');
  if (many) ask(many.dataset.actOnTicked, ticked(), many);
  const single = event.target.closest('[data-act-on]');
  if (single) ask(single.dataset.actOn, [one('[data-tick]', single.closest('tr'))], single);
});
document.addEventListener('change', (event) => {
  if (!page()) return;
  if (event.target.matches('[data-tick-all]')) {
    all('[data-tick]').forEach((box) => { box.checked = event.target.checked; });
  }
  if (event.target.matches('[data-tick-all],[data-tick]')) showTicked();
});
document.addEventListener('toggle', (event) => {
  if (!page() || event.newState !== 'closed' || !event.target.matches('[id^=confirm-]')) return;
  // What was pressed may be gone with its session.
  if (document.activeElement === document.body || event.target.contains(document.activeElement)) {
    (asked?.isConnected && !asked.disabled ? asked : one('#main')).focus();
  }
}, true);

document.addEventListener('submit', async (event) => {
  const form = event.target;
  if (!form.matches('[data-session-act]')) return;
  event.preventDefault();
  const button = one('button.solid', form);
  if (button.disabled) return;
  button.disabled = true;
  busy = true;
  try {
    const response = await request(form.action, { method: 'POST', body: new FormData(form), headers });
    if (!response.ok) throw new Error(String(response.status));
    const read = new DOMParser().parseFromString(`<template>${await response.text()}</template>`, 'text/html');
    all('[data-tick]').forEach((box) => { box.checked = false; });
    form.reset();
    form.closest('[popover]').hidePopover();
    dress(document.importNode(one('template', read).content, true), { told: true });
  } catch {
    say(_('That did not work. Try again.'));
  }
  busy = false;
  button.disabled = false;
});

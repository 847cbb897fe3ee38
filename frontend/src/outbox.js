// The Email tab: its rows and the open entry kept up to date, what is ticked, and what is done to entries. While somebody
// reads, ticks or points at rows they change where they are; else the list follows its head.
import htmx from 'htmx.org/dist/htmx.esm.js';
import { put } from './durations.js';
import { morph, morphChildren, morphRows } from './morph.js';
import { all, one, partOf, request, say } from './page.js';
import { _, _n } from './texts.js';

const EVERY = 4000;
const STILL = 1500;
const MOST = 100;

const page = () => one('[data-outbox-page]');
const list = () => one('#outbox');
const rows = () => all('[data-entries] > tr');
const ticked = () => all('[data-tick-entry]:checked');
const opened = () => one('.drawer > .dr.entry');

let moved = 0;
document.addEventListener('pointermove', (event) => { if (event.target.closest?.('[data-entries]')) moved = Date.now(); });

const showTicked = () => {
  const tickAll = one('[data-tick-entries]');
  if (!tickAll) return;
  const [boxes, chosen] = [all('[data-tick-entry]'), ticked()];
  put(one('[data-entries-ticked]'), chosen.length ? _n('%(count)s selected', '%(count)s selected', chosen.length) : _('None selected'));
  all('[data-on-ticked]').forEach((button) => { button.disabled = !chosen.length; });
  tickAll.checked = boxes.length > 0 && chosen.length === boxes.length;
  tickAll.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
};

// Rows must not move away under somebody's eyes, hands or keyboard.
const holding = () => list().dataset.follows !== 'yes'
  || ticked().length > 0
  || (one('.scroll', list())?.scrollTop ?? 0) > 8
  || Boolean(one('[data-entries]')?.contains(document.activeElement))
  || (!getSelection().isCollapsed && Boolean(one('[data-entries]')?.contains(getSelection().anchorNode)))
  || Date.now() - moved < STILL;

const putList = (fresh, { told = false } = {}) => {
  const [is, was] = [one('[data-entries]', fresh), one('[data-entries]')];
  if (is && was) {
    morphRows(was, is);
    ['.foot', ...(told ? ['[data-told]'] : [])].forEach((part) => {
      morphChildren(one(part, list()), one(part, fresh));
    });
  } else {
    morphChildren(list(), one('#outbox', fresh));
  }
  htmx.process(list());
  showTicked();
};

const asFragment = (target) => ({ 'HX-Request': 'true', 'HX-Target': target });
const bySelf = (target) => ({ ...asFragment(target), 'X-By-Itself': '1' });

const rowsOf = (ids) => partOf(`${list().dataset.rows}&ids=${ids.join(',')}`, { 'X-By-Itself': '1' });

const refreshRows = async (alsoOpened) => {
  const ids = rows().map((row) => row.id.slice(4));
  if (alsoOpened && !ids.includes(alsoOpened)) ids.push(alsoOpened);
  if (!ids.length) return null;
  const fresh = await rowsOf(ids.slice(-MOST));
  all('tr', fresh).forEach((row) => {
    const there = document.getElementById(row.id);
    if (there) morph(there, row);
  });
  return fresh;
};

const refreshOpened = async (fresh) => {
  const drawer = opened();
  if (!drawer || one(':popover-open', drawer)) return;
  const id = drawer.dataset.session;
  const there = fresh && one(`#row-${id}`, fresh);
  const row = there ?? one('tr', await rowsOf([id]));
  if (!row || row.dataset.version === drawer.dataset.version) return;
  const now = await partOf(drawer.dataset.source, bySelf('aside#drawer'));
  // Another may have been opened while the answer was on its way.
  if (opened() === drawer) putDrawer(now);
};

const putDrawer = (fresh) => {
  morphChildren(one('#drawer'), fresh);
  htmx.process(one('#drawer'));
};

let busy = false;
const refresh = async () => {
  if (!page() || busy || document.hidden || one(':popover-open')) return;
  busy = true;
  try {
    // A list that cannot be shown has nothing to follow.
    if (!one('[role=alert]', one('.outlook', list()) ?? document.createElement('i'))) {
      let fresh;
      if (holding()) fresh = await refreshRows(opened()?.dataset.session);
      else {
        fresh = await partOf(list().dataset.source, bySelf('section#outbox'));
        // Somebody may have begun to read, tick or point while the answer was on its way.
        if (!holding()) putList(fresh);
      }
      await refreshOpened(fresh);
    }
  } catch {
    // The next time tells the same.
  }
  busy = false;
};
setInterval(refresh, EVERY);
document.addEventListener('visibilitychange', refresh);

document.addEventListener('change', (event) => {
  if (event.target.matches('[data-tick-entries]')) {
    all('[data-tick-entry]').forEach((box) => { box.checked = event.target.checked; });
  }
  if (event.target.matches('[data-tick-entries],[data-tick-entry]')) showTicked();
});
showTicked();

// What became of it stands where it was asked for, is read out, and has the focus that its button had.
const told = (place) => {
  const said = all('[data-said]', place);
  if (said.length) said[0].focus({ preventScroll: false });
  else place.focus?.();
};
const failed = (form) => {
  say(_('That did not work. Try again.'));
  const place = one('[data-told]', form.dataset.entryAct === 'drawer' ? one('#drawer') : list());
  const banner = document.createElement('p');
  banner.className = 'banner red';
  banner.textContent = _('That did not work. Try again.');
  place.replaceChildren(banner);
};

document.addEventListener('submit', async (event) => {
  const form = event.target;
  if (!form.matches('[data-entry-act]')) return;
  event.preventDefault();
  if (form.dataset.busy) return;
  form.dataset.busy = 'yes';
  busy = true;
  const inDrawer = form.dataset.entryAct === 'drawer';
  const data = new FormData(form, event.submitter);
  try {
    // The form has a field of that name.
    const response = await request(form.getAttribute('action'), {
      method: 'POST', body: data, headers: asFragment(inDrawer ? 'aside#drawer' : 'section#outbox'),
    });
    if (!response.ok) throw new Error(String(response.status));
    const read = new DOMParser().parseFromString(`<template>${await response.text()}</template>`, 'text/html');
    const fresh = document.importNode(one('template', read).content, true);
    all(':popover-open').forEach((open) => open.hidePopover());
    if (inDrawer) {
      putDrawer(fresh);
      told(one('#drawer'));
      await refreshRows();
    } else {
      all('[data-tick-entry]').forEach((box) => { box.checked = false; });
      // With the next one something else is done.
      form.elements.request_id.value = one('#outbox', fresh).dataset.requestId;
      putList(fresh, { told: true });
      told(list());
    }
  } catch {
    failed(form);
  }
  delete form.dataset.busy;
  busy = false;
});

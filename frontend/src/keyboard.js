// Single keys, with a switch to turn them off (WCAG 2.1.4). With the drawer open J and K step the drawer.
import { fetchAhead } from './ahead.js';
import { keepFocusOnce } from './drawer.js';
import { togglePause } from './live.js';
import { all, isField, isNarrow, one, remember } from './page.js';

const step = (by) => {
  const links = all('.row-link');
  const focused = links.indexOf(document.activeElement);
  const now = focused >= 0 ? focused : links.findIndex((link) => link.hasAttribute('aria-current'));
  const next = links[Math.max(0, Math.min(links.length - 1, now + by))];
  if (!next) {
    one(by > 0 ? '.dr [data-next]' : '.dr [data-previous]')?.click();
    return;
  }
  next.focus();
  next.closest('tr').scrollIntoView({ block: 'nearest' });
  const isOpen = one('.drawer > .dr');
  if (isOpen) {
    keepFocusOnce();
    next.click();
  }
  // The next step in the same direction, or the one that Enter opens.
  fetchAhead(isOpen ? links[links.indexOf(next) + by] : next);
};

const actions = {
  j: () => step(1),
  k: () => step(-1),
  '/': () => (one('#phone') ?? one('#recipient'))?.select(),
  '?': () => one('#keys')?.togglePopover(),
  c: () => one('[data-copy-link]')?.click(),
  e: () => {
    const shown = one('.dr .timeline')?.dataset.show;
    if (shown) one(`.dr [data-show-set=${shown === 'errors' ? 'all' : 'errors'}]`).click();
  },
  n: () => {
    const field = one('.dr #add-note');
    if (!field) return;
    if (isNarrow()) one('.dr [data-pane-set=summary]').click();
    field.closest('details').open = true;
    field.focus();
  },
  p: () => one('.dr #take-away a')?.click(),
  l: () => togglePause(),
};

// A page whose keys are others: what each does, and what Escape does there.
let ownKeys = null;
let leave = () => one('.dr [data-close]')?.click();
export const useKeys = (keys, escape) => { ownKeys = keys; leave = escape; };

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = isField(event.target);
  if (event.key === 'Escape') {
    if (one(':popover-open')) return;
    if (typing) {
      // The browser would empty a search field, and a moment later the list would be another one.
      event.preventDefault();
      event.target.blur();
    } else leave();
    return;
  }
  const known = ownKeys ?? actions;
  if (typing || one('[data-keys-toggle]')?.checked === false || !known[event.key]) return;
  event.preventDefault();
  known[event.key]();
});

document.addEventListener('change', (event) => {
  if (event.target.matches('[data-keys-toggle]')) remember('keys', event.target.checked ? 'on' : 'off');
});

// The menu on a phone closes when one goes on from it, and not when a list behind it is brought up to date.
document.addEventListener('click', (event) => {
  if (event.target.closest('#side a')) one('#side:popover-open')?.hidePopover();
});

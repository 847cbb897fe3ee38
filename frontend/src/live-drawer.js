// The open conversation, kept up to date: new messages and steps are added, its head says how it stands, and nothing that
// is read, focused or unfolded moves away.
import { morphChildren } from './morph.js';
import { all, one, partOf, say } from './page.js';
import { newer } from './parts.js';
import { _n } from './texts.js';

// What stands around the two lists; their buttons keep how they were set.
const PARTS = ['.dr-title', '.facts', '.ribbon', '.dr-seg [data-pane-set="timeline"]', '.pane-h > .sub', '.mini', '.to-error', '.readonly'];
const atEnd = (pane) => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 80;

const fetchDrawer = async (drawer) => one('.dr', await partOf(
  `${drawer.dataset.address}${one('#list')?.dataset.query ?? ''}`,
  { 'HX-Target': 'aside#drawer', 'X-By-Itself': '1' },
));

const dress = (drawer, fresh) => {
  PARTS.forEach((selector) => {
    const given = all(selector, fresh);
    all(selector, drawer).forEach((part, place) => { if (given[place]) morphChildren(part, given[place]); });
  });
  // What may come and go, each below the one before.
  ['.dr-waits', '.dr-why', '.dr-answer'].forEach((selector) => {
    const [old, now] = [one(selector, drawer), one(selector, fresh)];
    if (old && now) morphChildren(old, now);
    else if (old) old.remove();
    else if (now) one('.dr-title', drawer).after(now);
  });
};

const pillOf = (pane) => {
  const pill = document.createElement('button');
  pill.type = 'button';
  pill.className = 'pill below';
  pill.dataset.below = '';
  pane.append(pill);
  return pill;
};

const offerBelow = (pane, count) => {
  const pill = one('[data-below]', pane) ?? pillOf(pane);
  const total = Number(pill.dataset.below) + count;
  pill.dataset.below = total;
  pill.textContent = _n('%(count)s new message', '%(count)s new messages', total);
};

document.addEventListener('click', (event) => {
  const pill = event.target.closest('[data-below]');
  if (!pill) return;
  const pane = pill.closest('.pane');
  pane.scrollTop = pane.scrollHeight;
  pane.focus({ preventScroll: true });
});
document.addEventListener('scroll', (event) => {
  if (event.target.matches?.('.pane') && atEnd(event.target)) one('[data-below]', event.target)?.remove();
}, { capture: true, passive: true });

export const refreshDrawer = async (drawer) => {
  const fresh = await fetchDrawer(drawer);
  if (!drawer.isConnected || !fresh) return;
  dress(drawer, fresh);
  const pane = one('.chat', drawer);
  const [followed, before] = [atEnd(pane), all('.msgs > .msg', pane).length];
  await newer(drawer);
  const added = all('.msgs > .msg', pane).length - before;
  if (added <= 0) return;
  if (!followed) offerBelow(pane, added);
  say(_n('%(count)s new message in this conversation', '%(count)s new messages in this conversation', added));
};

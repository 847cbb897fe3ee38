// Parts of a long conversation: earlier and later ones come as one scrolls, any place when a link leads there.
import { all, one, partOf, say } from './page.js';
import { _, _n } from './texts.js';

const listOf = (pane) => one('[data-parts]', pane);
const atEnd = (pane) => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 80;
const addressOf = (pane, query) => {
  const show = pane.dataset.show && pane.dataset.show !== 'all' ? `&show=${pane.dataset.show}` : '';
  return `${pane.dataset.source}?${query}${show}`;
};

// Where two parts meet, a day or a dispatch that goes on needs no heading of its own.
const tidy = (list) => {
  let day = '';
  let dispatch = '';
  [...list.children].forEach((item) => {
    if (item.matches('.day')) {
      if (item.dataset.day === day) item.remove();
      else day = item.dataset.day;
    } else if (item.matches('.tl-g')) {
      if (dispatch && item.dataset.dispatch === dispatch) item.remove();
      else dispatch = item.dataset.dispatch ?? '';
    }
  });
};

const fresh = (items, list) => items.filter((item) => !item.id || !list.querySelector(`#${CSS.escape(item.id)}`));

const extend = async (button) => {
  const place = button.closest('[data-more]');
  const pane = button.closest('.pane');
  if (!place || place.dataset.busy) return;
  place.dataset.busy = 'yes';
  let content;
  try {
    content = await partOf(button.dataset.part);
  } catch {
    delete place.dataset.busy;
    watch.unobserve(button);
    say(_('This part could not be loaded. Press the button to try again.'));
    return;
  }
  if (!place.isConnected) return;
  const list = place.parentElement;
  const before = place.dataset.more === 'before';
  const items = fresh([...content.children], list);
  const focused = document.activeElement === button;
  const place0 = pane.scrollHeight - pane.scrollTop;
  place.replaceWith(...items);
  tidy(list);
  if (before) pane.scrollTop = pane.scrollHeight - place0;
  const next = items.filter((item) => item.matches('[tabindex]')).at(before ? -1 : 0);
  if (focused) next?.focus({ preventScroll: true });
  observe(pane);
};

// Within a pane that scrolls, only the scroll margin counts; browsers without it fetch a part when it is reached.
const watch = new IntersectionObserver((entries) => {
  entries.filter((entry) => entry.isIntersecting).forEach((entry) => extend(entry.target));
}, { rootMargin: '600px 0px', scrollMargin: '600px 0px' });
const observe = (pane) => all('[data-part]', pane).forEach((button) => watch.observe(button));

// A pane that is seen for the first time stands at the newest; until then nothing is fetched.
export const settle = (drawer) => all('.pane', drawer).forEach((pane) => {
  if (pane.dataset.settled || !pane.clientHeight) return;
  pane.dataset.settled = 'yes';
  pane.scrollTop = pane.scrollHeight;
  requestAnimationFrame(() => observe(pane));
});

const replaced = async (pane, query) => {
  const content = await partOf(addressOf(pane, query));
  const list = listOf(pane);
  list.replaceChildren(...content.children);
  const nothing = one('.nothing', pane);
  if (nothing) nothing.hidden = list.children.length > 0 || pane.dataset.show === 'all';
  pane.dataset.settled = 'yes';
  return list;
};

const failed = () => say(_('No response from the server. Check your connection and try again.'));

// The element that a link leads to, fetched with what stands around it where it is not there yet.
export const bring = async (drawer, anchor) => {
  const there = () => {
    const found = document.getElementById(anchor);
    return found && drawer.contains(found) ? found : null;
  };
  if (there()) return there();
  const pane = one(anchor.startsWith('m-') ? '.chat' : '.timeline', drawer);
  if (!pane || !/^(m-|d-|e\d|g\d)/.test(anchor)) return null;
  if (pane.dataset.show) mark(pane, 'all');
  try {
    await replaced(pane, `around=${encodeURIComponent(anchor)}`);
  } catch {
    say(_('It is not in this conversation any more.'));
    return null;
  }
  requestAnimationFrame(() => observe(pane));
  return there();
};

const mark = (pane, show) => {
  pane.dataset.show = show;
  all('[data-show-set]', pane).forEach((button) => {
    button.setAttribute('aria-pressed', button.dataset.showSet === show);
  });
};

export const narrow = async (pane, show) => {
  mark(pane, show);
  try {
    const list = await replaced(pane, 'from=latest');
    pane.scrollTop = pane.scrollHeight;
    const shown = all('.ev', list).length;
    say(shown ? _n('%(count)s event shown', '%(count)s events shown', shown) : _('No events shown'));
  } catch {
    failed();
  }
  observe(pane);
};

const jump = async (pane, end) => {
  try {
    await replaced(pane, `from=${end}`);
  } catch {
    failed();
    return;
  }
  pane.scrollTop = end === 'first' ? 0 : pane.scrollHeight;
  requestAnimationFrame(() => observe(pane));
  say(end === 'first' ? _('At the beginning') : _('At the newest'));
};

// A change further up than what is seen moves nothing of it.
const unmoved = (pane, near, change) => {
  const isAbove = near.getBoundingClientRect().bottom <= pane.getBoundingClientRect().top;
  const rest = pane.scrollHeight - pane.scrollTop;
  change();
  if (isAbove) pane.scrollTop = pane.scrollHeight - rest;
};

// What was written since: new items are added, changed messages replaced; focus and place stay. For live updates.
export const newer = async (drawer) => {
  const lists = { msgs: one('.msgs', drawer), tl: one('.timeline > .tl', drawer) };
  // An inbox shows no timeline; its transcript knows itself up to which event it is right.
  const numbers = [lists.msgs.dataset.last, lists.tl ? lists.tl.dataset.last : lists.msgs.dataset.event].map((n) => Number(n || 0));
  const content = await partOf(`${drawer.dataset.address}/newer?message=${numbers[0]}&event=${numbers[1]}`, { 'X-By-Itself': '1' });
  let added = 0;
  for (const [name, list] of Object.entries(lists).filter(([, each]) => each)) {
    const given = content.querySelector(`[data-into=${name}]`);
    if (given.dataset.event) list.dataset.event = given.dataset.event;
    const pane = list.closest('.pane');
    const follow = atEnd(pane);
    // A part in the middle is shown, or a filter: what is new is found by scrolling there.
    const whole = !one('[data-more=after]', list) && (pane.dataset.show ?? 'all') === 'all';
    [...given.children].forEach((item) => {
      const old = item.id && list.querySelector(`#${CSS.escape(item.id)}`);
      if (old) {
        const focused = old.contains(document.activeElement);
        unmoved(pane, old, () => old.replaceWith(item));
        if (focused) item.focus({ preventScroll: true });
      } else if (item.matches('.tl-w')) {
        // Drawn once a turn has several steps: under its heading, which may be far up, and never among filtered events.
        const heading = list.querySelector(`#${CSS.escape(item.dataset.under)}`);
        if (heading && (pane.dataset.show ?? 'all') === 'all') unmoved(pane, heading, () => heading.after(item));
      } else if (whole && !item.matches('[data-more=before]') && !(item.matches('.msg') && Number(item.dataset.ordinal) <= numbers[0])) {
        list.append(item);
        added += item.matches('.msg, .ev');
      }
    });
    if (whole && given.dataset.last) list.dataset.last = given.dataset.last;
    tidy(list);
    if (follow) pane.scrollTop = pane.scrollHeight;
    observe(pane);
  }
  return added;
};

document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-part]');
  if (button) extend(button);
  const show = event.target.closest('[data-show-set]');
  if (show) narrow(show.closest('.timeline'), show.dataset.showSet);
  const end = event.target.closest('[data-end]');
  if (end) jump(end.closest('.pane'), end.dataset.end);
});

// The open conversation: panes on a phone, the timeline's filter, and the way between messages and steps.
import { all, giveFocus, isField, isNarrow, one, remember, say, whenever } from './page.js';
import { bring, settle } from './parts.js';
import { _ } from './texts.js';

let keepFocus = false;
export const keepFocusOnce = () => { keepFocus = true; };

const showPane = (drawer, name) => {
  drawer.dataset.pane = name;
  all('[data-pane-set]', drawer).forEach((button) => {
    button.setAttribute('aria-pressed', button.dataset.paneSet === name);
  });
  settle(drawer);
};

document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'drawer') return;
  const drawer = one('.drawer > .dr');
  const morphed = event.detail.ctx.swap?.startsWith?.('innerMorph');
  if (drawer && !keepFocus && !morphed) giveFocus(one('#dr-name'));
  keepFocus = false;
});

// Closing gives the focus back to the row that it came from.
let opener = '';
document.addEventListener('htmx:before:swap', (event) => {
  if (event.detail?.ctx?.target?.id === 'drawer') opener = one('.drawer > .dr')?.dataset.session ?? '';
});
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'drawer' || one('.drawer > .dr') || !opener) return;
  giveFocus(one(`#row-${opener} .row-link`) ?? one('#main'));
});

const light = (drawer, target) => {
  const inTimeline = target.closest('.timeline');
  if (isNarrow()) showPane(drawer, inTimeline ? 'timeline' : 'transcript');
  for (let box = target.closest('details'); box; box = box.parentElement.closest('details')) box.open = true;
  all('.lit', drawer).forEach((element) => element.classList.remove('lit'));
  target.classList.add('lit');
  target.scrollIntoView({ block: 'center' });
  target.focus({ preventScroll: true });
};

const goTo = async (drawer, anchor) => {
  const target = await bring(drawer, anchor);
  if (target) light(drawer, target);
};

document.addEventListener('click', (event) => {
  const drawer = event.target.closest('.dr');
  if (!drawer) return;
  const pane = event.target.closest('[data-pane-set]');
  if (pane) showPane(drawer, pane.dataset.paneSet);

  const more = event.target.closest('[data-more-toggle]');
  if (more) {
    const on = drawer.dataset.more !== 'on';
    drawer.dataset.more = on ? 'on' : 'off';
    more.setAttribute('aria-expanded', on);
    one('.lbl', more).textContent = on ? _('Fewer details') : _('All details');
    remember('summary', drawer.dataset.more);
  }

  const link = event.target.closest('a[data-goto]');
  if (link) {
    event.preventDefault();
    goTo(drawer, link.dataset.goto);
  }
});

// A drawer that was just opened stands at the newest, unless its address names a message or a step (…#m-…, …#e12).
let settled = null;
const open = () => {
  const drawer = one('.dr');
  if (!drawer || drawer === settled) return;
  settled = drawer;
  settle(drawer);
  if (location.hash.length > 1) goTo(drawer, decodeURIComponent(location.hash.slice(1)));
};
whenever(open);
addEventListener('hashchange', () => {
  const drawer = one('.dr');
  if (drawer && location.hash.length > 1) goTo(drawer, decodeURIComponent(location.hash.slice(1)));
});

// What a reviewer did is said, and a form that was taken is empty again.
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'review') return;
  const review = one('#review');
  say(review.dataset.said);
  if (!review.dataset.mistake) all('.add-tag, .add-note', review).forEach((form) => form.reset());
});

// Esc leaves a field for what it belongs to, before others hear of it: from the body, Tab would begin at the top.
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !isField(event.target) || !event.target.closest('.dr')) return;
  event.preventDefault();
  event.stopPropagation();
  (one('summary', event.target.closest('details') ?? document.createElement('i')) ?? one('#dr-name')).focus();
}, true);

// The open conversation: panes on a phone, the timeline's filter, and the way between messages and steps.
import { all, isNarrow, one, remember } from './page.js';

let keepFocus = false;
export const keepFocusOnce = () => { keepFocus = true; };

const showPane = (drawer, name) => {
  drawer.dataset.pane = name;
  all('[data-pane-set]', drawer).forEach((button) => {
    button.setAttribute('aria-pressed', button.dataset.paneSet === name);
  });
};

document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'drawer') return;
  const drawer = one('.drawer > .dr');
  const morphed = event.detail.ctx.swap?.startsWith?.('innerMorph');
  if (drawer && !keepFocus && !morphed) one('#dr-name').focus({ preventScroll: true });
  keepFocus = false;
});

// Closing gives the focus back to the row that it came from.
let opener = '';
document.addEventListener('htmx:before:swap', (event) => {
  if (event.detail?.ctx?.target?.id === 'drawer') opener = one('.drawer > .dr')?.dataset.session ?? '';
});
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'drawer' || one('.drawer > .dr') || !opener) return;
  (one(`#row-${opener} .row-link`) ?? one('#main'))?.focus();
});

const light = (drawer, target) => {
  all('.lit', drawer).forEach((element) => element.classList.remove('lit'));
  target.classList.add('lit');
  target.scrollIntoView({ block: 'center' });
  target.focus({ preventScroll: true });
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
    one('.lbl', more).textContent = on ? 'Fewer details' : 'All details';
    remember('summary', drawer.dataset.more);
  }

  const show = event.target.closest('[data-show-set]');
  if (show) {
    one('.timeline', drawer).dataset.show = show.dataset.showSet;
    all('[data-show-set]', drawer).forEach((button) => button.setAttribute('aria-pressed', button === show));
  }

  const link = event.target.closest('a[data-goto]');
  if (link) {
    const target = document.getElementById(link.dataset.goto);
    if (!target) return;
    event.preventDefault();
    const inTimeline = target.closest('.timeline');
    if (isNarrow()) showPane(drawer, inTimeline ? 'timeline' : 'transcript');
    if (inTimeline && getComputedStyle(target).display === 'none') one('[data-show-set=all]', drawer).click();
    light(drawer, target);
  }
});

// A link to one step or message, as /…/{session}#e12, lights it up.
const fromAddress = () => {
  const drawer = one('.dr');
  const target = drawer && location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target || !drawer.contains(target)) return;
  if (isNarrow()) showPane(drawer, target.closest('.timeline') ? 'timeline' : 'transcript');
  light(drawer, target);
};
addEventListener('hashchange', fromAddress);
fromAddress();

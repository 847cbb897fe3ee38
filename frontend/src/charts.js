// Charts: the value of a bar is shown where the pointer or the focus is; arrow keys go from column to column.
import { all } from './page.js';

const barOf = (event) => event.target.closest?.('.bar');

const show = (bar) => {
  const chart = bar.closest('[data-chart]');
  const tip = chart.querySelector('.tip');
  const title = document.createElement('b');
  title.textContent = bar.dataset.title;
  tip.replaceChildren(title, bar.dataset.values);
  tip.hidden = false;
  const [at, host] = [bar.querySelector('.hit').getBoundingClientRect(), chart.getBoundingClientRect()];
  const middle = at.width > host.width / 2 ? host.width / 2 : at.x + at.width / 2 - host.x;
  const x = Math.max(0, Math.min(host.width - tip.offsetWidth, middle - tip.offsetWidth / 2));
  const above = at.y - host.y - tip.offsetHeight - 4;
  tip.style.transform = `translate(${x}px, ${above < -60 ? at.bottom - host.y + 4 : above}px)`;
};

const hide = (chart) => { chart.querySelector('.tip').hidden = true; };

document.addEventListener('pointerover', (event) => {
  const bar = barOf(event);
  all('[data-chart]').forEach((chart) => { if (!bar || !chart.contains(bar)) hide(chart); });
  if (bar) show(bar);
});
document.addEventListener('focusin', (event) => { const bar = barOf(event); if (bar) show(bar); });
document.addEventListener('focusout', (event) => { const bar = barOf(event); if (bar) hide(bar.closest('[data-chart]')); });

document.addEventListener('keydown', (event) => {
  const bar = barOf(event);
  if (!bar) return;
  if (event.key === 'Escape') { hide(bar.closest('[data-chart]')); return; }
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step) return;
  const bars = all('.bar', bar.closest('[data-chart]'));
  const next = bars[bars.indexOf(bar) + step];
  event.preventDefault();
  if (!next) return;
  // Links are reached one by one; of columns, which lead nowhere, only one is.
  if (bar.localName === 'g') { bar.tabIndex = -1; next.tabIndex = 0; }
  next.focus();
});

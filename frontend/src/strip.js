// The strip of volume: a click on a bar narrows the list to its time, dragging over bars to theirs.
import { showList } from './list.js';
import { one } from './page.js';

let dragged = null;

const beginnings = (strip) => strip.dataset.x.trim().split(' ').map(Number);

const barAt = (strip, x) => {
  const box = one('svg', strip).getBoundingClientRect();
  const share = ((x - box.x) / box.width) * 100;
  return Math.max(0, beginnings(strip).findLastIndex((beginning) => beginning <= share));
};

const show = (strip, from, to) => {
  const [begin, end] = [beginnings(strip)[from], beginnings(strip)[to + 1] ?? 100];
  const range = one('.range', strip);
  range.style.left = `${begin}%`;
  range.style.width = `${end - begin}%`;
  range.hidden = false;
};

document.addEventListener('pointerdown', (event) => {
  const strip = event.target.closest('svg')?.closest('.strip');
  if (!strip || event.button !== 0) return;
  event.preventDefault();
  const at = barAt(strip, event.clientX);
  dragged = { strip, from: at, to: at };
  show(strip, at, at);
});
document.addEventListener('pointermove', (event) => {
  if (!dragged) return;
  dragged.to = barAt(dragged.strip, event.clientX);
  show(dragged.strip, Math.min(dragged.from, dragged.to), Math.max(dragged.from, dragged.to));
});
const end = (choose) => {
  if (!dragged) return;
  const { strip } = dragged;
  const [from, to] = [Math.min(dragged.from, dragged.to), Math.max(dragged.from, dragged.to)];
  dragged = null;
  if (!choose) {
    one('.range', strip).hidden = true;
    return;
  }
  const since = strip.dataset.since.split(' ');
  const until = since[to + 1] ?? strip.dataset.until;
  const query = new URLSearchParams(one('#list').dataset.query);
  ['last', 'cursor', 'to'].forEach((name) => query.delete(name));
  query.set('from', since[from]);
  if (until) query.set('to', until);
  showList(`/communications/automation/logs?${query}`);
};
document.addEventListener('pointerup', () => end(true));
document.addEventListener('pointercancel', () => end(false));
document.addEventListener('keydown', (event) => { if (event.key === 'Escape') end(false); });

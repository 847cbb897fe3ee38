// The column chooser: check, drag, or move with the arrow keys; each change asks for the list anew.
import Sortable from 'sortablejs/modular/sortable.core.esm.js';
import { all, one, say, whenever } from './page.js';

const changed = (list) => list.closest('form').dispatchEvent(new Event('moved', { bubbles: true }));

whenever(() => all('[data-sortable]').forEach((list) => {
  if (list.dataset.ready) return;
  list.dataset.ready = 'yes';
  Sortable.create(list, {
    handle: '.grip',
    animation: 140,
    forceFallback: true,
    fallbackTolerance: 4,
    onEnd: (event) => {
      say(`Moved to position ${event.newIndex + 1} of ${list.children.length}`);
      changed(list);
    },
  });
}));

document.addEventListener('keydown', (event) => {
  const grip = event.target.closest?.('.grip');
  if (!grip || !['ArrowUp', 'ArrowDown'].includes(event.key)) return;
  event.preventDefault();
  const item = grip.closest('li');
  const other = event.key === 'ArrowUp' ? item.previousElementSibling : item.nextElementSibling;
  if (other) {
    if (event.key === 'ArrowUp') other.before(item); else other.after(item);
    grip.focus();
    changed(item.parentElement);
  }
  const items = [...item.parentElement.children];
  say(`${grip.dataset.label}: position ${items.indexOf(item) + 1} of ${items.length}`);
});

document.addEventListener('click', (event) => {
  if (!event.target.closest('[data-columns-reset]')) return;
  const list = one('[data-sortable]');
  all('li', list).sort((a, b) => a.dataset.rank - b.dataset.rank).forEach((item) => {
    one('input', item).checked = item.dataset.shown === 'yes';
    list.append(item);
  });
  changed(list);
  say('Columns are as they were at first');
});

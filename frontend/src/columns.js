// The column chooser: check, drag, or move with the arrow keys; each change asks for the list anew.
import { all, one, say } from './page.js';
import { _ } from './texts.js';

const changed = (list) => list.closest('form').dispatchEvent(new Event('moved', { bubbles: true }));

// Dragging is a seventh of all script, and few drag: it comes when the chooser is opened.
document.addEventListener('toggle', (event) => {
  if (event.target.id !== 'columns' || event.newState !== 'open' || one('script[data-drag]')) return;
  const script = document.createElement('script');
  script.dataset.drag = '';
  script.src = event.target.dataset.drag;
  document.head.append(script);
}, true);

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
  const values = { column: grip.dataset.label, position: items.indexOf(item) + 1, length: items.length };
  say(_('%(column)s: position %(position)s of %(length)s', values));
});

document.addEventListener('click', (event) => {
  if (!event.target.closest('[data-columns-reset]')) return;
  const list = one('[data-sortable]');
  all('li', list).sort((a, b) => a.dataset.rank - b.dataset.rank).forEach((item) => {
    one('input', item).checked = item.dataset.shown === 'yes';
    list.append(item);
  });
  changed(list);
  say(_('Columns reset'));
});

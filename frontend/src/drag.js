// Dragging of columns in their chooser.
import Sortable from 'sortablejs/modular/sortable.core.esm.js';
import { all, say } from './page.js';
import { _ } from './texts.js';

all('[data-sortable]').forEach((list) => {
  Sortable.create(list, {
    handle: '.grip',
    animation: 140,
    forceFallback: true,
    fallbackTolerance: 4,
    onEnd: (event) => {
      say(_('Moved to position %(position)s of %(length)s', { position: event.newIndex + 1, length: list.children.length }));
      list.closest('form').dispatchEvent(new Event('moved', { bubbles: true }));
    },
  });
  list.dataset.ready = 'yes';
});

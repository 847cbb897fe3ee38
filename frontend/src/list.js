// The list: a click anywhere on a row opens it, the open row is marked, a new result is announced.
import htmx from 'htmx.org/dist/htmx.esm.js';
import { all, one, say, whenever } from './page.js';

document.addEventListener('click', (event) => {
  const row = event.target.closest('[data-row]');
  if (!row || event.target.closest('a,button,input,summary') || getSelection().toString()) return;
  one('.row-link', row).click();
});

whenever(() => {
  const open = one('.drawer > .dr')?.dataset.session;
  all('.row-link').forEach((link) => {
    if (open && link.closest('tr').id === `row-${open}`) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  });
  const current = one('.facets a[aria-current]');
  const bar = current?.parentElement;
  if (bar && bar.scrollWidth > bar.clientWidth) bar.scrollLeft = current.offsetLeft - bar.clientWidth / 2;
});

document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'list') return;
  const list = one('#list');
  // Choosing columns says itself what was done, and leaves the result as it was.
  if (!event.detail.ctx.sourceElement?.closest?.('#columns')) say(list.dataset.announce);
  one('.scroll', list)?.scrollTo({ top: 0 });
  all('.chip.sel').forEach((chip) => chip.classList.toggle('on', one('select', chip).value !== ''));
  countFilters();
  // The open conversation's neighbours and links belong to the list as it was.
  const open = one('.drawer > .dr');
  if (open) {
    const address = `${open.dataset.address}${list.dataset.query}`;
    htmx.ajax('GET', address, {
      source: '#drawer',
      // Its panes may hold other parts than those that a new answer brings.
      target: '.drawer .dr-h',
      select: '.dr-h',
      headers: { 'HX-Target': 'aside#drawer' },
      swap: 'outerMorph',
      replace: address,
    });
  }
});

// How many of the filters behind the button are set; the sort is none.
const countFilters = () => {
  const set = all('#more :is(input, select)').filter((field) => field.value !== '' && field.name !== 'sort').length;
  one('[data-count-set]').textContent = set ? ` · ${set}` : '';
  one('#more-button').classList.toggle('on', set > 0);
};

// A message that was found is lit up as soon as its conversation stands in the drawer.
let wanted = '';
document.addEventListener('click', (event) => {
  wanted = event.target.closest('a.found')?.hash ?? '';
});
document.addEventListener('htmx:after:swap', (event) => {
  if (!wanted || event.detail?.ctx?.target?.id !== 'drawer') return;
  if (location.hash !== wanted) history.replaceState(history.state, '', wanted);
  wanted = '';
  dispatchEvent(new HashChangeEvent('hashchange'));
});

// A view is saved as the list is now, not as it was when the page came.
document.addEventListener('submit', (event) => {
  const field = one('[data-query-now]', event.target);
  if (field) field.value = one('#list').dataset.query;
});

// How many conversations an export has is counted when somebody is about to make one.
document.addEventListener('toggle', (event) => {
  if (event.target.id !== 'export' || event.newState !== 'open') return;
  const query = one('#list').dataset.query;
  htmx.ajax('GET', `/communications/automation/logs/export/count${query}`, { source: '#export', target: '#export-count', swap: 'innerMorph' });
}, true);

// A chip with a value can be emptied without opening its list.
document.addEventListener('click', (event) => {
  const clear = event.target.closest('[data-clear]');
  if (!clear) return;
  event.preventDefault();
  const field = one(`#${clear.dataset.clear}`);
  field.value = '';
  field.dispatchEvent(new Event('change', { bubbles: true }));
  field.focus();
});

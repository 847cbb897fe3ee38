// The list: a click anywhere on a row opens it, the open row is marked, a new result is announced.
import htmx from 'htmx.org/dist/htmx.esm.js';
import { all, one, say, whenever } from './page.js';
import { _, _n } from './texts.js';

document.addEventListener('click', (event) => {
  const row = event.target.closest('[data-row]');
  if (!row || event.target.closest('a,button,input,summary') || getSelection().toString()) return;
  one('.row-link', row).click();
});

// The list as an address narrows it, in the place of the one that stands there.
export const showList = (address) => htmx.ajax('GET', address, {
  source: '#list', target: '#list', swap: 'outerMorph', headers: { 'HX-Target': 'section#list' },
});

// "Filter by this value": the links of a row are made when the pointer comes to it, for a page has some hundred.
document.addEventListener('pointerover', (event) => {
  const row = event.target.closest?.('#rows [data-row]');
  if (!row) return;
  all('.only:not([href])', row).forEach((link) => {
    const query = new URLSearchParams(one('#list').dataset.query);
    query.delete('cursor');
    query.set(link.dataset.only, link.dataset.value);
    link.href = `/communications/automation/logs?${query}`;
    link.title = _('Show only %(value)s', { value: link.previousElementSibling.textContent.trim() });
  });
});

document.addEventListener('click', (event) => {
  const only = event.target.closest('a.only');
  if (!only || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  showList(only.href);
});

whenever(() => {
  const open = one('.drawer > .dr')?.dataset.session;
  all('.row-link').forEach((link) => {
    if (open && link.closest('tr').id === `row-${open}`) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  });
  const links = all('.row-link');
  const place = links.findIndex((link) => link.hasAttribute('aria-current'));
  all('[data-position]').forEach((part) => { part.textContent = place < 0 ? '' : _('%(position)s of %(total)s', { position: place + 1, total: links.length }); });
  const current = one('.facets a[aria-current]');
  const bar = current?.parentElement;
  if (bar && bar.scrollWidth > bar.clientWidth) bar.scrollLeft = current.offsetLeft - bar.clientWidth / 2;
});

// A list's answer puts the list's own address in the place of the drawer's before its rows stand there.
let named = '';
document.addEventListener('htmx:before:swap', (event) => {
  if (event.detail?.ctx?.target?.id === 'list') named = location.hash;
});
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'list') return;
  const list = one('#list');
  // Choosing columns says itself what was done, and leaves the result as it was.
  if (!event.detail.ctx.sourceElement?.closest?.('#columns')) say(list.dataset.announce);
  one('.scroll', list)?.scrollTo({ top: 0 });
  followQuery();
  // The open conversation's neighbours and links belong to the list as it was.
  const open = one('.drawer > .dr');
  if (open) {
    const address = `${open.dataset.address}${list.dataset.query}`;
    // The message that the drawer's address names stays named; of a drawer that came meanwhile, the one it names now.
    history.replaceState(history.state, '', address + (location.hash || named));
    htmx.ajax('GET', address, {
      source: '#drawer',
      // Its panes may hold other parts than those that a new answer brings.
      target: '.drawer .dr-h',
      select: '.dr-h',
      headers: { 'HX-Target': 'aside#drawer' },
      swap: 'outerMorph',
    });
  }
});

// The form says what the list shows, whatever changed it: a chip, a cell, a bar. What somebody types in stays.
const followQuery = () => {
  const given = new URLSearchParams(one('#list').dataset.query);
  all('#filters :is(input, select)[name]').forEach((field) => {
    const values = given.getAll(field.name);
    if (field.type === 'checkbox') field.checked = values.some((value) => value.replace(/^!/, '') === field.value);
    else if (field.type === 'radio') field.checked = Boolean(given.get(field.name.replace(/_is$/, ''))?.startsWith('!')) === (field.value === 'not');
    else if (field === document.activeElement) return;
    else if (field.type === 'date') field.value = (values[0] ?? '').slice(0, 10);
    else if (field.type === 'time') field.value = (given.get(field.name.replace(/_time$/, '')) ?? '').slice(11, 16);
    else field.value = values[0] ?? '';
  });
  showChosen();
};

// What is chosen stands on the button before its list; how many filters are set behind the other one is counted.
const showChosen = () => {
  all('[data-picks]').forEach((button) => {
    const list = one(`#pick-${button.dataset.picks}`);
    const chosen = all('input[type=checkbox]:checked', list);
    const not = one('input[type=radio][value=not]', list).checked;
    const value = chosen[0]?.nextElementSibling.textContent;
    const single = not ? _('Not %(value)s', { value }) : value;
    const many = not
      ? _n('%(count)s excluded', '%(count)s excluded', chosen.length)
      : _n('%(count)s selected', '%(count)s selected', chosen.length);
    one('.chip-v', button).textContent = [_('Any'), single][chosen.length] ?? many;
    button.classList.toggle('on', chosen.length > 0);
  });
  const names = all('#more :is(input, select)')
    .filter((field) => (field.type === 'checkbox' ? field.checked : field.value !== '' && field.type !== 'time'))
    .map((field) => field.name);
  const set = new Set(names).size;
  one('[data-count-set]').textContent = set ? ` · ${set}` : '';
  one('#more-button').classList.toggle('on', set > 0);
};
document.addEventListener('change', (event) => { if (event.target.closest?.('#filters')) showChosen(); });

// The figures come after the list. Those of the outcomes stand beside them in their filter.
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'figures') return;
  const counts = new Map((one('.facets-row').dataset.outcomes ?? '').trim().split(/\s+/).map((pair) => pair.split('=')));
  all('#pick-outcome [name=outcome]').forEach((box) => { box.parentElement.dataset.n = counts.get(box.value) ?? ''; });
});

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

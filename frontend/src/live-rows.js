// The rows of the list, kept up to date. While nobody reads them they follow the list's head; else only what they say
// changes, where they are, and a pill says how many new ones there are.
import htmx from 'htmx.org/dist/htmx.esm.js';
import { showList } from './list.js';
import { morph } from './morph.js';
import { all, one, partOf } from './page.js';
import { _n } from './texts.js';

const MOST = 100;
const STILL = 1500;

const fresh = new Set();
let moved = 0;
document.addEventListener('pointermove', (event) => { if (event.target.closest?.('#rows')) moved = Date.now(); });

// Rows must not move away under somebody's eyes, hands or keyboard.
export const holding = () => {
  const scroll = one('.scroll');
  const rows = one('#rows');
  const query = new URLSearchParams(one('#list').dataset.query);
  return query.has('cursor') || query.has('sort')
    || (scroll?.scrollTop ?? 0) > 8
    || one('#main').scrollTop > 8
    || Boolean(rows?.contains(document.activeElement))
    || (!getSelection().isCollapsed && Boolean(rows?.contains(getSelection().anchorNode)))
    || Date.now() - moved < STILL;
};

export const offered = () => fresh.size;
export const offer = () => {
  const pill = one('[data-new]');
  if (!pill) return;
  pill.hidden = fresh.size === 0;
  one('.lbl', pill).textContent = _n('%(count)s new', '%(count)s new', fresh.size, fresh.size >= MOST ? { count: `${MOST}+` } : {});
};
export const discard = () => { fresh.clear(); offer(); };

const fetchRows = async (query, ids) => {
  const given = new URLSearchParams(query);
  if (ids) given.set('ids', ids.join(','));
  const read = await partOf(`/communications/automation/logs/rows?${given}`, { 'X-By-Itself': '1' });
  return all('tr', read);
};

const light = (row) => {
  row.classList.remove('news');
  requestAnimationFrame(() => row.classList.add('news'));
};
const texts = (row) => row.textContent.replace(/\s+/g, ' ');

const bring = (row, changed) => {
  const old = document.getElementById(row.id);
  if (!old) {
    light(row);
    return row;
  }
  // Only the passing of time is no news.
  const was = texts(old);
  row.className = old.className;
  morph(old, row);
  if (changed && texts(old) !== was) light(old);
  return old;
};

// The whole list, through htmx: where there were no rows there is no place to put any.
const reload = (query) => showList(location.pathname.replace(/\/logs\/.*/, '/logs') + query);

export const followHead = async () => {
  const query = one('#list').dataset.query;
  const given = new URLSearchParams(query);
  if (given.has('cursor')) {
    given.delete('cursor');
    await reload(`?${given}`);
    return 0;
  }
  const rows = await fetchRows(query, null);
  // The filters may have changed while the answer was on its way.
  if (one('#list').dataset.query !== query) return 0;
  const body = one('#rows');
  if (!body || !rows.length) {
    await reload(query);
    return rows.length;
  }
  const there = new Set(all('tr', body).map((row) => row.id));
  const wanted = rows.map((row) => bring(row, true));
  const kept = new Set(wanted);
  [...body.children].forEach((row) => { if (!kept.has(row)) row.remove(); });
  wanted.forEach((row, place) => {
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
  });
  const added = wanted.filter((row) => !there.has(row.id));
  added.forEach((row) => htmx.process(row));
  discard();
  return added.length;
};

export const refreshRows = async (ids) => {
  const query = one('#list').dataset.query;
  const shown = all('#rows > tr').map((row) => row.id.slice(4));
  const everything = ids.includes('*');
  const changed = everything ? shown : shown.filter((id) => ids.includes(id));
  const others = ids.filter((id) => id !== '*' && !shown.includes(id) && !fresh.has(id));
  const asked = [...changed, ...others].slice(0, MOST);
  if (!asked.length) return 0;
  const rows = await fetchRows(query, asked);
  if (one('#list').dataset.query !== query) return 0;
  const found = new Set(rows.filter((row) => !('left' in row.dataset)).map((row) => row.id.slice(4)));
  // What fits the filters no longer stays where it is, and its mark says so.
  rows.forEach((row) => { if (document.getElementById(row.id)) bring(row, true); });
  const added = others.filter((id) => found.has(id));
  added.forEach((id) => fresh.add(id));
  offer();
  return added.length;
};

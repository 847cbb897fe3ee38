// A conversation is fetched while the pointer rests on its row, or when the keys come to it, so that it opens at once.
// What was fetched so is on record as such; that it was opened, and what happened since, its drawer asks for then.
import { refreshDrawer } from './live-drawer.js';
import { one } from './page.js';

const REST = 120;
const KEPT = 15_000;

let ahead = null;
let timer = 0;
let rested = null;

const fetchNow = (link) => {
  if (!link.isConnected || ahead?.address === link.href || link.hasAttribute('aria-current')) return;
  const headers = { 'HX-Request': 'true', 'HX-Target': 'aside#drawer', 'X-Ahead': '1', 'X-By-Itself': '1' };
  // Read at once: an answer that nobody reads keeps its connection, of which a browser has six.
  const answer = fetch(link.href, { headers }).then(async (response) => new Response(await response.blob(), response));
  ahead = { address: link.href, answer, at: performance.now() };
  ahead.answer.catch(() => { ahead = null; });
};
export const fetchAhead = (link) => {
  clearTimeout(timer);
  if (link) timer = setTimeout(() => fetchNow(link), REST);
};

document.addEventListener('pointerover', (event) => {
  const row = event.pointerType === 'mouse' ? event.target.closest?.('#rows [data-row]') : null;
  if (row === rested) return;
  rested = row;
  fetchAhead(row && one('.row-link', row));
});

let used = false;
document.addEventListener('htmx:before:request', (event) => {
  const { ctx } = event.detail;
  if (ctx.target?.id !== 'drawer') return;
  clearTimeout(timer);
  const fetched = ahead;
  ahead = null;
  const usable = fetched && new URL(ctx.request.action, location).href === fetched.address && performance.now() - fetched.at < KEPT;
  if (!usable) return;
  const ask = ctx.fetch;
  ctx.fetch = async (address, request) => {
    const answer = await fetched.answer.catch(() => null);
    used = answer?.ok ?? false;
    return used ? answer : ask(address, request);
  };
});
document.addEventListener('htmx:after:swap', (event) => {
  if (event.detail?.ctx?.target?.id !== 'drawer' || !used) return;
  used = false;
  const drawer = one('.drawer > .dr');
  if (drawer) refreshDrawer(drawer).catch(() => {});
});

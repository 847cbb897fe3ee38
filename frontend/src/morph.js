// Makes one element like another with as few changes as can be: what is the same stays the same node, with its focus.
const KEPT = new Set(['data-htmx-powered', 'aria-current', 'open']);

const attributes = (old, fresh) => {
  [...old.attributes].forEach(({ name }) => {
    if (!KEPT.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  });
  [...fresh.attributes].forEach(({ name, value }) => {
    if (!KEPT.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  });
};

export const morph = (old, fresh) => {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id ?? '') !== (fresh.id ?? '')) {
    old.replaceWith(fresh.cloneNode(true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  attributes(old, fresh);
  morphChildren(old, fresh);
};

export const morphChildren = (old, fresh) => {
  const [was, is] = [[...old.childNodes], [...fresh.childNodes]];
  is.forEach((child, place) => {
    if (was[place]) morph(was[place], child);
    else old.append(child.cloneNode(true));
  });
  was.slice(is.length).forEach((child) => child.remove());
};

// The same for rows that have ids: each stays the node that it was, wherever it stands now. What is gone goes first, so
// that the others need not be moved: a node that is moved loses its focus.
export const morphRows = (list, fresh) => {
  const wanted = new Set([...fresh.children].map((row) => row.id));
  [...list.children].forEach((row) => { if (!wanted.has(row.id)) row.remove(); });
  const old = new Map([...list.children].map((row) => [row.id, row]));
  [...fresh.children].forEach((row, place) => {
    const there = old.get(row.id);
    if (there) morph(there, row);
    const stays = there ?? row.cloneNode(true);
    if (list.children[place] !== stays) list.insertBefore(stays, list.children[place] ?? null);
  });
};

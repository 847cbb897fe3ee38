// What the other modules share: looking things up, saying things to assistive technology, keeping a choice.

export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

export const say = (text) => {
  const place = one('#announce');
  if (!place) return;
  // The same text twice in a row would not be read out again.
  place.textContent = place.textContent === text ? `${text}\u00a0` : text;
};

export const remember = (name, value) => {
  const secure = location.protocol === 'https:' ? '; secure' : '';
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=lax${secure}`;
};

// Runs now and after every swap, on a page as well as on a fragment.
export const whenever = (action) => {
  action();
  document.addEventListener('htmx:after:swap', () => action());
};

// An answer may come late: by then somebody may write elsewhere, and what is typed must not go astray.
export const isField = (element) => element?.matches?.('input:not([type=checkbox]),textarea,select,[contenteditable]') ?? false;
export const giveFocus = (element) => {
  if (!isField(document.activeElement)) element?.focus({ preventScroll: true });
};

// As in drawer.css: too narrow or too low for its sections to stand together.
export const isNarrow = () => matchMedia('(max-width: 699px), (max-height: 560px)').matches;

// What the page asks for when somebody acts. Once the session has ended the login is shown, which leads back to this address.
export const request = async (address, options) => {
  const response = await fetch(address, options);
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  return response;
};

// A part of a page, as the server rendered it. A template reads table rows, too, and nothing that it reads runs.
export const partOf = async (address, headers = {}) => {
  // By itself it leads nowhere: something may stand there that nobody has sent yet.
  const response = await (headers['X-By-Itself'] ? fetch : request)(address, { headers: { 'HX-Request': 'true', ...headers } });
  if (!response.ok) throw new Error(`${response.status} for ${address}`);
  const read = new DOMParser().parseFromString(`<template>${await response.text()}</template>`, 'text/html');
  return document.importNode(one('template', read).content, true);
};

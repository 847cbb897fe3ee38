// Says that something is on its way, and when it did not arrive.
import { one, say } from './page.js';
import { _ } from './texts.js';

let running = 0;
const count = (by) => {
  running = Math.max(0, running + by);
  document.body.classList.toggle('busy', running > 0);
};
// The simulator asks every second; that is no news.
const quiet = (event) => event.detail?.ctx?.sourceElement?.hasAttribute?.('data-quiet');

document.addEventListener('htmx:before:request', (event) => { if (!quiet(event)) count(1); });
document.addEventListener('htmx:finally:request', (event) => { if (!quiet(event)) count(-1); });

const lost = (text) => {
  say(text);
  const note = one('#note');
  if (!note) return;
  note.textContent = text;
  note.hidden = false;
  clearTimeout(note.timer);
  note.timer = setTimeout(() => { note.hidden = true; }, 6000);
};
document.addEventListener('htmx:error', (event) => {
  if (!quiet(event)) lost(_('No response from the server. Check your connection and try again.'));
});
document.addEventListener('htmx:response:error', (event) => {
  const status = event.detail?.ctx?.response?.status ?? 0;
  if (status === 429 && !quiet(event)) lost(_('You have several searches running. Try again when one has finished.'));
  if (status >= 500) lost(_('The server had a problem. Try again in a moment.'));
});

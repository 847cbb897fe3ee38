// The phone in the browser: keeps the newest message in view, as a phone does.
import { one, whenever } from './page.js';

let last = '';
whenever(() => {
  const chat = one('#sim-chat');
  if (!chat) return;
  const newest = one('.msgs > li:last-child', chat)?.id ?? '';
  if (newest === last) return;
  last = newest;
  chat.scrollTop = chat.scrollHeight;
  const steps = one('#sim-steps');
  if (steps) requestAnimationFrame(() => { steps.scrollTop = steps.scrollHeight; });
});

document.addEventListener('htmx:after:request', (event) => {
  const form = event.detail?.ctx?.sourceElement;
  if (!form?.matches?.('[data-compose]') || event.detail.ctx.response?.status >= 400) return;
  const field = one('input[name=text]', form);
  field.value = '';
  field.focus();
});

// The phone in the browser: keeps the newest message in view, as a phone does.
import { all, one, whenever } from './page.js';
import { _ } from './texts.js';

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
  if (!form?.matches?.('[data-compose],[data-attach]') || event.detail.ctx.response?.status >= 400) return;
  const field = one('#sim-text');
  if (form.matches('[data-compose]')) {
    field.value = '';
    // What was replied to or edited was so once.
    all('.phone [data-once]').forEach((element) => element.remove());
  } else {
    form.closest('[popover]')?.hidePopover();
    all('input[type=file]', form).forEach((chosen) => { chosen.value = ''; });
  }
  field.focus();
});

document.addEventListener('change', (event) => {
  const chosen = event.target;
  if (!chosen.matches?.('input[type=file][data-most]')) return;
  const size = chosen.files[0]?.size ?? 0;
  chosen.setCustomValidity(size > Number(chosen.dataset.most) ? _('This file is larger than 4 MB.') : '');
  chosen.reportValidity();
});

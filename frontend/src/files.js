// Files that are too much for one request: said at their field before they are sent, since what came with them is lost.

import { say } from './page.js';

document.addEventListener('change', ({ target }) => {
  if (!target.matches('[data-most-bytes]')) return;
  const size = [...target.files].reduce((sum, file) => sum + file.size, 0);
  const isTooMuch = size > Number(target.dataset.mostBytes);
  const hint = document.getElementById(target.getAttribute('aria-describedby'));
  target.dataset.hint ??= hint.textContent;
  hint.textContent = isTooMuch ? target.dataset.tooMuch : target.dataset.hint;
  hint.classList.toggle('bad', isTooMuch);
  if (isTooMuch) {
    target.value = '';
    target.setAttribute('aria-invalid', 'true');
    say(hint.textContent);
  } else target.removeAttribute('aria-invalid');
});

// Theme, language, row height and time zone live in cookies, so that the server renders the right ones at once.
import { all, one, remember, request, say } from './page.js';
import { _ } from './texts.js';

const root = document.documentElement;

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const isRemembered = () => document.cookie.split('; ').includes(`zone=${encodeURIComponent(zone)}`);

// What the server reads from here on is in this zone, and so are the days of the filters on this page.
if (zone && root.dataset.zone !== zone && !isRemembered()) {
  remember('zone', zone);
  if (isRemembered()) {
    all('[data-days-of]').forEach((said) => { said.textContent = zone; });
    if (/[?&](from|to)=/.test(location.search)) location.reload();
  }
}

document.addEventListener('change', (event) => {
  const language = event.target.closest('[data-language-set]');
  if (!language) return;
  remember('language', language.value);
  location.reload();
});

document.addEventListener('click', (event) => {
  const theme = event.target.closest('[data-theme-set]');
  if (theme) {
    root.dataset.theme = theme.dataset.themeSet;
    remember('theme', theme.dataset.themeSet);
    all('[data-theme-set]').forEach((button) => button.setAttribute('aria-pressed', button === theme));
  }
  const density = event.target.closest('[data-density]');
  if (density && density !== root) {
    const comfortable = density.getAttribute('aria-pressed') !== 'true';
    density.setAttribute('aria-pressed', comfortable);
    root.dataset.density = comfortable ? 'comfortable' : 'compact';
    remember('density', root.dataset.density);
  }
  if (event.target.closest('[data-copy-link]')) copy(location.href, _('Link copied'));
  const anchored = event.target.closest('[data-copy-anchor]');
  if (anchored) {
    const { address } = anchored.closest('.dr').dataset;
    copy(`${location.origin}${address}#${anchored.dataset.copyAnchor}`, _('Link copied'), anchored);
  }
  const whole = event.target.closest('[data-copy-text]');
  if (whole) copyWhole(`${one('.dr').dataset.address}/${whole.dataset.copyText}`);
  if (event.target.closest('[data-print]')) print();
  const copied = event.target.closest('[data-copy]');
  if (copied) copy(copied.dataset.copy, _('Copied'), copied);
});

export const copy = async (text, done, button) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    say(_('The browser did not allow copying'));
    return;
  }
  say(done);
  const note = one('#note');
  if (note) {
    note.textContent = done;
    note.hidden = false;
    clearTimeout(note.timer);
    note.timer = setTimeout(() => { note.hidden = true; }, 1600);
  }
  button?.focus({ preventScroll: true });
};

const copyWhole = async (address) => {
  one('#take-away')?.hidePopover();
  try {
    const answer = await request(address, { headers: { 'HX-Request': 'true' } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    await copy(await answer.text(), _('Transcript copied'));
  } catch {
    say(_('The transcript could not be fetched. Try again.'));
  }
};

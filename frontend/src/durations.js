// Lengths of time that count by themselves: every `<time data-since>` says how long ago that was, once a second.
import { all } from './page.js';

const UNITS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
export const length = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const place = UNITS.findIndex(([size]) => whole >= size);
  if (place < 0) return '0 s';
  const [[size, unit], [smaller, small] = [1, 's']] = UNITS.slice(place);
  const rest = Math.floor((whole % size) / smaller);
  return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${small}` : ''}`;
};

export const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

export const countTimes = () => {
  all('time[data-since]').forEach((time) => put(time, length((Date.now() - Date.parse(time.dataset.since)) / 1000)));
};
setInterval(countTimes, 1000);

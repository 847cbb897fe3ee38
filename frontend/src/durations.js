// Lengths of time that count by themselves: every `<time data-since>` says how long ago that was, once a second.
import { all } from './page.js';

export const length = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${String(whole % 60).padStart(2, '0')}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')}m`;
  return `${Math.floor(whole / 86400)}d ${String(Math.floor((whole % 86400) / 3600)).padStart(2, '0')}h`;
};

export const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

export const countTimes = () => {
  all('time[data-since]').forEach((time) => put(time, length((Date.now() - Date.parse(time.dataset.since)) / 1000)));
};
setInterval(countTimes, 1000);

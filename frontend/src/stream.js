// The event stream of this page, one for all of its parts: opened when the page is seen, closed when it has been hidden for
// a while, and resumed from where it was (Last-Event-ID). A fetch instead of an EventSource, since that one hides why it
// was refused, gives up on a 503, and does not say how far it is.

const PATIENCE = 45_000;
const HIDDEN = 30_000;

export const openStream = (place, { heard, state, address = '/api/v1/events' }) => {
  let last = place;
  let stopped = false;
  let controller = null;
  let failures = 0;
  let retry = 1000;
  let timer = 0;
  let watchdog = 0;

  const later = () => {
    failures += 1;
    state('lost');
    // With jitter, so that the pages of a server that comes back do not all ask at the same moment.
    const wait = Math.min(30_000, retry * 2 ** Math.min(failures - 1, 5)) * (0.5 + Math.random());
    timer = setTimeout(connect, failures === 1 ? Math.min(wait, 1500) : wait);
  };

  const alive = () => {
    clearTimeout(watchdog);
    // A connection that died without a word is found out by the missing signs of life.
    watchdog = setTimeout(() => controller?.abort(), PATIENCE);
  };

  const event = (block) => {
    const fields = { event: 'message', data: '' };
    block.split('\n').forEach((line) => {
      const at = line.indexOf(':');
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
    });
    if (fields.retry) retry = Number(fields.retry) || retry;
    if (fields.event === 'closed') stopped = true;
    else if (fields.data) heard(fields.event, JSON.parse(fields.data));
    if (fields.id) last = fields.id;
  };

  const read = async (body) => {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      text += value;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      blocks.forEach(event);
    }
  };

  const connect = async () => {
    clearTimeout(timer);
    if (stopped || controller || document.hidden) return;
    const mine = new AbortController();
    controller = mine;
    alive();
    try {
      const headers = { Accept: 'text/event-stream', 'X-By-Itself': '1', ...(last && { 'Last-Event-ID': last }) };
      const response = await fetch(address, { headers, signal: mine.signal, cache: 'no-store' });
      if ([401, 403].includes(response.status)) stopped = true;
      else if (response.ok) {
        failures = 0;
        state('live');
        await read(response.body);
      }
    } catch {
      // Cut, refused or aborted: all the same, the stream is opened again.
    }
    clearTimeout(watchdog);
    controller = null;
    if (stopped) state('ended');
    else if (!document.hidden) later();
  };

  let hiding = 0;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => { clearTimeout(timer); controller?.abort(); }, HIDDEN);
    else connect();
  });
  // A page that the browser keeps for going back must not hold a connection.
  addEventListener('pagehide', () => { clearTimeout(timer); controller?.abort(); });
  addEventListener('pageshow', (shown) => { if (shown.persisted) connect(); });
  connect();
};

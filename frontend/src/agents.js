// Everything for the pages on which agents work: what all pages have, the Handoff Inbox and the Active Sessions.
import './app.js';
import './active.js';
import './handoff.js';

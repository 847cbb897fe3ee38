import 'htmx.org/dist/htmx.esm.js';
import './columns.js';
import './drawer.js';
import './keyboard.js';
import './list.js';
import './preferences.js';
import './simulator.js';
import './status.js';

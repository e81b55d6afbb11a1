/** Starts the page. */
import { render } from 'preact';
import '../shared/style.css';
import './playground.css';
import './parity/parity.css';
import './race/race.css';
import { App } from './app.js';

// A file dropped beside a drop zone must not replace the page and its running work.
for (const kind of ['dragover', 'drop'] as const) {
  addEventListener(kind, (event) => {
    const { dataTransfer, defaultPrevented } = event;
    if (defaultPrevented || !dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    dataTransfer.dropEffect = 'none';
  });
}

render(<App />, document.body);

/** The page's beginning. */
import { render } from 'preact';
import '../shared/style.css';
import './playground.css';
import './parity/parity.css';
import './race/race.css';
import { App } from './app.js';

render(<App />, document.body);

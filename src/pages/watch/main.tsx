/** Starts the page. */
import { render } from 'preact';
import '../shared/style.css';
import './style.css';
import { App } from './app.js';

render(<App />, document.body);

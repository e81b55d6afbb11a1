/** The page's beginning. */
import { render } from 'preact';
import '../shared/style.css';

render(<main>…</main>, document.body);

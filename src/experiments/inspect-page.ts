/**
 * What `inspect` finds as one HTML page: a row for each token under its word, a column for each exit.
 */
import { htmlPage } from './document.js';
import {
  describedParts,
  gateNorm,
  type InspectedExit,
  type InspectedToken,
  type Inspection,
  type Prediction,
} from './inspect.js';
import { visible } from '../printable.js';
import { escapeText } from './plot-text.js';

const STYLE = `
main { max-width: none; padding-block: 1rem 3rem; }
table.tokens { border-collapse: separate; border-spacing: 2px; }
.tokens th, .tokens td { text-align: left; border: 0; vertical-align: top; }
.tokens thead th { vertical-align: bottom; font-weight: 400; } .tokens thead b { font-weight: 600; }
.tokens tbody tr:first-child > * { border-top: 2px solid var(--rule); }
.tokens tbody th { position: sticky; left: 0; z-index: 1; background: var(--paper); font-weight: 400; min-width: 6rem; max-width: 9rem; overflow-wrap: anywhere; }
.tokens td { min-width: 6.5rem; max-width: 12rem; overflow-wrap: anywhere; } .tokens td.next { min-width: 4rem; }
.tokens small, .key small { display: block; font-size: 0.8rem; }
.right { background: color-mix(in srgb, var(--good) var(--sure), transparent); }
.wrong { background: color-mix(in srgb, var(--bad) var(--sure), transparent); }
.open { background: color-mix(in srgb, var(--soft) var(--sure), transparent); }
.stop { outline: 3px solid var(--ink); outline-offset: -3px; }
.over { background: none; color: var(--soft); }
mark { background: var(--mark); color: inherit; text-decoration: underline; text-decoration-thickness: 2px; }
.key { display: flex; flex-wrap: wrap; gap: 0.4rem 1.2rem; list-style: none; padding: 0; margin: 0.6rem 0; }
.key span { display: inline-block; padding: 0.1rem 0.5rem; margin-right: 0.3rem; }
`;

/** Percent of the colour that a probability of 1 is shaded with: the text on it stays readable in both schemes. */
const DEEPEST = 42;

/** Whether a guess is the token that follows; null at the end of the text. */
type Verdict = boolean | null;

/** The inspection as one HTML page, shaded by how sure each guess is, and marked right or wrong. */
export function renderInspection(inspection: Inspection, title: string): string {
  const { unit, tokens, threshold, gates } = inspection;
  const exits = tokens[0].exits.length;
  const verdicts = tokens.map((token, t) =>
    token.exits.map(({ top }): Verdict => (t + 1 < tokens.length ? top[0].id === tokens[t + 1].id : null)),
  );
  const halting = tokens[0].haltsAt !== null;
  const rows = tokens.map((token, t) => {
    const stop = token.haltsAt ?? token.confidentAt ?? exits;
    const cells = token.exits.map((exit, n) => {
      const place = n + 1 === stop ? ' stop' : halting && n + 1 > stop ? ' over' : '';
      return cell(exit, verdicts[t][n], place);
    });
    const next = tokens[t + 1];
    const follows = next ? `<code>${escapeText(visible(next.text))}</code>` : '<span class="soft">end</span>';
    return `<tr><th scope="row">${inWord(token)}</th><td class="next">${follows}</td>${cells.join('')}</tr>`;
  });
  const rule = halting
    ? 'where the model’s own halting rule stops'
    : `the first guess above ${threshold}, or else the last: where a rule of confidence would stop`;
  return htmlPage(
    title,
    STYLE,
    `<p>The model reads the text token by token. Each row is a token that it has read, each column what it then takes for the
next token after so many ${unit}s: its best guess with a probability, the next best, the loss of the token that
really follows (nats; lower is better), and how far the hidden state moved in that ${unit} (against its length).</p>
<ul class="key">
<li><span class="right" style="--sure:${DEEPEST}%">✓ right</span>the guess is the token that follows</li>
<li><span class="wrong" style="--sure:${DEEPEST}%">✗ wrong</span>it is another</li>
<li>${[10, 50, 100].map((p) => `<span class="open" style="--sure:${(DEEPEST * p) / 100}%">${p} %</span>`).join('')}the deeper the shade, the surer</li>
<li><span class="stop">framed</span>${escapeText(rule)}</li>
${halting ? '<li><span class="over">unshaded</span>after that stop: not part of the answer</li>\n' : ''}<li><mark>marked</mark> the token of the row, in its word</li>
</ul>
<div class="scroll" role="region" aria-label="guesses, token by token" tabindex="0"><table class="tokens">
<thead><tr><th scope="col"><b>read</b></th><th scope="col"><b>really next</b></th>${heads(tokens, verdicts).join('')}</tr></thead>
${byWord(tokens, rows).join('\n')}
</table></div>
${learnedGates(gates)}
${partsOfLoops(inspection)}`,
  );
}

/** A guess, with what else it might have been. */
function cell({ top, loss, relative }: InspectedExit, verdict: Verdict, place: string): string {
  const [best, ...others] = top;
  const sure = `--sure:${(DEEPEST * best.probability).toFixed(0)}%`;
  const [kind, sign] = verdict === null ? ['open', ''] : verdict ? ['right', '✓ '] : ['wrong', '✗ '];
  const numbers = [
    ...(loss === null ? [] : [`loss ${loss.toFixed(2)}`]),
    ...(relative === null ? [] : [`moved ${relative.toFixed(2)}`]),
  ];
  const further = others.length > 0 ? `<small>or ${others.map(named).join(', ')}</small>` : '';
  return `<td class="${kind}${place}" style="${sure}">${sign}<b>${named(best)}</b>${further}<small>${numbers.join(', ')}</small></td>`;
}

function named({ text, probability }: Prediction): string {
  return `<code>${escapeText(visible(text))}</code> ${(100 * probability).toFixed(0)} %`;
}

/** The columns' heads: how many guesses are right after so many loops, and their mean loss. */
function heads(tokens: readonly InspectedToken[], verdicts: readonly (readonly Verdict[])[]): string[] {
  const known = tokens.length - 1;
  return tokens[0].exits.map((_, n) => {
    const right = verdicts.filter((row) => row[n] === true).length;
    const loss = tokens.slice(0, known).reduce((sum, { exits }) => sum + exits[n].loss!, 0) / known;
    const score = known > 0 ? `<small>${right} of ${known} right, mean loss ${loss.toFixed(2)}</small>` : '';
    return `<th scope="col"><b>after ${n + 1}</b>${score}</th>`;
  });
}

/** Characters of a word that are shown on either side of a token: some scripts have no blanks. */
const MOST_SHOWN = 14;

/** A token inside its word; a token without text of its own stands as `visible` has it. */
function inWord({ word: [before, own, after] }: InspectedToken): string {
  const shown = (text: string) => (text === '' ? '' : escapeText(visible(text)));
  const left = Array.from(before).slice(-MOST_SHOWN).join('');
  const right = Array.from(after).slice(0, MOST_SHOWN).join('');
  const [start, end] = [left === before ? '' : '…', right === after ? '' : '…'];
  return `<code>${start}${shown(left)}<mark>${escapeText(visible(own))}</mark>${shown(right)}${end}</code>`;
}

/** Rows in a body for each word. */
function byWord(tokens: readonly InspectedToken[], rows: readonly string[]): string[] {
  const bodies: string[][] = [];
  for (const [t, row] of rows.entries()) {
    if (tokens[t].word[0] === '' || bodies.length === 0) bodies.push([]);
    bodies.at(-1)!.push(row);
  }
  return bodies.map((body) => `<tbody>\n${body.join('\n')}\n</tbody>`);
}

function learnedGates(gates: Inspection['gates']): string {
  const entries = Object.entries(gates);
  if (entries.length === 0) return '';
  const items = entries.map(([name, loops]) => {
    const values = loops.map((g) => `${g.mean.toFixed(3)} (norm ${gateNorm(g).toFixed(3)})`).join(', ');
    return `<li><code>${escapeText(name)}</code>: ${values}</li>`;
  });
  return `<h2>Learned gates by loop: mean, and norm over √C</h2>
<p>A gate multiplies what a loop adds to each channel of the hidden state; at 0 the loop adds nothing.</p><ul>${items.join('')}</ul>`;
}

function partsOfLoops({ unit, loopParts, stateRms }: Inspection): string {
  const items = describedParts(loopParts).map(([name, values]) => `<li>${escapeText(name)}: ${values}</li>`);
  const learned =
    items.length === 0
      ? ''
      : `<h2>Parts of the loops: mean by loop, least to largest over channels or streams</h2>
<p>The carry-over is the share of the state that a channel keeps before each loop. A loop reads a mix of the streams,
and what it changes is written to each of them; streams are kept, and mixed into each other.</p>
<ul>${items.join('')}</ul>`;
  if (stateRms.length < 2) return learned;
  const values = stateRms.map((x) => x.toFixed(3)).join(', ');
  return `${learned}<h2>The state after each ${unit}</h2><p>Root mean square over tokens and channels: ${values}.</p>`;
}

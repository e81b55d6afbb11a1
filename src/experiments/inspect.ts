/**
 * What a model does to each token of a text, exit by exit: what it would predict there, the loss of the token that really
 * follows, how far the hidden state moved, and where a halting rule would have stopped. Knows no terminal.
 */
import { ConfigError } from '../errors.js';
import type { GPT } from '../models/gpt.js';
import { type Tokenizer, textOf } from '../tokenizer/tokenizer.js';
import { changeOf, type GateSummary, gateSummaries } from './analysis.js';
import { escapeText } from './plot.js';

export interface Prediction {
  readonly id: number;
  readonly text: string;
  readonly probability: number;
}

export interface InspectedExit {
  /** Most probable first. */
  readonly top: readonly Prediction[];
  /** Nats, of the token that follows; null at the end of the text. */
  readonly loss: number | null;
  /** ‖s_n − s_(n−1)‖ / ‖s_(n−1)‖ and their cosine; null where the depth has no steps. */
  readonly relative: number | null;
  readonly cosine: number | null;
}

export interface InspectedToken {
  readonly id: number;
  readonly text: string;
  /** One entry for each exit; a depth without exits has one. */
  readonly exits: readonly InspectedExit[];
  /** The exit, from 1, at which the highest probability first exceeds the threshold; null where it never does. */
  readonly confidentAt: number | null;
  /** Steps that the model's own halting rule takes; null where it has none. An exit of ACT is what it would put out there: an average of the states so far. */
  readonly haltsAt: number | null;
}

export interface Inspection {
  readonly tokens: readonly InspectedToken[];
  readonly threshold: number;
  /** Learned gates by parameter name, one summary a loop. */
  readonly gates: Readonly<Record<string, readonly GateSummary[]>>;
}

export interface InspectOptions {
  readonly loops?: number;
  /** Predictions to list at each exit. */
  readonly top: number;
  /** Probability that counts as confident. */
  readonly threshold: number;
}

/** Inspects a text. Throws ConfigError where it is empty or longer than the block size. */
export async function inspect(
  model: GPT,
  tokenizer: Tokenizer,
  text: string,
  { loops, top, threshold }: InspectOptions,
): Promise<Inspection> {
  if (!(threshold > 0 && threshold < 1)) {
    throw new ConfigError('exit.threshold', 'must lie in (0, 1)', threshold);
  }
  const ids = Int32Array.from(tokenizer.encode(text));
  const { blockSize, vocabSize: V, nEmbd: C, halting } = model.config;
  if (ids.length === 0 || ids.length > blockSize) {
    throw new ConfigError('prompt', `must have 1 to blockSize = ${blockSize} tokens`, ids.length);
  }
  const targets = Int32Array.from(ids, (_, t) => ids[t + 1] ?? -1);
  const options = loops === undefined ? {} : { loops };
  const { entry, exits } = await model.readings(ids, targets, 1, options, true);
  let halts: Int32Array | null = null;
  if (halting !== 'none') {
    const own = { ...options, ...(halting === 'confidence' ? { exit: { threshold } } : {}) };
    using run = model.score(ids, targets, 1, own);
    halts = run.stepsPerRow && ((await run.stepsPerRow.read()) as Int32Array);
  }
  const tokens = Array.from(ids, (id, t): InspectedToken => {
    const seen = exits.map((exit, n): InspectedExit => {
      const before = n > 0 ? exits[n - 1].state : entry;
      const change = before ? changeOf(before, exit.state, t * C, C) : null;
      return {
        top: topOf(exit.logits!.subarray(t * V, t * V + Math.min(V, tokenizer.vocabSize)), top, (next) =>
          textOf(tokenizer, next, id),
        ),
        loss: targets[t] < 0 ? null : exit.losses[t],
        relative: change?.relative ?? null,
        cosine: change?.cosine ?? null,
      };
    });
    const first = exits.findIndex(({ maxProb }) => maxProb[t] > threshold);
    return {
      id,
      text: textOf(tokenizer, id, ids[t - 1]),
      exits: seen,
      confidentAt: first < 0 ? null : first + 1,
      haltsAt: halts?.[t] ?? null,
    };
  });
  return { tokens, threshold, gates: await gateSummaries(model) };
}

/** The most probable ids, of equal ones the lower first; a pass over the logits finds them, for a page asks at every key. */
function topOf(logits: Float32Array, count: number, text: (id: number) => string): Prediction[] {
  const best: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    if (best.length === count && !(logits[id] > logits[best[count - 1]])) continue;
    let at = Math.min(best.length, count - 1);
    for (; at > 0 && logits[id] > logits[best[at - 1]]; at--) best[at] = best[at - 1];
    best[at] = id;
  }
  const max = logits[best[0]];
  let total = 0;
  for (const x of logits) total += Math.exp(x - max);
  return best.map((id) => ({ id, text: text(id), probability: Math.exp(logits[id] - max) / total }));
}

const STYLE = `
:root { color-scheme: light dark; }
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.55rem; border: 1px solid #8884; text-align: left; white-space: nowrap; }
td small { opacity: 0.75; } td.token { font-weight: 600; }
td.over { opacity: 0.35; }
td.stop { outline: 2px solid #d1495b; outline-offset: -2px; }
code { white-space: pre; } .scroll { overflow-x: auto; }
`;

/** The inspection as one HTML page: a row for each token, a column for each exit, shaded by probability. */
export function renderInspection({ tokens, threshold, gates }: Inspection, title: string): string {
  const exits = tokens[0].exits.length;
  const head = ['token', ...Array.from({ length: exits }, (_, n) => `after ${n + 1}`)];
  const rows = tokens.map(({ text, exits: seen, confidentAt, haltsAt }) => {
    const stop = haltsAt ?? confidentAt ?? seen.length;
    const cells = seen.map((exit, n) => {
      const [best] = exit.top;
      const hover = exit.top
        .map((p) => `${visible(p.text)} ${(100 * p.probability).toFixed(1)} %`)
        .join('\n');
      const shade = `background:rgb(59 111 182 / ${(0.75 * best.probability).toFixed(2)})`;
      const moved = exit.relative === null ? '' : ` moved ${exit.relative.toFixed(2)}`;
      const loss = exit.loss === null ? '' : ` loss ${exit.loss.toFixed(2)}`;
      const css = n + 1 === stop ? ' class="stop"' : haltsAt !== null && n + 1 > stop ? ' class="over"' : '';
      return (
        `<td${css} style="${shade}" title="${escapeText(hover)}"><code>${escapeText(visible(best.text))}</code> ` +
        `${(100 * best.probability).toFixed(0)} %<br><small>${loss}${moved}</small></td>`
      );
    });
    return `<tr><td class="token"><code>${escapeText(visible(text))}</code></td>${cells.join('')}</tr>`;
  });
  const learned = Object.entries(gates).map(([name, loops]) => {
    const values = loops.map((g) => `${g.mean.toFixed(3)} (norm ${gateNorm(g).toFixed(3)})`).join(', ');
    return `<li><code>${escapeText(name)}</code>: ${values}</li>`;
  });
  const rule =
    tokens[0].haltsAt === null
      ? `the first with a probability above ${threshold}, or the last`
      : 'the model’s own';
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title><style>${STYLE}</style></head>
<body>
<h1>${escapeText(title)}</h1>
<p>Each cell: the most probable next token after so many steps, its probability, the loss of the token that really follows, and
how far the hidden state moved. Framed: where a halting rule stops, ${escapeText(rule)}. Hover for further predictions.</p>
<div class="scroll"><table><thead><tr>${head.map((h) => `<th>${escapeText(h)}</th>`).join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div>
${learned.length > 0 ? `<h2>Learned gates by loop: mean, and norm over √C</h2><ul>${learned.join('')}</ul>` : ''}
</body>
</html>
`;
}

/** ‖α‖/√C. */
export function gateNorm({ mean, std }: GateSummary): number {
  return Math.hypot(mean, std);
}

/** Text whose blanks and control characters can be seen. */
export function visible(text: string): string {
  if (text === '') return '∅';
  const named = text.replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/^ | $/g, '␣');
  return named.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

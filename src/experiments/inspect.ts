/**
 * What a model does to each token of a text, exit by exit: what it would predict there, the loss of the token that
 * really follows, how far the hidden state moved, and where a halting rule would have stopped.
 */
import { ConfigError } from '../errors.js';
import type { GPT } from '../models/gpt.js';
import { type Tokenizer, textOf } from '../tokenizer/tokenizer.js';
import { type GateSummary, gateSummaries } from '../evaluate/gates.js';
import { type LoopParts, loopParts } from '../evaluate/loop-parts.js';
import { changeOf } from './analysis.js';

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
  /** ‖s_n − s_(n−1)‖ / ‖s_(n−1)‖ and their cosine; null if the depth has a single exit. */
  readonly relative: number | null;
  readonly cosine: number | null;
}

/** A word: what comes before a token, the characters that the token has a part in, what comes after. */
export type WordParts = readonly [before: string, own: string, after: string];

export interface InspectedToken {
  readonly id: number;
  readonly text: string;
  /** The word that it is in, which tokens of single bytes cannot be read without. */
  readonly word: WordParts;
  /** One entry for each exit; a depth without exits has one. */
  readonly exits: readonly InspectedExit[];
  /** The exit, from 1, at which the highest probability first exceeds the threshold; null if it never does. */
  readonly confidentAt: number | null;
  /**
   * Steps that the model's own halting rule takes; null if it has none. An exit of ACT is what it would put out
   * there: an average of the states so far.
   */
  readonly haltsAt: number | null;
}

/** What lies between two exits: a loop, a step of Universal Transformer's block, or a layer. */
export type ExitUnit = 'loop' | 'step' | 'layer';

export interface Inspection {
  readonly unit: ExitUnit;
  readonly tokens: readonly InspectedToken[];
  readonly threshold: number;
  /** Learned gates by parameter name, one summary a loop. */
  readonly gates: Readonly<Record<string, readonly GateSummary[]>>;
  readonly loopParts: LoopParts;
  /** Root mean square of the state at each exit. */
  readonly stateRms: readonly number[];
}

export interface InspectOptions {
  readonly loops?: number;
  /** Predictions to list at each exit. */
  readonly top: number;
  /** Probability that counts as confident. */
  readonly threshold: number;
}

/** Inspects a text. Throws ConfigError if it is empty or longer than the block size. */
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
  const { blockSize, vocabSize: V, nEmbd: C, halting, depth } = model.config;
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
  const words = wordsOf(tokenizer, ids);
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
      word: words[t],
      exits: seen,
      confidentAt: first < 0 ? null : first + 1,
      haltsAt: halts?.[t] ?? null,
    };
  });
  const rms = ({ state }: { readonly state: Float32Array }) =>
    Math.sqrt(state.reduce((sum, x) => sum + x * x, 0) / state.length);
  return {
    unit: depth === 'loop' ? 'loop' : depth === 'universal' ? 'step' : 'layer',
    ...{ tokens, threshold, gates: await gateSummaries(model), loopParts: await loopParts(model) },
    stateRms: exits.map(rms),
  };
}

/** Each token's word in three parts; a word begins with its blank. */
function wordsOf(tokenizer: Tokenizer, ids: Int32Array): WordParts[] {
  const bytes = Array.from(ids, (id, t) => Array.from(tokenizer.bytesOf(id, ids[t - 1])));
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  const words: WordParts[] = [];
  for (let from = 0, to = 0; from < ids.length; from = to) {
    for (to = from + 1; to < ids.length && bytes[to][0] > BLANK; ) to++;
    const whole = bytes.slice(from, to).flat();
    const text = (a: number, b: number) => utf8.decode(Uint8Array.from(whole.slice(a, b)));
    for (let t = from, end = 0; t < to; t++) {
      let begin = end;
      end += bytes[t].length;
      let last = end;
      while (begin > 0 && continues(whole[begin])) begin--;
      while (continues(whole[last])) last++;
      words.push([text(0, begin), text(begin, last), text(last, whole.length)]);
    }
  }
  return words;
}

const BLANK = 0x20;

/** Whether a byte continues a character of UTF-8. */
function continues(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/**
 * The most probable ids, of equal ones the lower first; a pass over the logits finds them, for a page asks at every
 * key.
 */
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

/** ‖α‖/√C. */
export function gateNorm({ mean, std }: GateSummary): number {
  return Math.hypot(mean, std);
}

/** Learned parts in words: the mean of each loop, and the least and the largest value where they differ. */
export function describedParts(parts: LoopParts): (readonly [name: string, values: string])[] {
  const shown = ({ mean, min, max }: GateSummary) => {
    const range = min === max ? '' : ` (${min.toFixed(3)} to ${max.toFixed(3)})`;
    return `${mean.toFixed(3)}${range}`;
  };
  return Object.entries(parts).map(([name, loops]) => [name, loops.map(shown).join(', ')]);
}

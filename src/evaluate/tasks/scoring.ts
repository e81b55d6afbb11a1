/**
 * Log-probabilities of the ends of many sequences. A common beginning of several sequences is read once, and their rows
 * share passes: `generate/engine.ts` does both. It must not import questions or files.
 */
import { DataError } from '../../errors.js';
import { Decoder } from '../../generate/decoder.js';
import { Engine } from '../../generate/engine.js';
import type { GPT } from '../../models/gpt.js';
import type { ExitOptions } from '../../models/exits/options.js';
import type { Clock } from '../../platform.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';

/**
 * A sequence of which the tokens from place `from` on are scored, at least one, given those before them, at least one.
 */
export interface Scored {
  readonly ids: readonly number[];
  readonly from: number;
}

/** The score of the scored tokens. */
export interface Score {
  /** Their log-probabilities, added up (nats). */
  readonly logprob: number;
  readonly tokens: number;
  /** Whether each is the most probable token, given the true tokens before it. */
  readonly greedy: boolean;
}

/** How a model is run. */
export interface ScoringOptions {
  readonly loops?: number;
  readonly exit?: ExitOptions;
  readonly onProgress?: (fraction: number) => void;
}

/** Running sequences, and tokens of a step: enough for products at full speed. */
const MOST_SEQUENCES = 64;
const ROWS = 512;

/**
 * Scores sequences, in their order; neighbours should share beginnings. A sequence that is longer than the model reads
 * loses its first tokens: all but the last are read, as in lm-evaluation-harness.
 *
 * Throws DataError for a sequence whose scored tokens alone are too many, or for an id that the model does not have.
 *
 * @example
 * ```ts
 * const sequences = [{ ids: [5, 9, 2], from: 2 }, { ids: [5, 9, 4], from: 2 }];
 * const [yes, no] = await scoreSequences(model, tokenizer, sequences, {}, clock);
 * ```
 */
export async function scoreSequences(
  model: GPT,
  tokenizer: Tokenizer,
  sequences: readonly Scored[],
  { loops, exit, onProgress }: ScoringOptions,
  clock: Clock,
): Promise<Score[]> {
  using decoder = new Decoder(model);
  const engine = new Engine(decoder, tokenizer, clock, { maxSequences: MOST_SEQUENCES, prefillChunk: ROWS });
  const options = { ...(loops === undefined ? {} : { loops }), ...(exit === undefined ? {} : { exit }) };
  const most = model.config.blockSize + 1;
  const scores: Score[] = new Array(sequences.length);
  let next = 0;
  let done = 0;
  const score = async ({ ids, from }: Scored): Promise<Score> => {
    const cut = Math.max(0, ids.length - most);
    const echo = from - cut;
    if (echo < 1) {
      const rule = `must have fewer than ${most} tokens to score, and one before them`;
      throw new DataError('sequence', rule, ids.length - from);
    }
    const prompt = ids.slice(cut);
    const stream = engine.generate({ ...options, prompt, echo, maxTokens: 0, topLogprobs: 1 });
    let logprob = 0;
    let greedy = true;
    for await (const token of stream) {
      logprob += token.logprob!;
      greedy &&= token.top![0].id === token.id;
    }
    onProgress?.(++done / sequences.length);
    return { logprob, tokens: prompt.length - echo, greedy };
  };
  const work = async () => {
    while (next < sequences.length) {
      const place = next++;
      scores[place] = await score(sequences[place]);
    }
  };
  try {
    // Twice as many as run, so that the engine never waits for the next.
    await Promise.all(Array.from({ length: Math.min(2 * MOST_SEQUENCES, sequences.length) }, work));
  } finally {
    await engine.dispose();
  }
  return scores;
}

/**
 * Self-speculative decoding: a looped model drafts tokens with fewer of its own loops, and checks them all in one pass
 * of full depth, which continues from the draft's states (Elhoushi et al. 2024, arXiv 2404.16710, for layers; Leviathan
 * et al. 2023, arXiv 2211.17192, for the idea).
 *
 * A drafted token is accepted if the full model draws the same token. Both draw with the same random numbers
 * (`Candidates.draw`). Answers are therefore those of decoding without a draft, token for token, and similar
 * distributions mostly agree: at a total variation distance δ with probability (1 − δ)/(1 + δ) or more (Daliri et al.
 * 2024, arXiv 2408.07978).
 */
import { ConfigError } from '../errors.js';
import { exitCount, type ModelConfig, stateWidth } from '../models/config.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Decoder, Sequence, SequenceOptions } from './decoder.js';

export interface DraftOptions {
  /** Loops, steps or layers of a draft, fewer than those of the answer. */
  readonly loops: number;
  /** Tokens drafted before each check. */
  readonly tokens: number;
}

/** A sequence in a round, with the functions that draw its tokens. */
export interface Speculating {
  readonly sequence: Sequence;
  /** The drawn token that is not in the sequence yet. */
  readonly drawn: number;
  /** Draws the next token of the draft from its logits (V). */
  guess(logits: Float32Array): number;
  /**
   * Draws the next token of the answer from `logits (V)`; returns whether it is the drafted token and the answer
   * continues.
   */
  check(logits: Float32Array, steps: number): boolean;
}

/** Throws ConfigError if a model cannot draft with these options. */
export function requireDraft(
  config: ModelConfig,
  { loops, tokens }: DraftOptions,
  answer: { readonly [Name in keyof SequenceOptions]: SequenceOptions[Name] | undefined } = {},
): void {
  const most = (answer.loops ?? exitCount(config)) - 1;
  if (config.halting !== 'none') {
    const rule = 'must not be given where halting decides on the loops of each token';
    throw new ConfigError('draft', rule, undefined, `this model's halting is ${config.halting}`);
  }
  if (answer.exit) throw new ConfigError('draft', 'must not be given together with exit');
  if (config.kvSharing !== 'per-application') {
    throw new ConfigError(
      'draft',
      'must not be given where loops share keys and values',
      undefined,
      'a draft leaves states, and no keys',
    );
  }
  if (most < 1) throw new ConfigError('draft', 'must not be given where each token takes a single loop');
  if (!(Number.isInteger(loops) && loops >= 1 && loops <= most)) {
    throw new ConfigError('draft.loops', `must be a whole number from 1 to ${most}`, loops);
  }
  if (!(Number.isInteger(tokens) && tokens >= 1)) {
    throw new ConfigError('draft.tokens', 'must be a whole number of at least 1', tokens);
  }
}

/** One round for sequences with the same options, each with room for the drafted tokens. */
export async function speculate(
  decoder: Decoder,
  parts: readonly Speculating[],
  { loops, tokens: count }: DraftOptions,
): Promise<void> {
  const { runtime, config } = decoder.model;
  const { vocabSize: V } = config;
  const C = stateWidth(config);
  const starts = parts.map(({ sequence }) => sequence.length);
  const tokens = parts.map(({ drawn }) => [drawn]);
  // (parts, count, C): the states from which the check continues.
  using states = runtime.empty([parts.length * count, C]);
  for (let i = 0; i < count; i++) {
    const keep = (state: Tensor) => {
      for (let p = 0; p < parts.length; p++) {
        const row = runtime.backend.slice(states.storage, (p * count + i) * C, C);
        runtime.backend.copy(row, runtime.backend.slice(state.storage, p * C, C));
      }
    };
    const next = parts.map(({ sequence }, p) => ({ sequence, tokens: [tokens[p][i]] }));
    const { logits } = await decoder.pass(next, { ...parts[0].sequence.options, loops, onLastState: keep });
    for (const [p, part] of parts.entries()) tokens[p].push(part.guess(logits.subarray(p * V, p * V + V)));
  }
  for (const [p, { sequence }] of parts.entries()) sequence.cut(starts[p]);
  const drafted = parts.map(({ sequence }, p) => ({ sequence, tokens: tokens[p].slice(0, count) }));
  const from = { steps: loops, state: states };
  const every = { ...parts[0].sequence.options, from };
  const { logits } = await decoder.pass(drafted, every, true);
  const steps = parts[0].sequence.options.loops ?? exitCount(config);
  for (const [p, part] of parts.entries()) {
    let row = 0;
    const check = () => part.check(logits.subarray((p * count + row) * V, (p * count + row + 1) * V), steps);
    while (check() && row < count - 1) row++;
    part.sequence.cut(starts[p] + row + 1);
  }
}

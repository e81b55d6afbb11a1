/** Text generation: one token after another, each from a full forward pass over the sequence so far. */
import { ConfigError } from '../errors.js';
import type { GPT } from '../models/gpt.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { checkSampling, type SamplingOptions, sample } from './sampler.js';

export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to make. */
  readonly tokens: number;
  /** Outer loops for each token; the trained count where absent. */
  readonly loops?: number;
  /** What a halting rule must exceed to stop a token, in place of the rule's own threshold. */
  readonly exitThreshold?: number;
  readonly signal?: AbortSignal;
}

/** Why generation ended. */
export type StopReason = 'tokens' | 'end of text' | 'block size' | 'aborted';

export interface GeneratedToken {
  /** Null for what is left at the end of a character that was never finished. */
  readonly id: number | null;
  /** Steps before the prediction halted; null where all take every step, and with a null id. */
  readonly steps: number | null;
  /** The text that this token completes; empty while a character is unfinished. */
  readonly text: string;
}

/**
 * Continues a prompt, yielding tokens as they are made; returns why it ended. An empty prompt starts a new document.
 * Throws ConfigError for a prompt longer than the block size, and for options out of range.
 */
export async function* generate(
  model: GPT,
  tokenizer: Tokenizer,
  prompt: string,
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, StopReason> {
  checkSampling(options);
  checkCount('tokens', options.tokens);
  if (options.loops !== undefined) checkCount('loops', options.loops);
  const { blockSize, vocabSize } = model.config;
  if (tokenizer.vocabSize > vocabSize) {
    const where = `tokenizer ${tokenizer.name}`;
    throw new ConfigError(
      where,
      `must have at most the model's vocabSize = ${vocabSize} tokens`,
      tokenizer.vocabSize,
    );
  }
  const ids = prompt === '' ? [tokenizer.eot] : Array.from(tokenizer.encode(prompt));
  if (ids.length > blockSize) {
    throw new ConfigError(
      'prompt',
      `must have at most blockSize = ${blockSize} tokens`,
      ids.length,
      'shorten it',
    );
  }
  const decoder = tokenizer.decoder();
  const { loops, exitThreshold } = options;
  const forward = {
    ...(loops === undefined ? {} : { loops }),
    ...(exitThreshold === undefined ? {} : { exitThreshold }),
  };
  let reason: StopReason = 'tokens';
  for (let made = 0; made < options.tokens; made++) {
    if (options.signal?.aborted) reason = 'aborted';
    else if (ids.length > blockSize) reason = 'block size';
    if (reason !== 'tokens') break;
    const { logits, steps } = await model.lastLogits(Int32Array.from(ids), 1, forward);
    const id = sample(logits.subarray(0, tokenizer.vocabSize), ids.length, options);
    if (id === tokenizer.eot) {
      reason = 'end of text';
      break;
    }
    ids.push(id);
    yield { id, steps: steps?.[0] ?? null, text: decoder.push(id) };
  }
  const rest = decoder.end();
  if (rest !== '') yield { id: null, steps: null, text: rest };
  return reason;
}

function checkCount(name: string, value: number): void {
  if (!(Number.isInteger(value) && value >= 1)) {
    throw new ConfigError(name, 'must be a whole number of at least 1', value);
  }
}

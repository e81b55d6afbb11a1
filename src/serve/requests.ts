/** Turns a request of either kind into tasks for the engine, and the format of the answer. */
import { randomInt } from 'node:crypto';
import { hashWords } from '../random.js';
import { wrongField } from './api-error.js';
import type { Fields } from './fields.js';
import type { ModelInfo, Prompt, Task } from './messages.js';
import { given, readOptions } from './options.js';

/** Maximum of choices in one request. */
const MOST_CHOICES = 128;
/** A seed for requests without one. */
const SEEDS = 2 ** 32;

export interface CompletionRequest {
  /** n tasks for each prompt, one after another. */
  readonly tasks: readonly Task[];
  /** Choices for each prompt. */
  readonly n: number;
  readonly stream: boolean;
  /** Whether a stream ends with a chunk of usage. */
  readonly includeUsage: boolean;
}

/** The part that depends on the kind of request. */
export interface Asked {
  readonly prompts: readonly Prompt[];
  readonly maxTokens: number;
  readonly topLogprobs: number | undefined;
  /** Whether the prompt is echoed before the answer. */
  readonly echo?: boolean;
}

/**
 * The request that the shared fields describe. Choice k of a prompt has a seed derived from the request's seed and k;
 * choice 0 has the request's own, so that more choices do not change the first one.
 */
export function readRequest(fields: Fields, asked: Asked, info: ModelInfo): CompletionRequest {
  const { prompts, maxTokens, topLogprobs, echo = false } = asked;
  const n = fields.whole('n', { min: 1, max: MOST_CHOICES }) ?? 1;
  if (prompts.length * n > MOST_CHOICES) {
    throw wrongField('n', `times the number of prompts must be at most ${MOST_CHOICES}`, prompts.length * n);
  }
  const stream = fields.boolean('stream') ?? false;
  const streamOptions = fields.object('stream_options');
  if (streamOptions && !stream) throw wrongField('stream_options', 'must be absent where stream is not true');
  const { seed = randomInt(SEEDS), ...options } = readOptions(fields, maxTokens, info);
  const tasks = prompts.flatMap((prompt) =>
    Array.from({ length: n }, (_, k) => {
      const own = k === 0 ? seed : hashWords(seed, k);
      const told = given({ topLogprobs, echo: echo ? 0 : undefined });
      return { prompt, options: { ...options, seed: own, ...told } };
    }),
  );
  return { tasks, n, stream, includeUsage: streamOptions?.boolean('include_usage') ?? false };
}

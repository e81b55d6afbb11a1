/** `/v1/completions`: its request fields, and the format of its answers. */
import { wrongField } from './api-error.js';
import type { Format } from './answer.js';
import type { Fields } from './fields.js';
import type { BytesLogprob, ModelInfo, Prompt, ServedToken } from './messages.js';
import { readMaxTokens } from './options.js';
import { type CompletionRequest, readRequest } from './requests.js';
import { escaped, textOf } from './token-names.js';

/** OpenAI's default and maximum. */
const MAX_TOKENS = 16;
const MOST_LOGPROBS = 5;

export function readCompletion(fields: Fields, info: ModelInfo): CompletionRequest {
  fields.unsupported('suffix', 'must be absent: the model only continues texts', '');
  const most = fields.whole('best_of', { min: 1, max: Number.MAX_SAFE_INTEGER });
  const n = fields.whole('n', { min: 1, max: Number.MAX_SAFE_INTEGER }) ?? 1;
  if (most !== undefined && most !== n) throw wrongField('best_of', `must be n = ${n} or absent`, most);
  return readRequest(
    fields,
    {
      prompts: readPrompts(fields),
      maxTokens: readMaxTokens(fields, 'max_tokens', info) ?? MAX_TOKENS,
      topLogprobs: readLogprobs(fields),
      echo: fields.boolean('echo') ?? false,
    },
    info,
  );
}

/**
 * How many of the most probable tokens to report; `true` for one, as in chats, and `false` for no log-probabilities.
 */
function readLogprobs(fields: Fields): number | undefined {
  const value = fields.raw('logprobs');
  if (typeof value === 'boolean') return value ? 1 : undefined;
  return fields.whole('logprobs', { min: 0, max: MOST_LOGPROBS });
}

/** A text, token ids, or a list of either; an absent prompt begins a new document. */
function readPrompts(fields: Fields): Prompt[] {
  const value = fields.raw('prompt') ?? '';
  if (typeof value === 'string') return [{ kind: 'text', text: value }];
  const rule = 'must be a text, a list of token ids, or a list of either';
  if (!Array.isArray(value)) throw wrongField('prompt', rule, value);
  if (value.length === 0) throw wrongField('prompt', 'must not be an empty list');
  if (value.every(isId)) return [{ kind: 'ids', ids: Int32Array.from(value) }];
  if (typeof value[0] === 'number') {
    throw wrongField(
      'prompt',
      'must hold token ids only',
      value.find((id) => !isId(id)),
    );
  }
  return value.map((prompt: unknown): Prompt => {
    if (typeof prompt === 'string') return { kind: 'text', text: prompt };
    if (Array.isArray(prompt) && prompt.every(isId)) return { kind: 'ids', ids: Int32Array.from(prompt) };
    throw wrongField('prompt', rule, prompt);
  });
}

/** The engine checks which ids exist. */
function isId(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value === (value | 0);
}

export const completionFormat: Format = {
  idPrefix: 'cmpl',
  object: 'text_completion',
  chunkObject: 'text_completion',
  whole: (text, tokens) => ({ text, logprobs: logprobs(tokens) }),
  part: ({ text, token }) => ({ text, logprobs: token ? logprobs([token]) : null }),
};

/** Parallel lists; null unless requested. */
function logprobs(tokens: readonly ServedToken[]): object | null {
  const asked = tokens.flatMap((token) => token.logprobs ?? []);
  if (asked.length === 0) return null;
  return {
    tokens: asked.map(nameOf),
    token_logprobs: asked.map(({ logprob }) => logprob),
    top_logprobs: asked.map(({ top, bytes, logprob }) =>
      logprob === null ? null : byName([...top, { bytes, logprob }]),
    ),
    text_offset: asked.map(({ offset }) => offset),
    loops: asked.map(({ loops }) => loops),
  };
}

/** Log-probabilities by token; of tokens of the same name, the most probable. */
function byName(candidates: readonly BytesLogprob[]): Record<string, number> {
  const falling = candidates.toSorted((a, b) => a.logprob - b.logprob);
  return Object.fromEntries(falling.map((candidate) => [nameOf(candidate), candidate.logprob]));
}

function nameOf({ bytes }: Pick<BytesLogprob, 'bytes'>): string {
  return textOf(bytes) ?? `bytes:${escaped(bytes)}`;
}

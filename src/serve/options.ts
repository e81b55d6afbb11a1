/** The parameters of a request that both kinds of completion share, and what they mean to the engine. */
import { ConfigError } from '../errors.js';
import { exitCount } from '../models/config.js';
import { EXIT_CRITERIA, type ExitOptions } from '../models/exits/options.js';
import { ApiError, wrongField } from './api-error.js';
import type { Fields, Range } from './fields.js';
import type { GenerationOptions, ModelInfo } from './messages.js';

const ANY: Range = { min: 1, max: Number.MAX_SAFE_INTEGER };
const SEED: Range = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };
const MOST_STOPS = 4;
const PENALTY: Range = { min: -2, max: 2 };
const BIAS: Range = { min: -100, max: 100 };
/** Loops beyond the trained count buy little, and a pass cannot be interrupted: so many times the trained count. */
const MOST_LOOPS = 8;

/** The engine's options but for log-probabilities, which the two kinds ask for in different words; no seed where none is given. */
export function readOptions(
  fields: Fields,
  maxTokens: number,
  info: ModelInfo,
): Omit<GenerationOptions, 'seed'> & { readonly seed?: number } {
  const { config } = info;
  const topP = fields.number('top_p', { min: 0, max: 1 }); // 0 leaves the most probable token
  return {
    maxTokens: Math.min(maxTokens, config.blockSize),
    temperature: topP === 0 ? 0 : (fields.number('temperature', { min: 0, max: 2 }) ?? 1),
    ...given({
      topP: topP === 0 ? undefined : topP,
      topK: fields.whole('top_k', ANY),
      minP: fields.number('min_p', { min: 0, max: 1 }),
      repetitionPenalty: fields.number('repetition_penalty', { min: 0.01, max: 100 }),
      frequencyPenalty: fields.number('frequency_penalty', PENALTY),
      presencePenalty: fields.number('presence_penalty', PENALTY),
      seed: fields.whole('seed', SEED),
      loops: fields.whole('loops', { min: 1, max: MOST_LOOPS * exitCount(config) }),
      logitBias: readLogitBias(fields, info.vocabSize),
      stop: readStop(fields),
    }),
    ...readExit(fields),
  };
}

/** A stop text, or a list of them. */
function readStop(fields: Fields): readonly string[] | undefined {
  const stop = fields.raw('stop');
  if (stop === undefined) return undefined;
  const texts: unknown[] = Array.isArray(stop) ? stop : [stop];
  if (texts.length > MOST_STOPS) {
    throw wrongField('stop', `must be at most ${MOST_STOPS} texts`, texts.length);
  }
  for (const text of texts) {
    if (typeof text !== 'string' || text === '') {
      throw wrongField('stop', 'must be a text or a list of texts, none empty', text);
    }
  }
  return texts as string[];
}

/** Token ids, as keys of a JSON object, to what is added to their logits. */
function readLogitBias(fields: Fields, vocabSize: number): Record<number, number> | undefined {
  const biases = fields.object('logit_bias');
  if (!biases) return undefined;
  const entries = biases.entries().map(([id]) => {
    if (!/^\d{1,6}$/.test(id) || Number(id) >= vocabSize) {
      throw wrongField('logit_bias', `must have token ids below ${vocabSize} for keys`, id);
    }
    return [Number(id), biases.number(id, BIAS) ?? 0] as const;
  });
  return Object.fromEntries(entries);
}

/** How tokens may leave early: `{ criterion, threshold }`, the criterion being the model's own rule where it is absent. */
function readExit(fields: Fields): { readonly exit?: ExitOptions } {
  const exit = fields.object('exit');
  if (!exit) return {};
  const criterion = exit.text('criterion');
  const known = EXIT_CRITERIA.find((name) => name === criterion);
  if (criterion !== undefined && !known) {
    throw wrongField('exit.criterion', `must be ${EXIT_CRITERIA.join(', ')}`, criterion);
  }
  const threshold = exit.number('threshold', { min: 0, max: Number.MAX_VALUE });
  return { exit: given({ criterion: known, threshold }) };
}

/** What the engine's error means to whoever sent the request: what the fields' bounds let through, it names as the API does. */
export function apiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof ConfigError)) return new ApiError(500, 'the server failed; its log says why');
  const [param] = error.message.split(':');
  const tooLong = /blockSize/.test(error.message);
  return new ApiError(400, error.message, { param, ...(tooLong ? { code: 'context_length_exceeded' } : {}) });
}

type Given<Values> = { [Name in keyof Values]?: Exclude<Values[Name], undefined> };

/** The values that are not undefined. */
export function given<Values extends object>(values: Values): Given<Values> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Given<Values>;
}

/** The parameters of a request that both kinds of completion share, and their meaning for the engine. */
import { ConfigError } from '../errors.js';
import { exitCount, type ModelConfig } from '../models/config.js';
import { EXIT_CRITERIA, type ExitOptions } from '../models/exits/options.js';
import { ApiError, wrongField } from './api-error.js';
import type { Fields, Range } from './fields.js';
import type { GenerationOptions, ModelInfo } from './messages.js';
import { CONTEXT_LENGTH } from './prompts.js';

const ANY: Range = { min: 1, max: Number.MAX_SAFE_INTEGER };
const SEED: Range = { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER };
/**
 * Neither number nor length costs as much as a token; OpenAI's own server accepts four, and its clients' lists are
 * longer.
 */
const MOST_STOPS = 64;
const LONGEST_STOP = 256;
/** Some clients' value for a random seed, and for as many tokens as fit. */
const RANDOM_SEED = -1;
const NO_LIMIT = -1;
const PENALTY: Range = { min: -2, max: 2 };
const BIAS: Range = { min: -100, max: 100 };
/** Maximum of loops as a multiple of the trained count: more loops help little, and a pass cannot be interrupted. */
const MOST_LOOPS = 8;

/** Maximum of loops in a request. */
export function mostLoops(config: ModelConfig): number {
  return MOST_LOOPS * exitCount(config);
}

/**
 * The engine's options except log-probabilities, whose fields differ between the two kinds; no seed if none is given.
 */
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
      topK: off(fields.whole('top_k', { ...ANY, min: -1 }), -1, 0),
      minP: fields.number('min_p', { min: 0, max: 1 }),
      repetitionPenalty: readRepetitionPenalty(fields),
      frequencyPenalty: fields.number('frequency_penalty', PENALTY),
      presencePenalty: fields.number('presence_penalty', PENALTY),
      seed: off(fields.whole('seed', SEED), RANDOM_SEED),
      loops: fields.whole('loops', { min: 1, max: mostLoops(config) }) ?? info.loops ?? undefined,
      logitBias: readLogitBias(fields, info.vocabSize),
      stop: readStop(fields),
    }),
    ...readExit(fields),
  };
}

/** A value, or undefined if it is one of the values that mean the same as an absent field. */
function off(value: number | undefined, ...neutral: readonly number[]): number | undefined {
  return value === undefined || neutral.includes(value) ? undefined : value;
}

/** The factor of a repetition penalty; clients send 0 for none. */
function readRepetitionPenalty(fields: Fields): number | undefined {
  if (fields.raw('repetition_penalty') === 0) return undefined;
  return fields.number('repetition_penalty', { min: 0.01, max: 100 });
}

/** Maximum of tokens to generate, in a field of any name; −1 for as many as fit. */
export function readMaxTokens(fields: Fields, field: string, { config }: ModelInfo): number | undefined {
  const most = fields.whole(field, { min: NO_LIMIT, max: Number.MAX_SAFE_INTEGER });
  return most === NO_LIMIT ? config.blockSize : most;
}

/** A stop text, or a list of them; empty ones stop nothing. */
function readStop(fields: Fields): readonly string[] | undefined {
  const stop = fields.raw('stop');
  if (stop === undefined) return undefined;
  const texts: unknown[] = Array.isArray(stop) ? stop : [stop];
  if (texts.length > MOST_STOPS) {
    throw wrongField('stop', `must be at most ${MOST_STOPS} texts`, texts.length);
  }
  for (const text of texts) {
    if (typeof text !== 'string') throw wrongField('stop', 'must be a text or a list of texts', text);
    if (text.length > LONGEST_STOP) {
      throw wrongField('stop', `must be texts of at most ${LONGEST_STOP} characters`, text.length);
    }
  }
  return (texts as string[]).filter((text) => text !== '');
}

/** Token ids, as keys of a JSON object, with the values to add to their logits. */
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

/** How tokens may exit early: `{ criterion, threshold }`; the criterion is the model's own rule by default. */
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

/** The engine's error for the client: errors that the fields' bounds let through are named as in the API. */
export function apiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof ConfigError)) return new ApiError(500, 'the server failed; its log says why');
  const [param] = error.message.split(':');
  const tooLong = error.message.startsWith(`${param}: ${CONTEXT_LENGTH}`);
  if (!tooLong) return new ApiError(400, error.message, { param });
  const message = error.message.slice(`${param}: `.length);
  return new ApiError(400, message, { param, code: 'context_length_exceeded' });
}

/** An error as the response to a request. */
export function errorResponse(error: unknown): Response {
  const { status, body, details } = apiError(error);
  return Response.json(body, { status, headers: { ...details.headers } });
}

type Given<Values> = { [Name in keyof Values]?: Exclude<Values[Name], undefined> };

/** The values that are not undefined. */
export function given<Values extends object>(values: Values): Given<Values> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Given<Values>;
}

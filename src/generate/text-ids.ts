/**
 * The ids with which a model's texts begin and end, if they differ from its tokenizer's end of text: the fields
 * `bos_token_id` and `eos_token_id` of transformers' `generation_config.json`. Reads no file.
 */
import { ConfigError, DataError } from '../errors.js';

export interface TextIds {
  /** The id that begins a text; null for the tokenizer's end-of-text id. */
  readonly bos: number | null;
  /** The ids that end an answer, besides the tokenizer's end-of-text id. */
  readonly eos: readonly number[];
}

/** For a model with only its tokenizer's end of text. */
export const NO_TEXT_IDS: TextIds = { bos: null, eos: [] };

/**
 * Reads both fields, each of which may be absent or null. Throws DataError for ids that a model's vocabulary does not
 * have.
 */
export function parseTextIds(
  { bos_token_id: bos, eos_token_id: eos }: Readonly<Record<string, unknown>>,
  where: string,
  vocabSize: number,
): TextIds {
  const require = (ids: readonly unknown[], field: string, got: unknown, or: string) => {
    const known = (id: unknown) => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize;
    if (ids.every(known)) return;
    const rule = `must be a token id below the model's vocabulary size of ${vocabSize}${or}`;
    throw new DataError(`${where}: ${field}`, rule, JSON.stringify(got), 'correct or remove it');
  };
  const list: readonly unknown[] = Array.isArray(eos) ? eos : given(eos);
  require(list, 'eos_token_id', eos, ', or a list of them');
  require(given(bos), 'bos_token_id', bos, '');
  return { bos: (bos ?? null) as number | null, eos: [...new Set(list as number[])] };
}

function given(value: unknown): unknown[] {
  return value === undefined || value === null ? [] : [value];
}

/** A prompt's ids; an empty prompt begins a new text. Throws ConfigError for an empty prompt if no id begins a text. */
export function startedWith(bos: number | null, ids: ArrayLike<number>): ArrayLike<number> {
  if (ids.length > 0) return ids;
  if (bos !== null) return [bos];
  throw new ConfigError('prompt', 'must not be empty', undefined, 'no token of this model begins a text');
}

/** The two fields as in files: one id as a number, several as a list; null for none. */
export type TextIdFields = Readonly<{
  bos_token_id: number | null;
  eos_token_id: number | readonly number[] | null;
}>;

export function textIdFields({ bos, eos }: TextIds): TextIdFields {
  return { bos_token_id: bos, eos_token_id: eos.length > 1 ? eos : (eos[0] ?? null) };
}

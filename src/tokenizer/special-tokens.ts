/**
 * What the files beside a `tokenizer.json` say of its special tokens: `tokenizer_config.json` and, from older versions of
 * transformers, `special_tokens_map.json`. Knows their fields; reads no file.
 */
import { DataError } from '../errors.js';
import { addedTokens, isRecord, vocabularyIds } from './huggingface-json.js';
import type { Tokenizer, TokenizerJSON } from './tokenizer.js';

export const TOKENIZER_CONFIG_FILE = 'tokenizer_config.json';
export const SPECIAL_TOKENS_FILE = 'special_tokens_map.json';

/** Special tokens by the names that templates know them by: bos_token, eos_token, pad_token … */
export type TokenNames = Readonly<Record<string, string>>;

/** The special tokens that have a name, and those that have none. */
export interface NamedTokens {
  readonly names: TokenNames;
  readonly others: readonly string[];
}

/**
 * Reads the content of both files, of which `undefined` stands for one that is missing. A token is a text, or an object with
 * its `content`. Throws DataError for a file that holds no object, and for a bos_token or eos_token that is none of these.
 *
 * @param where the folder, for messages
 */
export function namedTokens(config: unknown, map: unknown, where: string): NamedTokens {
  const first = fields(config, `${where}/${TOKENIZER_CONFIG_FILE}`);
  // As transformers does: a configuration that lists its added tokens is newer than the map beside it.
  const legacy =
    first.added_tokens_decoder === undefined ? fields(map, `${where}/${SPECIAL_TOKENS_FILE}`) : {};
  const all = { ...first, ...legacy };
  const extra = all.extra_special_tokens ?? all.additional_special_tokens;
  const named = Object.entries({ ...all, ...(isRecord(extra) ? extra : {}) });
  const names: [string, string][] = [];
  for (const [name, value] of named) {
    const content = /^\w+_token$/.test(name) ? contentOf(value) : undefined;
    if (content !== undefined) names.push([name, content]);
    else if (value !== null && (name === 'bos_token' || name === 'eos_token')) {
      const file = name in legacy ? SPECIAL_TOKENS_FILE : TOKENIZER_CONFIG_FILE;
      throw new DataError(
        `${where}/${file}: ${name}`,
        'must be a text or an added token',
        JSON.stringify(value),
      );
    }
  }
  const others = Array.isArray(extra) ? extra.flatMap((value: unknown) => contentOf(value) ?? []) : [];
  return { names: Object.fromEntries(names), others };
}

/** The names where no file gives any: the token that parts documents, if any, is the beginning and the end of each. */
export function endOfTextNames({ eotToken }: Pick<Tokenizer, 'eotToken'>): TokenNames {
  return eotToken === null ? {} : { bos_token: eotToken, eos_token: eotToken };
}

/** The names of those tokens that a `tokenizer.json` has. Throws DataError where it is damaged. */
export function knownNames(names: TokenNames, json: TokenizerJSON, where: string): TokenNames {
  const ids = vocabularyIds(json, where);
  return Object.fromEntries(Object.entries(names).filter(([, content]) => ids.has(content)));
}

/**
 * The content of a `tokenizer.json` in which tokens that other files name as special are special, as transformers makes them
 * when it loads them: those of these contents, and added ones of these ids. Throws DataError where it is damaged.
 */
export function withSpecialTokens(
  json: TokenizerJSON,
  contents: ReadonlySet<string>,
  ids: ReadonlySet<number>,
  where: string,
): TokenizerJSON {
  const added = addedTokens(json, where);
  const vocabulary = vocabularyIds(json, where);
  const isSpecial = (id: number, content: string) => contents.has(content) || ids.has(id);
  const listed = new Set(added.map(({ content }) => content));
  const missing = [...contents].filter((content) => !listed.has(content) && vocabulary.has(content));
  if (missing.length === 0 && added.every(({ special, id, content }) => special || !isSpecial(id, content))) {
    return json;
  }
  const entries = ((json.added_tokens ?? []) as Record<string, unknown>[]).map((entry, i) =>
    isSpecial(added[i].id, added[i].content) ? { ...entry, special: true } : entry,
  );
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const more = missing.map((content) => ({ id: vocabulary.get(content)!, content, ...plain }));
  return { ...json, added_tokens: [...entries, ...more] };
}

function contentOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return isRecord(value) && typeof value.content === 'string' ? value.content : undefined;
}

function fields(json: unknown, where: string): Record<string, unknown> {
  if (json === undefined) return {};
  if (isRecord(json)) return json;
  throw new DataError(where, 'must be a JSON object', json === null ? 'null' : typeof json);
}

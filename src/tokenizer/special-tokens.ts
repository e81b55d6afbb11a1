/**
 * The special and added tokens in the files beside a `tokenizer.json`: `tokenizer_config.json` and, from older versions
 * of transformers, `special_tokens_map.json` and `added_tokens.json`.
 */
import { DataError } from '../errors.js';
import { addedIds, addedTokens, isRecord, ownTokens, vocabularyIds } from './huggingface-json.js';
import type { Tokenizer, TokenizerJSON } from './tokenizer.js';

export const TOKENIZER_CONFIG_FILE = 'tokenizer_config.json';
export const SPECIAL_TOKENS_FILE = 'special_tokens_map.json';
export const ADDED_TOKENS_FILE = 'added_tokens.json';

/** Special tokens by the names that templates use: bos_token, eos_token, pad_token … */
export type TokenNames = Readonly<Record<string, string>>;

/** The special tokens with a name, and those without. */
export interface NamedTokens {
  readonly names: TokenNames;
  readonly others: readonly string[];
}

/**
 * Reads the content of `tokenizer_config.json` and `special_tokens_map.json`; `undefined` stands for a missing file. A
 * token is a text, or an object with its `content`. Throws DataError for a file that holds no object, and for a
 * bos_token or eos_token that is neither.
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

/** The names if no file gives any: the token that separates documents, if any, both begins and ends each document. */
export function endOfTextNames({ eotToken }: Pick<Tokenizer, 'eotToken'>): TokenNames {
  return eotToken === null ? {} : { bos_token: eotToken, eos_token: eotToken };
}

/** The names whose tokens a `tokenizer.json` has. Throws DataError if the content is damaged. */
export function knownNames(names: TokenNames, json: TokenizerJSON, where: string): TokenNames {
  const ids = vocabularyIds(json, where);
  return Object.fromEntries(Object.entries(names).filter(([, content]) => ids.has(content)));
}

/** The flags of an added token by default. */
const PLAIN = { single_word: false, lstrip: false, rstrip: false };

/**
 * The content of a `tokenizer.json` with the tokens that files beside it add, as transformers adds them on loading:
 * those of `added_tokens_decoder`, whose flags also replace those of tokens that are there already; or, if the
 * configuration has no such list, those of `added_tokens.json`.
 *
 * @param older the content of added_tokens.json, `undefined` for none
 * @param contents the tokens that a file names as special
 * @param where the folder, for messages
 * @throws DataError if a file is damaged, or gives a token another id than Python's tokenizers does
 */
export function withAddedTokens(
  json: TokenizerJSON,
  config: unknown,
  older: unknown,
  contents: ReadonlySet<string>,
  where: string,
): TokenizerJSON {
  const newer = isRecord(config) ? config.added_tokens_decoder : undefined;
  const list = newer ?? older ?? {};
  const file =
    newer === undefined
      ? `${where}/${ADDED_TOKENS_FILE}`
      : `${where}/${TOKENIZER_CONFIG_FILE}: added_tokens_decoder`;
  if (!isRecord(list)) throw new DataError(file, 'must be an object', JSON.stringify(list));
  // The newer list has tokens by id and with their flags, the older file by content.
  const beside = Object.entries(list)
    .map(([key, value]) => {
      if (newer === undefined) {
        const special = contents.has(key);
        return { id: value, content: key, special, normalized: !special };
      }
      return { ...(isRecord(value) ? value : { content: value }), id: Number(key) };
    })
    .sort((a, b) => Number(a.id) - Number(b.id));
  if (beside.length === 0) return json;
  for (const { content } of beside) {
    if (typeof content !== 'string') throw new DataError(file, 'must have a content for each', content);
  }

  const added = addedTokens(json, where);
  const own = added.map(({ content }) => content);
  const changed = new Map(newer === undefined ? [] : beside.map((entry) => [entry.content, entry]));
  const entries = ((json.added_tokens ?? []) as Record<string, unknown>[]).map((entry, i) => {
    const other: Record<string, unknown> | undefined = changed.get(own[i]);
    if (!other) return entry;
    const defaults = { ...PLAIN, normalized: other.special !== true };
    // A token that is special in one file stays special.
    return {
      ...entry,
      ...defaults,
      ...other,
      id: entry.id,
      ...(entry.special === true ? { special: true } : {}),
    };
  });
  const more = beside.filter(({ content }) => !own.includes(content as string));
  const { ids: vocabulary, size } = ownTokens(json, where);
  const free = added.reduce((next, { id }) => Math.max(next, id + 1), size);
  const ids = addedIds(
    more.map(({ content }) => content as string),
    vocabulary,
    free,
  );
  for (const [i, { id, content }] of more.entries()) {
    if (id === ids[i]) continue;
    const rule = `must give '${content}' the id ${ids[i]}, as Python's tokenizers numbers it`;
    throw new DataError(file, rule, id);
  }
  return { ...json, added_tokens: [...entries, ...more] };
}

/**
 * The content of a `tokenizer.json` in which the tokens that other files name as special are special, as transformers
 * makes them on loading: tokens with these contents, and added tokens with these ids. Throws DataError if the content
 * is damaged.
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
  const plain = { ...PLAIN, normalized: false, special: true };
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

/**
 * Reads and writes byte-level BPE as Hugging Face's `tokenizer.json`. Files with any setting beyond plain byte-level
 * BPE are left to `huggingface.ts`.
 */
import { DataError } from '../errors.js';
import { ByteLevelTokenizer } from './bpe.js';
import { alphabetToBytes, bytesToAlphabet } from './byte-alphabet.js';
import { MergeTable } from './merges.js';
import {
  checkVocabSize,
  END_OF_TEXT,
  MAX_VOCAB_SIZE,
  type SpecialToken,
  type TokenizerJSON,
} from './tokenizer.js';

/**
 * Names of the end-of-text token in published tokenizers, the likeliest first; used if no file names the token. In
 * nanochat's data the token that begins a document, `<|bos|>`, separates documents.
 */
export const EOT_NAMES = [
  END_OF_TEXT,
  '<|end_of_text|>',
  '</s>',
  '<eos>',
  '<|im_end|>',
  '<EOS>',
  '[EOS]',
  '[SEP]',
  '<|bos|>',
] as const;

/** The models that a tokenizer.json may have. */
export const MODEL_TYPES = ['BPE', 'WordPiece', 'WordLevel', 'Unigram'] as const;
export type ModelType = (typeof MODEL_TYPES)[number];

/**
 * The type of a model: its field `type`, or, in the oldest files, which lack it, the type that the other fields show.
 * Python's tokenizers uses the same fields. Undefined for any other model.
 */
export function modelType(model: Record<string, unknown>): ModelType | undefined {
  const has = (...fields: string[]) => fields.every((field) => Object.hasOwn(model, field));
  if (has('type')) return MODEL_TYPES.find((type) => type === model.type);
  if (Array.isArray(model.vocab)) return 'Unigram';
  if (!has('vocab')) return undefined;
  if (has('merges')) return 'BPE';
  if (!has('unk_token')) return undefined;
  return has('continuing_subword_prefix', 'max_input_chars_per_word') ? 'WordPiece' : 'WordLevel';
}

/** One entry of `added_tokens`. */
export interface AddedToken extends SpecialToken {
  readonly special: boolean;
}

/** What other files say of a tokenizer's end of text. */
export interface EndOfTextHints {
  /** The spelling of the token: `eos_token` of tokenizer_config.json. */
  readonly token?: string | undefined;
  /** `eos_token_id` of config.json or generation_config.json: ids, one of which is the token. */
  readonly ids?: readonly number[] | undefined;
}

/** Writes the content of `tokenizer.json`: model BPE, ByteLevel, and the end-of-text token added. */
export function byteLevelToJSON(tokenizer: ByteLevelTokenizer): TokenizerJSON {
  const { tokens, merges, eot } = tokenizer.vocabulary;
  const spellings = tokens.map((bytes) => (bytes === undefined ? undefined : bytesToAlphabet(bytes)));
  const vocab: Record<string, number> = {};
  spellings.forEach((spelling, id) => {
    if (spelling !== undefined && id !== eot) vocab[spelling] = id;
  });
  const pairs: [string, string][] = [];
  for (let i = 0; i < merges.pairs.length; i += 2) {
    pairs.push([spellings[merges.pairs[i]]!, spellings[merges.pairs[i + 1]]!]);
  }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: eot,
        content: new TextDecoder().decode(tokens[eot]),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: pairs,
    },
  };
}

/**
 * Reads a byte-level BPE `tokenizer.json` with GPT-2's settings; undefined if it has others.
 * Throws DataError if the file is damaged, has no end-of-text token or too large a vocabulary.
 *
 * @param where the file's name, for messages
 */
export function byteLevelFromJSON(
  json: TokenizerJSON,
  where: string,
  hints: EndOfTextHints = {},
): ByteLevelTokenizer | undefined {
  const model = json.model;
  if (!isRecord(model) || !isPlainByteLevel(json, model)) return undefined;
  const added = addedTokens(json, where);
  if (added.some((token) => !token.special)) return undefined;

  const ids = vocabularyOf(model, where);
  checkAddedIds(added, { ids, size: ids.size }, where);
  const end = endOfText(ids, added, where, hints);
  const tokens: (Uint8Array | undefined)[] = [];
  for (const [spelling, id] of ids) {
    const bytes = alphabetToBytes(spelling);
    if (bytes !== undefined) tokens[id] = bytes;
  }
  for (const { id, content } of added) tokens[id] = new TextEncoder().encode(content);
  // Array.from turns holes into undefined, which reads faster than a sparse array.
  const dense = Array.from(tokens);

  const idOfByte = new Uint16Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const id = ids.get(bytesToAlphabet(Uint8Array.of(byte)));
    if (id === undefined) return undefined;
    idOfByte[byte] = id;
  }
  return new ByteLevelTokenizer({
    name: `bpe-${dense.length}`,
    tokens: dense,
    idOfByte,
    merges: mergesOf(model.merges, ids, where, { unmade: controlIds(added, end.eot) }),
    ...end,
    specials: added,
    toJSON: () => json,
  });
}

/**
 * Writes the content of `tokenizer.json` for GPT-2's older pair of files: `vocab.json`, and `merges.txt` with a pair of
 * tokens a line, the first line being its version. Throws DataError if a line is not a pair.
 */
export function tokenizerJSONFromVocab(vocab: unknown, merges: string, where: string): TokenizerJSON {
  const lines = merges
    .split(/\r?\n/)
    .filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const json = { model: { type: 'BPE', vocab, merges: lines.map((line) => line.split(' ')) } };
  const ids = vocabularyOf(json.model, where);
  const own = EOT_NAMES.filter((name) => ids.has(name)).slice(0, 1);
  return {
    version: '1.0',
    added_tokens: own.map((content) => ({ id: ids.get(content)!, content, special: true })),
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    ...json,
  };
}

/**
 * The end-of-text token: the token that other files name; else, of the ids that they give, an added token, preferably
 * with a usual name; else an added or plain token with a usual name. Throws DataError if there is none.
 */
export function endOfText(
  ids: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  where: string,
  { token, ids: given = [] }: EndOfTextHints = {},
): { readonly eot: number; readonly eotToken: string } {
  const all = new Map([...ids, ...added.map(({ content, id }) => [content, id] as const)]);
  const listed = new Set(added.map(({ content }) => content));
  // Added tokens first: they are there on purpose, while training on text can produce a plain token of any name.
  const usual = [
    ...EOT_NAMES.filter((name) => listed.has(name)),
    ...EOT_NAMES.filter((name) => ids.has(name)),
  ];
  const marks = given.flatMap((id) => added.filter((one) => one.id === id)).map(({ content }) => content);
  const spelled = (id: number) => [...all].find(([, other]) => other === id)?.[0];
  const eotToken =
    (token !== undefined && all.has(token) ? token : undefined) ??
    usual.find((name) => marks.includes(name)) ??
    marks[0] ??
    usual[0] ??
    given.map(spelled).find((name) => name !== undefined);
  if (eotToken !== undefined) return { eot: all.get(eotToken)!, eotToken };
  if (token !== undefined) {
    throw new DataError(
      where,
      `must have the token ${token}, which its tokenizer_config.json names as eos_token`,
    );
  }
  throw new DataError(
    where,
    `must have a token that ends a text, and has none that is called ${EOT_NAMES.join(' ')}`,
    undefined,
    'name it by --eot, or in a file tokenizer_config.json beside it, as {"eos_token": "…"}',
  );
}

/** The ids that no text may encode to: special tokens and the end of text. */
export function controlIds(added: readonly AddedToken[], eot: number): ReadonlySet<number> {
  return new Set([eot, ...added.filter(({ special }) => special).map(({ id }) => id)]);
}

/** Reads `added_tokens`; throws DataError if an entry is damaged. */
export function addedTokens(json: TokenizerJSON, where: string): AddedToken[] {
  const list = json.added_tokens ?? [];
  if (!Array.isArray(list)) throw new DataError(`${where}: added_tokens`, 'must be a list', typeof list);
  return list.map((entry: unknown, i) => {
    if (!isRecord(entry) || !isId(entry.id) || typeof entry.content !== 'string') {
      throw new DataError(
        `${where}: added_tokens[${i}]`,
        'must have an id and a content',
        JSON.stringify(entry),
      );
    }
    checkVocabSize(where, entry.id + 1);
    const { id, content } = entry;
    const [special, lstrip, rstrip] = [entry.special, entry.lstrip, entry.rstrip].map(
      (flag) => flag === true,
    );
    return { id, content, special, lstrip, rstrip };
  });
}

/** A model's own tokens. Throws DataError if the vocabulary is damaged. */
export function ownTokens(json: TokenizerJSON, where: string): OwnTokens {
  const vocab = isRecord(json.model) ? json.model.vocab : undefined;
  if (!Array.isArray(vocab)) {
    const ids = vocabularyOf({ vocab }, where);
    return { ids, size: ids.size };
  }
  const contents = vocab.map((entry: unknown) => String(Array.isArray(entry) ? entry[0] : entry));
  return { ids: new Map(contents.map((content, id) => [content, id])), size: vocab.length };
}

/** The ids of all tokens, including added ones, by their spelling. Throws DataError if the vocabulary is damaged. */
export function vocabularyIds(json: TokenizerJSON, where: string): Map<string, number> {
  const added = addedTokens(json, where).map(({ content, id }) => [content, id] as const);
  return new Map([...ownTokens(json, where).ids, ...added]);
}

/** A model's own tokens. */
export interface OwnTokens {
  readonly ids: ReadonlyMap<string, number>;
  /** Number of entries in the vocabulary. */
  readonly size: number;
}

/**
 * The ids that Python's tokenizers gives to tokens that are added together, in order: a token's id in the vocabulary,
 * else the next free id. Undefined for an empty token, which is not added.
 *
 * @param free the first free id: the number of entries in the vocabulary, whose ids may leave gaps, or the id after
 *   those of the tokens added before
 */
export function addedIds(
  contents: readonly string[],
  ids: ReadonlyMap<string, number>,
  free: number,
): (number | undefined)[] {
  const given = new Map<string, number>();
  let next = free;
  return contents.map((content) => {
    if (content === '') return undefined;
    const id = given.get(content) ?? ids.get(content) ?? next++;
    given.set(content, id);
    return id;
  });
}

/** Throws DataError if an added token's id is not the one that Python's tokenizers gives it, ignoring the file's id. */
export function checkAddedIds(added: readonly AddedToken[], { ids, size }: OwnTokens, where: string): void {
  const right = addedIds(
    added.map(({ content }) => content),
    ids,
    size,
  );
  added.forEach(({ id, content }, i) => {
    if (right[i] === undefined || id === right[i]) return;
    const rule = `must be ${right[i]}, as Python's tokenizers numbers '${content}'`;
    throw new DataError(`${where}: added_tokens[${i}].id`, rule, id);
  });
}

/** Whether an unknown value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

/** Whether every setting is the one that `ByteLevelTokenizer` implements. */
function isPlainByteLevel(json: TokenizerJSON, model: Record<string, unknown>): boolean {
  const pre = json.pre_tokenizer;
  const absent = (value: unknown): boolean =>
    value === undefined || value === null || value === false || value === '' || value === 0;
  return (
    modelType(model) === 'BPE' &&
    absent(model.dropout) &&
    absent(model.continuing_subword_prefix) &&
    absent(model.end_of_word_suffix) &&
    absent(model.byte_fallback) &&
    absent(model.ignore_merges) &&
    absent(json.normalizer) &&
    isRecord(pre) &&
    pre.type === 'ByteLevel' &&
    pre.add_prefix_space === false &&
    pre.use_regex !== false &&
    isRecord(json.decoder) &&
    json.decoder.type === 'ByteLevel'
  );
}

function vocabularyOf(model: Record<string, unknown>, where: string): Map<string, number> {
  if (!isRecord(model.vocab))
    throw new DataError(`${where}: model.vocab`, 'must be an object', typeof model.vocab);
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(model.vocab)) {
    if (!isId(id))
      throw new DataError(`${where}: model.vocab`, `the id of '${token}' must be a whole number`, id);
    checkVocabSize(where, id + 1);
    ids.set(token, id);
  }
  return ids;
}

/**
 * Reads `merges`; throws DataError if one is damaged. If a pair comes twice, the last counts, as in Python's
 * tokenizers.
 *
 * @param prefix what the right token of a pair loses when the two become one: `continuing_subword_prefix`
 * @param unmade ids that no merge may make
 */
export function mergesOf(
  merges: unknown,
  ids: ReadonlyMap<string, number>,
  where: string,
  { prefix = '', unmade }: { readonly prefix?: string; readonly unmade: ReadonlySet<number> },
): MergeTable {
  if (!Array.isArray(merges)) throw new DataError(`${where}: model.merges`, 'must be a list', typeof merges);
  const found = new Map<number, number>();
  merges.forEach((merge: unknown, i) => {
    if (typeof merge === 'string' && merge.startsWith('#version')) return;
    // Older files write a merge as 'a b', newer ones as ['a', 'b'].
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right] = Array.isArray(parts) && parts.length === 2 ? (parts as unknown[]) : [];
    if (typeof left !== 'string' || typeof right !== 'string') {
      throw new DataError(`${where}: model.merges[${i}]`, 'must be a pair of tokens', JSON.stringify(merge));
    }
    const idOf = (token: string): number => {
      const id = ids.get(token);
      if (id === undefined) {
        throw new DataError(
          `${where}: model.merges[${i}]`,
          'its tokens and their union must be in the vocabulary',
          token,
        );
      }
      return id;
    };
    const pair = idOf(left) * MAX_VOCAB_SIZE + idOf(right);
    // A pair that moves to the end of the map has the later rank.
    found.delete(pair);
    const union = idOf(left + right.slice(prefix.length));
    if (!unmade.has(union)) found.set(pair, union);
  });
  const table = new MergeTable();
  for (const [pair, result] of found) {
    table.add(Math.floor(pair / MAX_VOCAB_SIZE), pair % MAX_VOCAB_SIZE, result);
  }
  return table;
}

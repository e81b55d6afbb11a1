/**
 * The contract of a tokenizer: text to ids and back. This file must not import vocabularies, files or models.
 *
 * Token ids always fit 16 bits, because prepared data stores them so: a tokenizer with more than `MAX_VOCAB_SIZE` ids
 * is rejected.
 */
import { DataError } from '../errors.js';

/** The largest vocabulary a token shard (unsigned 16-bit ids) can hold. */
export const MAX_VOCAB_SIZE = 65_536;

/** The text that shows the end-of-text id. */
export const END_OF_TEXT = '<|endoftext|>';

/** The content of a `tokenizer.json` file; `load.ts` describes the forms it takes. */
export type TokenizerJSON = Record<string, unknown>;

/** A token that text cannot spell: the end of a text, or a mark such as `<|im_start|>`. */
export interface SpecialToken {
  readonly id: number;
  /** Its spelling in chat templates and in decoded text. */
  readonly content: string;
  /** Whether it includes the white space before it, and after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** The special token of a vocabulary that has no other. */
export function endOfTextToken(id: number): SpecialToken {
  return { id, content: END_OF_TEXT, lstrip: false, rstrip: false };
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** A short name for reports and `meta.json`: bytes, gpt2, bpe-4096 … */
  readonly name: string;
  /** Number of ids: the largest id + 1, including the end-of-text id. */
  readonly vocabSize: number;
  /**
   * The end-of-text id, which separates the documents of prepared data. If it is special, `encode` never gives it, even
   * if the text spells it out. An answer may be ended by other ids too: see `generate/text-ids.ts`. Null if the
   * vocabulary has none.
   */
  readonly eot: number | null;
  /** How `tokenizer.json` spells the end-of-text token; null if there is none. */
  readonly eotToken: string | null;
  /** The special tokens, which `encode` never gives. */
  readonly specials: readonly SpecialToken[];
  /** Whether two pieces of a text cut by `cutBeforeSpace` encode to the ids of the whole text. */
  readonly cuttable: boolean;
  /** Cuts texts if `cuttable` is false; undefined if that is not needed, or not possible. */
  readonly cutter?: TextCutter | undefined;
  /**
   * Encodes the text as ordinary text: special tokens that it spells out are not recognised.
   *
   * @param inside whether other text comes before: some tokenizers mark the beginning of a whole text
   */
  encode(text: string, inside?: boolean): Uint16Array;
  /** Decodes ids to text; bytes that are not UTF-8 become U+FFFD. Throws DataError for an id not in the vocabulary. */
  decode(ids: ArrayLike<number>): string;
  /**
   * The bytes in UTF-8 of an id after the id `before`, or without it at the beginning of a text. They may be a part of
   * a character. Throws DataError for an unknown id.
   */
  bytesOf(id: number, before?: number): Uint8Array;
  /** Starts decoding one id at a time, after the ids of `context`, whose text is not returned again. */
  decoder(context?: ArrayLike<number>): TokenDecoder;
  /** The content of `tokenizer.json`, from which `tokenizerFromJSON` makes an equal tokenizer. */
  toJSON(): TokenizerJSON;
}

/** Cuts long texts, so that the parts encode to the ids of the whole. */
export interface TextCutter {
  /** A place near the end of a long text where the text may be cut; 0 if none is found. */
  cut(text: string): number;
  /** Encodes the part after a cut: `before` is the end of the text before the cut, of `contextUnits` UTF-16 units. */
  encodeAfter(before: string, text: string): Uint16Array;
  readonly contextUnits: number;
}

/** Decodes a stream of ids; what it returns never ends inside a character. */
export interface TokenDecoder {
  /** Adds the next id and returns the text that is now complete, often '' inside a multi-byte character. */
  push(id: number): string;
  /** Returns the rest at the end; an unfinished character becomes U+FFFD. */
  end(): string;
}

/** A tokenizer with a token that separates documents. */
export interface PartingTokenizer extends Tokenizer {
  readonly eot: number;
  readonly eotToken: string;
}

/** Whether a tokenizer has a token that separates documents. */
export function partsDocuments(tokenizer: Tokenizer): tokenizer is PartingTokenizer {
  return tokenizer.eot !== null && tokenizer.eotToken !== null;
}

/**
 * The special tokens whose ids lie beyond a model of `vocabSize` ids, such as one added for padding alone: the model
 * neither reads nor makes them. Undefined if other tokens lie beyond it; then the tokenizer is not the model's.
 */
export function tokensBeyond(tokenizer: Tokenizer, vocabSize: number): readonly SpecialToken[] | undefined {
  const beyond = tokenizer.specials.filter(({ id }) => id >= vocabSize);
  const all = Math.max(0, tokenizer.vocabSize - vocabSize);
  const known = new Set(beyond.map(({ id }) => id));
  return known.size === all && !known.has(tokenizer.eot ?? -1) ? beyond : undefined;
}

/** A decoder over tokens that are byte strings; `bytesOf` throws for an unknown id. */
export class ByteTokenDecoder implements TokenDecoder {
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  readonly #bytesOf: (id: number) => Uint8Array;

  constructor(bytesOf: (id: number) => Uint8Array) {
    this.#bytesOf = bytesOf;
  }

  push(id: number): string {
    return this.#utf8.decode(this.#bytesOf(id), { stream: true });
  }

  end(): string {
    return this.#utf8.decode();
  }
}

/** Joins the tokens' bytes and decodes them as UTF-8. */
export function decodeByteTokens(bytesOf: (id: number) => Uint8Array, ids: ArrayLike<number>): string {
  let length = 0;
  for (let i = 0; i < ids.length; i++) length += bytesOf(ids[i]).length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < ids.length; i++) {
    const token = bytesOf(ids[i]);
    bytes.set(token, at);
    at += token.length;
  }
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}

/** The text of an id after the id `before`, or without it at the beginning; a part of a character is U+FFFD. */
export function textOf(tokenizer: Tokenizer, id: number, before?: number): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(tokenizer.bytesOf(id, before));
}

/** The error for an id that the vocabulary does not have. */
export function unknownId(tokenizer: string, id: number, vocabSize: number): DataError {
  return new DataError(
    `tokenizer ${tokenizer}`,
    `a token id must be a whole number from 0 to ${vocabSize - 1} with a token of its own`,
    id,
    'the model or shard was made with another tokenizer',
  );
}

/** Checks that ids below `vocabSize` fit a token shard; throws DataError. */
export function checkVocabSize(where: string, vocabSize: number): void {
  if (vocabSize > MAX_VOCAB_SIZE) {
    throw new DataError(
      where,
      `the vocabulary must have at most ${MAX_VOCAB_SIZE} ids, as token shards store 16 bits`,
      vocabSize,
      'choose a tokenizer with a smaller vocabulary',
    );
  }
}

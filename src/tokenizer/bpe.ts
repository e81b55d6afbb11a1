/**
 * Byte-level byte-pair encoding: GPT-2's scheme over any vocabulary. Where the vocabulary comes from is not this file's
 * concern (`bpe-train.ts`, `gpt2.ts`, `huggingface-json.ts`).
 */
import type { MergeTable } from './merges.js';
import { preTokenize } from './pretokenize.js';
import {
  ByteTokenDecoder,
  checkVocabSize,
  decodeByteTokens,
  END_OF_TEXT,
  endOfTextToken,
  type SpecialToken,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerJSON,
  unknownId,
} from './tokenizer.js';
import { WordCache } from './word-cache.js';

/** Most bytes in UTF-8 of one UTF-16 unit. */
const UNIT_BYTES = 3;

/** The parts of a byte-level tokenizer. */
export interface ByteLevelVocabulary {
  readonly name: string;
  /** The bytes of each id; a hole is an id without bytes. */
  readonly tokens: readonly (Uint8Array | undefined)[];
  /** The id of each byte. */
  readonly idOfByte: ArrayLike<number>;
  readonly merges: MergeTable;
  readonly eot: number;
  /** How `tokenizer.json` spells the end-of-text token; END_OF_TEXT by default. */
  readonly eotToken?: string;
  /** The special tokens; the end-of-text token alone by default. */
  readonly specials?: readonly SpecialToken[];
  /** Writes `tokenizer.json`. */
  readonly toJSON: (tokenizer: ByteLevelTokenizer) => TokenizerJSON;
}

/** A byte-level BPE tokenizer with GPT-2's pre-tokenisation. */
export class ByteLevelTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly eot: number;
  readonly eotToken: string;
  readonly specials: readonly SpecialToken[];
  readonly cuttable = true;
  readonly vocabulary: ByteLevelVocabulary;
  readonly #cache = new WordCache();

  /** Throws DataError if the vocabulary does not fit 16-bit ids. */
  constructor(vocabulary: ByteLevelVocabulary) {
    checkVocabSize(`tokenizer ${vocabulary.name}`, vocabulary.tokens.length);
    this.vocabulary = vocabulary;
    this.name = vocabulary.name;
    this.vocabSize = vocabulary.tokens.length;
    this.eot = vocabulary.eot;
    this.eotToken = vocabulary.eotToken ?? END_OF_TEXT;
    this.specials = vocabulary.specials ?? [endOfTextToken(vocabulary.eot)];
  }

  encode(text: string): Uint16Array {
    let ids = new Uint16Array(Math.max(16, text.length >> 1));
    let length = 0;
    preTokenize(text, (start, end) => {
      const most = length + UNIT_BYTES * (end - start);
      if (most > ids.length) {
        const larger = new Uint16Array(2 * most);
        larger.set(ids);
        ids = larger;
      }
      length = this.#encodeWord(text, start, end, ids, length);
    });
    return ids.slice(0, length);
  }

  decode(ids: ArrayLike<number>): string {
    return decodeByteTokens((id) => this.bytesOf(id), ids);
  }

  decoder(): TokenDecoder {
    return new ByteTokenDecoder((id) => this.bytesOf(id));
  }

  bytesOf(id: number): Uint8Array {
    const bytes = this.vocabulary.tokens[id];
    if (bytes === undefined) throw unknownId(this.name, id, this.vocabSize);
    return bytes;
  }

  toJSON(): TokenizerJSON {
    return this.vocabulary.toJSON(this);
  }

  /** Writes the ids of the word from `start` to `end` to `ids` from `from` on; returns their end. */
  #encodeWord(text: string, start: number, end: number, ids: Uint16Array, from: number): number {
    const place = this.#cache.place(text, start, end);
    if (place >= 0) {
      const to = this.#cache.recall(place, text, start, end, ids, from);
      if (to >= 0) return to;
    }
    const to = this.vocabulary.merges.apply(ids, from, this.#bytesToIds(text, start, end, ids, from));
    if (place >= 0) this.#cache.remember(place, text, start, end, ids, from, to);
    return to;
  }

  /** Writes the ids of a word's bytes in UTF-8, with a lone surrogate as U+FFFD; returns their end. */
  #bytesToIds(text: string, start: number, end: number, ids: Uint16Array, to: number): number {
    const { idOfByte } = this.vocabulary;
    for (let i = start; i < end; i++) {
      let code = text.charCodeAt(i);
      if (code < 0x80) {
        ids[to++] = idOfByte[code];
        continue;
      }
      if (code < 0x800) {
        ids[to++] = idOfByte[0xc0 | (code >> 6)];
      } else {
        if (code >= 0xd800 && code <= 0xdfff) {
          code = text.codePointAt(i)!;
          if (code > 0xffff) i++;
          else code = 0xfffd;
        }
        if (code > 0xffff) {
          ids[to++] = idOfByte[0xf0 | (code >> 18)];
          ids[to++] = idOfByte[0x80 | ((code >> 12) & 0x3f)];
        } else {
          ids[to++] = idOfByte[0xe0 | (code >> 12)];
        }
        ids[to++] = idOfByte[0x80 | ((code >> 6) & 0x3f)];
      }
      ids[to++] = idOfByte[0x80 | (code & 0x3f)];
    }
    return to;
  }
}

/** Whether two tokenizers give every text the same ids and every id the same bytes, wherever they come from. */
export function sameByteLevel(a: Tokenizer, b: Tokenizer): boolean {
  if (!(a instanceof ByteLevelTokenizer && b instanceof ByteLevelTokenizer)) return false;
  const [own, other] = [a.vocabulary, b.vocabulary];
  return (
    a.vocabSize === b.vocabSize &&
    a.eot === b.eot &&
    own.tokens.every((bytes, id) => equal(bytes ?? [], other.tokens[id] ?? [])) &&
    equal(own.merges.pairs, other.merges.pairs)
  );
}

function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

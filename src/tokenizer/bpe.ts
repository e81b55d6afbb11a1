/**
 * Byte-level byte-pair encoding: GPT-2's scheme over any vocabulary. Knows merges and bytes; does not know
 * where its vocabulary came from (`bpe-train.ts`, `gpt2.ts`, `huggingface-json.ts`).
 */
import type { MergeTable } from './merges.js';
import { ownString, preTokenize } from './pretokenize.js';
import {
  ByteTokenDecoder,
  checkVocabSize,
  decodeByteTokens,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerJSON,
  unknownId,
} from './tokenizer.js';

/** Words in one generation of the cache; two generations are kept. */
const CACHED_WORDS = 65_536;
/** Longer words are rare and would make the cache's size depend on the text. */
const CACHED_WORD_LENGTH = 64;

/** What a byte-level tokenizer is made of. */
export interface ByteLevelVocabulary {
  readonly name: string;
  /** The bytes of each id; a hole is an id that stands for nothing. */
  readonly tokens: readonly (Uint8Array | undefined)[];
  /** The id of each byte. */
  readonly idOfByte: ArrayLike<number>;
  readonly merges: MergeTable;
  readonly eot: number;
  /** Writes `tokenizer.json`. */
  readonly toJSON: (tokenizer: ByteLevelTokenizer) => TokenizerJSON;
}

/** A byte-level BPE tokenizer with GPT-2's pre-tokenisation. */
export class ByteLevelTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly eot: number;
  readonly cuttable = true;
  readonly vocabulary: ByteLevelVocabulary;
  readonly #utf8 = new TextEncoder();
  #recent = new Map<string, readonly number[]>();
  #older = new Map<string, readonly number[]>();

  /** Throws DataError if the vocabulary does not fit 16-bit ids. */
  constructor(vocabulary: ByteLevelVocabulary) {
    checkVocabSize(`tokenizer ${vocabulary.name}`, vocabulary.tokens.length);
    this.vocabulary = vocabulary;
    this.name = vocabulary.name;
    this.vocabSize = vocabulary.tokens.length;
    this.eot = vocabulary.eot;
  }

  encode(text: string): Uint16Array {
    let ids = new Uint16Array(Math.max(16, text.length >> 1));
    let length = 0;
    preTokenize(text, (word) => {
      const wordIds = this.#encodeWord(word);
      if (length + wordIds.length > ids.length) {
        const larger = new Uint16Array(2 * ids.length + wordIds.length);
        larger.set(ids);
        ids = larger;
      }
      for (let i = 0; i < wordIds.length; i++) ids[length++] = wordIds[i];
    });
    return ids.slice(0, length);
  }

  decode(ids: ArrayLike<number>): string {
    return decodeByteTokens((id) => this.bytesOf(id), ids);
  }

  decoder(): TokenDecoder {
    return new ByteTokenDecoder((id) => this.bytesOf(id));
  }

  /** The bytes of a token; throws DataError for an unknown id. */
  bytesOf(id: number): Uint8Array {
    const bytes = this.vocabulary.tokens[id];
    if (bytes === undefined) throw unknownId(this.name, id, this.vocabSize);
    return bytes;
  }

  toJSON(): TokenizerJSON {
    return this.vocabulary.toJSON(this);
  }

  /** Two generations of remembered words: bounded, and the words in use survive when the older one is dropped. */
  #encodeWord(word: string): readonly number[] {
    const recent = this.#recent.get(word);
    if (recent !== undefined) return recent;
    const older = this.#older.get(word);
    if (older === undefined && word.length > CACHED_WORD_LENGTH) return this.#mergeWord(word);
    const ids = older ?? this.#mergeWord(word);
    if (this.#recent.size >= CACHED_WORDS) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(ownString(word), ids);
    return ids;
  }

  #mergeWord(word: string): number[] {
    const { idOfByte, merges } = this.vocabulary;
    return merges.apply(Array.from(this.#utf8.encode(word), (byte) => idOfByte[byte]));
  }
}

/** Whether two tokenizers give every text the same ids and every id the same bytes, wherever they were read from. */
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

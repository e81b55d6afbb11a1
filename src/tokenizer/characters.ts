/**
 * The tokenizer of character models such as nanoGPT's: one id for each character of its vocabulary, none for the end of
 * a text.
 */
import { ConfigError, DataError } from '../errors.js';
import {
  ByteTokenDecoder,
  checkVocabSize,
  decodeByteTokens,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerJSON,
  unknownId,
} from './tokenizer.js';

/** An id is the index of its character in a list; a character is a Unicode code point. */
export class CharacterTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly eot = null;
  readonly eotToken = null;
  readonly specials = [];
  readonly cuttable = true;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #bytes: readonly Uint8Array[];

  /** Throws DataError unless `characters` lists single, different characters. */
  constructor(
    private readonly characters: readonly string[],
    where: string,
  ) {
    const wrong = characters.find((text) => typeof text !== 'string' || [...text].length !== 1);
    this.#ids = new Map(characters.map((character, id) => [character, id]));
    if (wrong !== undefined || characters.length === 0 || this.#ids.size < characters.length) {
      const got = wrong === undefined ? `${this.#ids.size} of ${characters.length}` : JSON.stringify(wrong);
      throw new DataError(where, 'must list single characters, each once', got);
    }
    checkVocabSize(where, characters.length);
    this.vocabSize = characters.length;
    this.name = `characters-${this.vocabSize}`;
    const utf8 = new TextEncoder();
    this.#bytes = characters.map((character) => utf8.encode(character));
  }

  /** Throws ConfigError for a character that is not in the vocabulary. */
  encode(text: string): Uint16Array {
    const ids: number[] = [];
    for (const character of text) {
      const id = this.#ids.get(character);
      if (id === undefined) {
        const rule = `must be written with the ${this.vocabSize} characters of tokenizer ${this.name}`;
        throw new ConfigError('text', rule, character);
      }
      ids.push(id);
    }
    return Uint16Array.from(ids);
  }

  decode(ids: ArrayLike<number>): string {
    return decodeByteTokens((id) => this.bytesOf(id), ids);
  }

  decoder(): TokenDecoder {
    return new ByteTokenDecoder((id) => this.bytesOf(id));
  }

  bytesOf(id: number): Uint8Array {
    const bytes = this.#bytes[id];
    if (bytes === undefined) throw unknownId(this.name, id, this.vocabSize);
    return bytes;
  }

  toJSON(): TokenizerJSON {
    return { type: 'characters', characters: this.characters };
  }
}

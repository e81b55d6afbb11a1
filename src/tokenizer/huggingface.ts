/**
 * Every tokenizer that is not plain byte-level BPE (WordPiece, Unigram, normalizers, other pre-tokenizers …),
 * through the package @huggingface/tokenizers. Knows that package; reads no files.
 */
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { DataError } from '../errors.js';
import { alphabetToBytes } from './byte-alphabet.js';
import { addedTokens, type EndOfTextHints, endOfText, isRecord } from './huggingface-json.js';
import {
  checkVocabSize,
  MAX_VOCAB_SIZE,
  type SpecialToken,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerJSON,
  unknownId,
} from './tokenizer.js';

/** The models that the library knows; others it would take for an older kind of file. */
const MODELS: readonly string[] = ['BPE', 'WordPiece', 'Unigram'];

/** An added token that stands before a text inside another one, so that the library does not take it for a beginning. */
const BEFORE = {
  id: MAX_VOCAB_SIZE,
  content: `<${crypto.getRandomValues(new Uint32Array(4)).join('-')}>`,
  special: false,
};

/**
 * A tokenizer of the Hugging Face library. Special tokens are kept out of its sight, so that text cannot
 * spell them.
 */
export class HuggingFaceTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly eot: number;
  readonly eotToken: string;
  readonly specials: readonly SpecialToken[];
  /** Such tokenizers may look across white space or mark the beginning of a text, so texts go in whole. */
  readonly cuttable = false;
  readonly #inner: HuggingFace;
  readonly #json: TokenizerJSON;
  readonly #specials: ReadonlyMap<number, string>;
  readonly #known: ReadonlySet<number>;
  /** Whether the first text of several has other ids than it would have further on. */
  readonly #marksBeginning: boolean;

  private constructor(
    inner: HuggingFace,
    json: TokenizerJSON,
    type: string,
    { eot, eotToken }: { readonly eot: number; readonly eotToken: string },
    specials: readonly SpecialToken[],
  ) {
    this.#inner = inner;
    this.#json = json;
    this.specials = specials;
    this.#specials = new Map(specials.map(({ id, content }) => [id, content]));
    this.#marksBeginning = marksBeginning(json);
    const own = [...inner.get_vocab(true).values()].filter((id) => id !== BEFORE.id);
    this.#known = new Set([...own, ...this.#specials.keys()]);
    this.vocabSize = this.#known.size === 0 ? 0 : largest(this.#known) + 1;
    this.name = `${type.toLowerCase()}-${this.vocabSize}`;
    this.eot = eot;
    this.eotToken = eotToken;
  }

  /**
   * Reads the content of `tokenizer.json`; throws DataError if the library cannot read it, it has no
   * end-of-text token, or its vocabulary does not fit 16-bit ids.
   */
  static fromJSON(json: TokenizerJSON, where: string, hints: EndOfTextHints = {}): HuggingFaceTokenizer {
    const model = json.model;
    if (!isRecord(model)) throw new DataError(`${where}: model`, 'must be an object', typeof model);
    if (!MODELS.includes(String(model.type))) {
      throw new DataError(`${where}: model.type`, `must be one of ${MODELS.join(', ')}`, model.type);
    }
    const ids = vocabularyOf(model, where);
    for (const id of ids.values()) checkVocabSize(where, id + 1);
    const added = addedTokens(json, where);
    const end = endOfText(ids, added, where, hints);
    const plain = (json.added_tokens as unknown[] | undefined)?.filter((_, i) => !added[i].special) ?? [];
    let inner: HuggingFace;
    try {
      const absent = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
      inner = new HuggingFace(
        { ...absent, ...json, added_tokens: marksBeginning(json) ? [...plain, BEFORE] : plain },
        { clean_up_tokenization_spaces: false },
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      throw new DataError(where, 'must be a tokenizer that @huggingface/tokenizers can read', reason);
    }
    const specials = added.filter((token) => token.special);
    return new HuggingFaceTokenizer(inner, json, String(model.type), end, specials);
  }

  /** Throws DataError if a character has no token and the vocabulary no unknown token. */
  encode(text: string, inside = false): Uint16Array {
    if (text === '') return new Uint16Array(0);
    const before = inside && this.#marksBeginning ? BEFORE.content : '';
    const all = this.#guard(() => this.#inner.encode(before + text, { add_special_tokens: false }).ids) as (
      | number
      | undefined
    )[];
    const ids = before === '' ? all : all.slice(1);
    return Uint16Array.from(ids, (id) => {
      if (id === undefined) {
        throw new DataError(
          `tokenizer ${this.name}`,
          'must be able to encode every text',
          undefined,
          'it has no unknown token',
        );
      }
      return id;
    });
  }

  decode(ids: ArrayLike<number>): string {
    let text = '';
    let run: number[] = [];
    const flush = (): void => {
      if (run.length > 0) text += this.#guard(() => this.#inner.decode(run, { skip_special_tokens: false }));
      run = [];
    };
    for (let i = 0; i < ids.length; i++) {
      const special = this.#specials.get(ids[i]);
      if (special !== undefined) {
        flush();
        text += special;
      } else if (this.#known.has(ids[i])) run.push(ids[i]);
      else throw unknownId(this.name, ids[i], this.vocabSize);
    }
    flush();
    return text;
  }

  bytesOf(id: number): Uint8Array {
    const text = this.decode([id]);
    const part = text.includes('\ufffd') ? partOfCharacter(this.#inner.id_to_token(id) ?? '') : undefined;
    return part ?? new TextEncoder().encode(text);
  }

  /** What the library throws over settings that it took without checking is the file's fault. */
  #guard<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      throw new DataError(
        `tokenizer ${this.name}`,
        'must be one that @huggingface/tokenizers can use',
        reason,
        'its tokenizer.json may be damaged',
      );
    }
  }

  decoder(): TokenDecoder {
    return new WindowDecoder((ids) => this.decode(ids));
  }

  toJSON(): TokenizerJSON {
    return this.#json;
  }
}

/**
 * Decodes a stream with a tokenizer that only decodes lists, in which a token's text can depend on the one before:
 * each step decodes a short window with and without what is new, and gives the difference.
 */
class WindowDecoder implements TokenDecoder {
  readonly #decode: (ids: number[]) => string;
  #window: number[] = [];
  /** How many ids of the window have been given out. */
  #given = 0;

  constructor(decode: (ids: number[]) => string) {
    this.#decode = decode;
  }

  push(id: number): string {
    this.#window.push(id);
    const text = this.#pending();
    // A replacement character at the end may be the beginning of a character that the next id completes.
    if (text === '' || text.endsWith('\ufffd')) return '';
    this.#window = this.#window.slice(this.#given);
    this.#given = this.#window.length;
    return text;
  }

  end(): string {
    const text = this.#pending();
    this.#window = [];
    this.#given = 0;
    return text;
  }

  #pending(): string {
    const given = this.#decode(this.#window.slice(0, this.#given));
    return this.#decode(this.#window).slice(given.length);
  }
}

/** Whether a pre-tokenizer has `prepend_scheme` first, as SentencePiece's later models have. */
function marksBeginning({ pre_tokenizer }: TokenizerJSON): boolean {
  return JSON.stringify(pre_tokenizer ?? null).includes('"prepend_scheme":"first"');
}

/** The bytes of a token that is no whole text: `<0xE6>`, or written in GPT-2's alphabet; undefined for any other. */
function partOfCharacter(token: string): Uint8Array | undefined {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token);
  return byte ? Uint8Array.of(Number.parseInt(byte[1], 16)) : alphabetToBytes(token);
}

/** The ids of a model's vocabulary: an object for most models, a list of [token, score] for Unigram. */
function vocabularyOf(model: Record<string, unknown>, where: string): Map<string, number> {
  const { vocab } = model;
  if (Array.isArray(vocab)) {
    return new Map(
      vocab.map((entry: unknown, id): [string, number] => [
        String(Array.isArray(entry) ? entry[0] : entry),
        id,
      ]),
    );
  }
  if (!isRecord(vocab))
    throw new DataError(`${where}: model.vocab`, 'must be an object or a list', typeof vocab);
  return new Map(
    Object.entries(vocab).map(([token, id]): [string, number] => {
      if (!Number.isInteger(id) || (id as number) < 0) {
        throw new DataError(`${where}: model.vocab`, `the id of '${token}' must be a whole number`, id);
      }
      return [token, id as number];
    }),
  );
}

function largest(ids: Iterable<number>): number {
  let max = 0;
  for (const id of ids) if (id > max) max = id;
  return max;
}

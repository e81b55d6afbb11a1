/**
 * Every tokenizer of Hugging Face that is not plain byte-level BPE: WordPiece, Unigram, BPE over characters, with
 * normalizers, pre-tokenizers and decoders. Gives the ids and texts that Python's tokenizers gives, or refuses a file
 * and names the setting that is not supported. This file combines the parts, which are in `pipeline/`; it reads no
 * files.
 */
import { DataError } from '../errors.js';
import { alphabetToBytes } from './byte-alphabet.js';
import {
  addedTokens,
  checkAddedIds,
  controlIds,
  type EndOfTextHints,
  endOfText,
  isRecord,
  MODEL_TYPES,
  type ModelType,
  modelType,
} from './huggingface-json.js';
import { AddedTokens, readAddedToken } from './pipeline/added-tokens.js';
import { readDecoder, type TokensDecoder, withoutReplacements } from './pipeline/decoders.js';
import { CONTEXT_UNITS, Cutter, type Word } from './pipeline/cutter.js';
import { readNormalizer } from './pipeline/normalizers.js';
import { checkPostProcessor } from './pipeline/post-processors.js';
import { type PreTokenizer, readPreTokenizer } from './pipeline/pre-tokenizers.js';
import { Settings } from './pipeline/settings.js';
import { subwordBpe } from './pipeline/subword-bpe.js';
import { unigram } from './pipeline/unigram.js';
import { type ModelTokens, type WordModel, wordLevel, wordPiece } from './pipeline/words.js';
import {
  checkVocabSize,
  type SpecialToken,
  type TextCutter,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerJSON,
  unknownId,
} from './tokenizer.js';
import { type Replacement, ReplacingDecoder, withReplacements } from './replacements.js';
import { WindowDecoder } from './window-decoder.js';
import { MOST_REMEMBERED, WordCache } from './word-cache.js';

interface Parts {
  readonly type: ModelType;
  readonly added: AddedTokens;
  readonly preTokenize: PreTokenizer;
  readonly model: WordModel;
  readonly decode: TokensDecoder;
  /** Replacements in the decoded text. */
  readonly replacements: readonly Replacement[];
  /** The spelling of each id that has a token. */
  readonly tokens: ReadonlyMap<number, string>;
  readonly eot: number;
  readonly eotToken: string;
  readonly specials: readonly SpecialToken[];
  readonly json: TokenizerJSON;
}

/** A tokenizer of Hugging Face's kind. Text cannot spell its special tokens. */
export class HuggingFaceTokenizer implements Tokenizer {
  readonly name: string;
  readonly vocabSize: number;
  readonly eot: number;
  readonly eotToken: string;
  readonly specials: readonly SpecialToken[];
  /** Such tokenizers may look across white space or mark the beginning of a text, so texts must be encoded whole. */
  readonly cuttable = false;
  readonly cutter: TextCutter;
  readonly #parts: Parts;
  readonly #cache = new WordCache();
  /** The ids of a word that are copied from the cache or to it. */
  readonly #few = new Uint16Array(MOST_REMEMBERED);

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.vocabSize = largest(parts.tokens.keys()) + 1;
    this.name = `${parts.type.toLowerCase()}-${this.vocabSize}`;
    this.eot = parts.eot;
    this.eotToken = parts.eotToken;
    this.specials = parts.specials;
    const { model } = parts;
    const cutter = new Cutter(
      (text) => this.#words(text, true),
      (before, after) => model.parts?.(before, after) ?? false,
    );
    this.cutter = {
      cut: (text) => cutter.cut(text),
      encodeAfter: (before, text) => this.#idsOfWords(cutter.after(before, text)),
      contextUnits: CONTEXT_UNITS,
    };
  }

  /**
   * Reads the content of `tokenizer.json`. Throws DataError if the content is damaged, has a setting that is not
   * supported, has no end-of-text token, or has a vocabulary that does not fit 16-bit ids.
   */
  static fromJSON(json: TokenizerJSON, where: string, hints: EndOfTextHints = {}): HuggingFaceTokenizer {
    const record = json.model;
    if (!isRecord(record)) throw new DataError(`${where}: model`, 'must be an object', typeof record);
    const type = modelType(record);
    if (type === undefined) {
      const fields = Object.keys(record).slice(0, 8).join(' ') || '(none)';
      const hint = Object.hasOwn(record, 'type')
        ? undefined
        : `without it the other fields must show the type, and these do not: ${fields}`;
      const rule = `must be one of ${MODEL_TYPES.join(', ')}`;
      throw new DataError(`${where}: model.type`, rule, record.type, hint);
    }
    const entries = vocabularyOf(record, where);
    const vocab = new Map(entries);
    for (const id of vocab.values()) checkVocabSize(where, id + 1);
    const list = addedTokens(json, where);
    checkAddedIds(list, { ids: vocab, size: entries.length }, where);
    const end = endOfText(vocab, list, where, hints);
    const tokens = list.map(({ id }, i) => {
      const entry = (json.added_tokens as unknown[])[i];
      return readAddedToken(new Settings(entry, `${where}: added_tokens[${i}]`), id);
    });
    const added = new AddedTokens(tokens, readNormalizer(json.normalizer, `${where}: normalizer`));
    checkPostProcessor(json.post_processor, `${where}: post_processor`);
    const spellings = new Map<number, string>();
    for (const [token, id] of entries) spellings.set(id, token);
    for (const token of tokens) spellings.set(token.id, added.spelling(token));
    const { decoder, replacements } = withoutReplacements(json.decoder);
    return new HuggingFaceTokenizer({
      type,
      added,
      preTokenize: readPreTokenizer(json.pre_tokenizer, `${where}: pre_tokenizer`),
      model: readModel(type, new Settings(record, `${where}: model`), {
        vocab,
        controls: controlIds(list, end.eot),
        where,
      }),
      decode: readDecoder(decoder, `${where}: decoder`),
      replacements,
      tokens: spellings,
      ...end,
      specials: list.filter(({ special }) => special),
      json,
    });
  }

  /** Throws DataError if a word has no token and the vocabulary has no unknown token. */
  encode(text: string, inside = false): Uint16Array {
    return this.#idsOfWords(this.#words(text, inside));
  }

  /** The words of a text for the model, and the ids of added tokens in the text. */
  #words(text: string, inside: boolean): Word[] {
    const { added, preTokenize } = this.#parts;
    const words: Word[] = [];
    // A lone surrogate is no text.
    for (const section of added.sections(text.replace(/\p{Cs}/gu, '\ufffd'), inside)) {
      if (typeof section === 'number') {
        words.push(section);
        continue;
      }
      const { texts } = preTokenize({
        texts: [section.text],
        leads: section.lead > 0 ? [section.lead] : [],
      });
      for (const word of texts) words.push(word);
    }
    return words;
  }

  #idsOfWords(words: readonly Word[]): Uint16Array {
    const ids: number[] = [];
    for (const word of words) {
      if (typeof word === 'number') ids.push(word);
      else this.#encodeWord(word, ids);
    }
    return Uint16Array.from(ids);
  }

  decode(ids: ArrayLike<number>): string {
    return withReplacements(this.#joined(ids), this.#parts.replacements);
  }

  /** The ids after an end of text are decoded as the beginning of another text, as they were encoded. */
  #joined(ids: ArrayLike<number>): string {
    const { tokens, decode } = this.#parts;
    let text = '';
    let run: string[] = [];
    const flush = (): void => {
      if (run.length > 0) text += decode(run).join('');
      run = [];
    };
    for (let i = 0; i < ids.length; i++) {
      const token = tokens.get(ids[i]);
      if (token === undefined) throw unknownId(this.name, ids[i], this.vocabSize);
      if (ids[i] === this.eot) {
        flush();
        text += token;
      } else run.push(token);
    }
    flush();
    return text;
  }

  bytesOf(id: number, before?: number): Uint8Array {
    const alone = this.decode([id]);
    const part = alone.includes('\ufffd') ? partOfCharacter(this.#parts.tokens.get(id)!) : undefined;
    if (part !== undefined) return part;
    if (before === undefined) return new TextEncoder().encode(alone);
    const decoder = this.decoder([before]);
    return new TextEncoder().encode(decoder.push(id) + decoder.end());
  }

  decoder(context: ArrayLike<number> = []): TokenDecoder {
    return new ReplacingDecoder(
      new WindowDecoder((ids) => this.#joined(ids), context),
      this.#parts.replacements,
    );
  }

  toJSON(): TokenizerJSON {
    return this.#parts.json;
  }

  #encodeWord(word: string, ids: number[]): void {
    const few = this.#few;
    const place = this.#cache.place(word, 0, word.length);
    const count = place < 0 ? -1 : this.#cache.recall(place, word, 0, word.length, few, 0);
    for (let i = 0; i < count; i++) ids.push(few[i]);
    if (count >= 0) return;
    const own = this.#idsOf(word);
    for (const id of own) ids.push(id);
    if (place < 0 || own.length > few.length) return;
    few.set(own);
    this.#cache.remember(place, word, 0, word.length, few, 0, own.length);
  }

  #idsOf(word: string): readonly number[] {
    try {
      return this.#parts.model.encode(word);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataError(`tokenizer ${this.name}`, 'must be able to encode every text', undefined, reason);
    }
  }
}

function readModel(type: ModelType, settings: Settings, tokens: ModelTokens): WordModel {
  switch (type) {
    case 'BPE':
      return subwordBpe(settings, tokens);
    case 'WordPiece':
      return wordPiece(settings, tokens);
    case 'WordLevel':
      return wordLevel(settings, tokens);
    case 'Unigram':
      return unigram(settings, tokens);
  }
}

/** The bytes of a token that is only a part of a text: `<0xE6>`, or in GPT-2's alphabet; undefined for any other. */
function partOfCharacter(token: string): Uint8Array | undefined {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return byte ? Uint8Array.of(Number.parseInt(byte[1], 16)) : alphabetToBytes(token);
}

/** The tokens and ids of a model's vocabulary: an object for most models, a list of [token, score] for Unigram. */
function vocabularyOf(model: Record<string, unknown>, where: string): [token: string, id: number][] {
  const { vocab } = model;
  const entries = Array.isArray(vocab)
    ? vocab.map((entry: unknown, id): [unknown, unknown] => [Array.isArray(entry) ? entry[0] : entry, id])
    : isRecord(vocab)
      ? Object.entries(vocab)
      : null;
  if (entries === null) {
    throw new DataError(`${where}: model.vocab`, 'must be an object or a list', typeof vocab);
  }
  return entries.map(([token, id]) => {
    if (typeof token !== 'string') {
      throw new DataError(`${where}: model.vocab`, 'its tokens must be texts', JSON.stringify(token));
    }
    if (!Number.isInteger(id) || (id as number) < 0) {
      throw new DataError(`${where}: model.vocab`, `the id of '${token}' must be a whole number`, id);
    }
    return [token, id as number];
  });
}

function largest(ids: Iterable<number>): number {
  let max = -1;
  for (const id of ids) if (id > max) max = id;
  return max;
}

/**
 * The models of a tokenizer.json that look words up, as Python's tokenizers does: WordLevel looks up the whole word,
 * WordPiece the longest token that begins the word, then the longest that continues it.
 */
import type { Settings } from './settings.js';

/** Turns the words of a text into ids. */
export interface WordModel {
  /** The ids of a word, which is not empty. Throws Error if it has no ids and the vocabulary has no unknown token. */
  encode(word: string): readonly number[];
  /** Whether a word may be cut between two characters without changing its ids. If undefined, no word may be cut. */
  parts?(before: string, after: string): boolean;
}

/** The ids of tokens by their spelling. */
export type Vocabulary = ReadonlyMap<string, number>;

/** The tokens of a model. */
export interface ModelTokens {
  readonly vocab: Vocabulary;
  /** The ids that no text may encode to: special tokens and the end of text. */
  readonly controls: ReadonlySet<number>;
  /** The file's name, for messages. */
  readonly where: string;
}

/**
 * The tokens that a text may encode to: all but controls. A control of one character is included, since a text with
 * that character can be encoded in no other way.
 */
export function spellable({ vocab, controls }: ModelTokens): Vocabulary {
  const oneCharacter = (token: string) => token.length <= 2 && Array.from(token).length === 1;
  return new Map(Array.from(vocab).filter(([token, id]) => !controls.has(id) || oneCharacter(token)));
}

export function wordLevel(settings: Settings, tokens: ModelTokens): WordModel {
  const unknown = unknownToken(settings, tokens.vocab);
  const vocab = spellable(tokens);
  return {
    encode: (word) => {
      const id = vocab.get(word);
      return id === undefined ? [unknown()] : [id];
    },
  };
}

export function wordPiece(settings: Settings, tokens: ModelTokens): WordModel {
  const unknown = unknownToken(settings, tokens.vocab);
  const vocab = spellable(tokens);
  const prefix = settings.text('continuing_subword_prefix');
  const longestWord = settings.count('max_input_chars_per_word', 0);
  let longest = 0;
  for (const token of vocab.keys()) longest = Math.max(longest, token.length);

  /** The end of the longest token from `start` on, or `start` if there is none. */
  const endOfToken = (word: string, start: number): number => {
    const before = start > 0 ? prefix : '';
    let end = Math.min(word.length, start + longest);
    while (end > start && !vocab.has(before + word.slice(start, end))) end--;
    return end;
  };
  return {
    encode: (word) => {
      if (word.length > longestWord && Array.from(word).length > longestWord) return [unknown()];
      const ids: number[] = [];
      for (let start = 0; start < word.length; ) {
        const end = endOfToken(word, start);
        if (end === start) return [unknown()];
        ids.push(vocab.get((start > 0 ? prefix : '') + word.slice(start, end))!);
        start = end;
      }
      return ids;
    },
  };
}

function unknownToken(settings: Settings, vocab: Vocabulary): () => number {
  const token = settings.text('unk_token');
  return () => {
    const id = vocab.get(token);
    if (id === undefined) throw new Error(`the vocabulary does not have the unknown token '${token}'`);
    return id;
  };
}

/** The ids of the tokens `<0x0A>` … for a text's bytes in UTF-8; undefined if the vocabulary lacks one of them. */
export function byteTokens(text: string, vocab: Vocabulary): number[] | undefined {
  const ids: number[] = [];
  for (const byte of new TextEncoder().encode(text)) {
    const id = vocab.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}

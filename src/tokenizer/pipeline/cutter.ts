/**
 * Finds where a long text may be cut for a tokenizer that looks beyond words: where a word ends, judged from the text
 * around the place, or where no token can span the place. Each part is then encoded after the last characters of the
 * text before it, and their words are dropped again, so that no part is encoded as the beginning of a text.
 */
import { classOf } from './unicode.js';

/** A word of the model, or the id of an added token. */
export type Word = string | number;

/** UTF-16 units before a part that are encoded with it, and that are examined on each side of a cut. */
export const CONTEXT_UNITS = 128;
/** Contexts that are tried, each beginning a character later: words of a fixed length do not end at the cut in all. */
const NEIGHBOURHOODS = 4;
/** Most places before white space that are tried, from the end of the text, and then most places of any kind. */
const MOST_SPACES = 32;
const MOST_PLACES = 256;

const SPACE = new RegExp(classOf('space').source, 'u');

export class Cutter {
  /**
   * @param words the words of a text with other text before it
   * @param parts whether no token of the model has the two characters one after the other
   */
  constructor(
    private readonly words: (text: string) => readonly Word[],
    private readonly parts: (before: string, after: string) => boolean,
  ) {}

  /** The last place found where the text may be cut; 0 if there is none. */
  cut(text: string): number {
    const last = text.length - CONTEXT_UNITS;
    let spaces = 0;
    let places = 0;
    for (let at = last; at > CONTEXT_UNITS && spaces < MOST_SPACES; at--) {
      if (!SPACE.test(text[at]) || SPACE.test(text[at - 1]) || SPACE.test(text[at + 1])) continue;
      if (this.#ends(text, at)) return at;
      spaces++;
    }
    for (let at = last; at > CONTEXT_UNITS && places < MOST_PLACES; at--, places++) {
      if (isWithinCharacter(text, at)) continue;
      if (this.#ends(text, at)) return at;
    }
    return 0;
  }

  /** The words of a part of a text; `before` is the end of the text before it. */
  after(before: string, text: string): readonly Word[] {
    const found = this.#behind(before, text);
    if (found === undefined)
      throw new Error(`a word spans the cut that was found after '${before.slice(-20)}'`);
    return found;
  }

  #ends(text: string, at: number): boolean {
    const end = at + CONTEXT_UNITS;
    const after = text.slice(at, isWithinCharacter(text, end) ? end - 1 : end);
    let start = at - CONTEXT_UNITS;
    if (isWithinCharacter(text, start)) start++;
    for (let i = 0; i < NEIGHBOURHOODS; i++) {
      if (this.#behind(text.slice(start, at), after) === undefined) return false;
      start += text.codePointAt(start)! > 0xffff ? 2 : 1;
    }
    return true;
  }

  /** The words of both texts together without those of `before`; undefined if a word spans the cut. */
  #behind(before: string, text: string): readonly Word[] | undefined {
    const first = this.words(before);
    const both = this.words(before + text);
    const most = first.length - 1;
    if (most < 0 || both.length < first.length) return undefined;
    for (let i = 0; i < most; i++) if (first[i] !== both[i]) return undefined;
    const [word, joined] = [first[most], both[most]];
    if (word === joined) return both.slice(first.length);
    if (typeof word === 'number' || typeof joined === 'number' || !joined.startsWith(word)) return undefined;
    const rest = joined.slice(word.length);
    const ends = word.codePointAt(word.length - 2)! > 0xffff ? word.slice(-2) : word.slice(-1);
    if (!this.parts(ends, String.fromCodePoint(rest.codePointAt(0)!))) return undefined;
    return [rest, ...both.slice(first.length)];
  }
}

function isWithinCharacter(text: string, at: number): boolean {
  return at > 0 && at < text.length && text.codePointAt(at - 1)! > 0xffff;
}

/**
 * Whether two characters are tokens of a vocabulary, and no token of it has one directly after the other.
 */
export function partedBy(vocab: ReadonlyMap<string, number>): (before: string, after: string) => boolean {
  let pairs: Set<string> | undefined;
  return (before, after) => {
    if (pairs === undefined) {
      pairs = new Set();
      for (const token of vocab.keys()) {
        const characters = Array.from(token);
        for (let i = 1; i < characters.length; i++) pairs.add(characters[i - 1] + characters[i]);
      }
    }
    return vocab.has(before) && vocab.has(after) && !pairs.has(before + after);
  };
}

/**
 * Finds added tokens in a text, some before the text is normalised and some after. Special tokens are found only so
 * that no other token begins within one: they remain text. As Python's tokenizers does with `encode_special_tokens`.
 */
import type { Normalized, Normalizer } from './normalizers.js';
import { literal } from './pattern.js';
import type { Settings } from './settings.js';
import { eachMatch } from './split.js';
import { classOf } from './unicode.js';

/** An added token, as the file describes it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Whether it is searched for in the normalised text, and is normalised itself. */
  readonly normalized: boolean;
  /** Whether it counts only without adjacent word characters. */
  readonly singleWord: boolean;
  /** Whether it includes the white space before it, and after it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** Reads an entry of `added_tokens`, except its id; throws DataError if it is damaged. */
export function readAddedToken(settings: Settings, id: number): AddedToken {
  const special = settings.flag('special', false);
  return {
    id,
    content: settings.text('content'),
    special,
    normalized: settings.flag('normalized', !special),
    singleWord: settings.flag('single_word', false),
    lstrip: settings.flag('lstrip', false),
    rstrip: settings.flag('rstrip', false),
  };
}

/** A normalised text that is still to be encoded, or the id of a token that was found. */
export type Section = Normalized | number;

export class AddedTokens {
  readonly #normalize: Normalizer;
  readonly #before: Finder | null;
  readonly #after: Finder | null;

  constructor(tokens: readonly AddedToken[], normalize: Normalizer) {
    this.#normalize = normalize;
    const finder = (some: readonly AddedToken[]): Finder | null => {
      const spelled = some.map((token): [string, AddedToken] => [this.spelling(token), token]);
      const found = new Map(spelled.filter(([spelling]) => spelling !== ''));
      return Array.from(found.values()).every(({ special }) => special) ? null : new Finder(found);
    };
    this.#before = finder(tokens.filter(({ normalized }) => !normalized));
    this.#after = finder(tokens.filter(({ normalized }) => normalized));
  }

  /** The text by which a token is found, and to which it is decoded. */
  spelling({ content, normalized }: AddedToken): string {
    if (!normalized) return content;
    const text: Normalized = { text: content, lead: 0 };
    this.#normalize(text);
    return text.text;
  }

  /**
   * Splits a text at added tokens, and normalises what lies between them.
   *
   * @param inside whether other text comes before, so that this is not the beginning of a text
   */
  sections(text: string, inside: boolean): Section[] {
    const sections: Section[] = [];
    if (text === '') return sections;
    const between = (part: Normalized): void => {
      this.#normalize(part);
      if (this.#after) this.#after.cut(part, (one) => sections.push(one));
      else if (part.text !== '') sections.push(part);
    };
    const lead = text.codePointAt(0)! > 0xffff ? 2 : 1;
    const whole = { text, lead: inside ? 0 : lead };
    if (!this.#before) between(whole);
    else this.#before.cut(whole, (one) => (typeof one === 'number' ? sections.push(one) : between(one)));
    return sections;
  }
}

class Finder {
  readonly #tokens: ReadonlyMap<string, AddedToken>;
  readonly #pattern: RegExp;

  constructor(tokens: ReadonlyMap<string, AddedToken>) {
    this.#tokens = tokens;
    // The longest first, since the first alternative that fits wins.
    const spellings = Array.from(tokens.keys()).sort((a, b) => b.length - a.length);
    this.#pattern = new RegExp(spellings.map((spelling) => literal(spelling).source).join('|'), 'gu');
  }

  /** Calls `section` with each token and each text between tokens, in order. */
  cut({ text, lead }: Normalized, section: (one: Section) => void): void {
    let from = 0;
    const textUpTo = (end: number): void => {
      if (from < end) section({ text: text.slice(from, end), lead: Math.max(0, Math.min(end, lead) - from) });
    };
    eachMatch(this.#pattern, text, (matchStart, matchEnd) => {
      const token = this.#tokens.get(text.slice(matchStart, matchEnd))!;
      if (token.special) return;
      if (token.singleWord && (at(WORD_BEFORE, text, matchStart) || at(WORD, text, matchEnd))) return;
      const spaces = token.lstrip ? (at(SPACES_BEFORE, text, matchStart)?.[1].length ?? 0) : 0;
      const start = token.lstrip ? Math.max(from, matchStart - spaces) : matchStart;
      const end = matchEnd + (token.rstrip ? (at(SPACES, text, matchEnd)?.[0].length ?? 0) : 0);
      // A match within the white space of the token before is not found again.
      if (start >= end) return;
      textUpTo(start);
      section(token.id);
      from = end;
    });
    textUpTo(text.length);
  }
}

const word = classOf('word').source;
const space = classOf('space').source;
const WORD = new RegExp(word, 'uy');
const WORD_BEFORE = new RegExp(`(?<=${word})`, 'uy');
const SPACES = new RegExp(`${space}+`, 'uy');
const SPACES_BEFORE = new RegExp(`(?<=(${space}+))`, 'uy');

/** What an expression with the flag y matches at index `place`. */
function at(expression: RegExp, text: string, place: number): RegExpExecArray | null {
  expression.lastIndex = place;
  return expression.exec(text);
}

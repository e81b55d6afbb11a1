/**
 * Translates the regular expressions of a tokenizer.json, which Python's tokenizers passes to Oniguruma (Ruby's
 * syntax), to JavaScript's. An expression that JavaScript cannot match in the same way is rejected, and its part is
 * named.
 *
 * Oniguruma reads these differently from JavaScript: `\w \d \s \b` follow Unicode, `\h` is a hexadecimal digit, `.` is
 * all but a line feed, `^` and `$` match at lines, `(?m)` lets `.` match line feeds, a lone `(?i)` holds to the end of
 * its group, `a++` is possessive, `a{2}?` is optional, `{,3}` begins at 0, and brackets hold sets within sets.
 */
import { DataError } from '../../errors.js';
import { CodePoints } from './code-points.js';
import { posixSet, property, shorthand } from './unicode.js';

/** A part of an expression, in JavaScript's syntax. */
interface Part {
  readonly source: string;
  /** Whether it can match the empty text. */
  readonly empty: boolean;
  /** Whether it is an anchor or a look-around; such a part cannot be repeated. */
  readonly looks?: boolean;
  /** The character in lower case, if the part is one character regardless of case. */
  readonly folded?: string;
}

interface Options {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  /** Whether the part lies within a look-behind, which JavaScript matches from right to left. */
  readonly behind: boolean;
}

/** Letters in a row that regardless of case also match one character: ß, ﬀ, ﬁ, ﬂ, ﬆ. */
const LIGATURES: readonly string[] = ['ss', 'ff', 'fi', 'fl', 'st'];
/** Characters outside ASCII that a letter matches regardless of case: the Kelvin sign, the long s. */
const FOLDS: Readonly<Record<string, string>> = { k: '\u212a', s: '\u017f' };
const CASED = /\p{CWCM}|\p{CWCF}/u;
/** What may form one character together with a letter, regardless of case. */
const JOINS = /[\p{M}\u02bc]/u;

const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27 };
const ANY = '[^]';
const START = `(?<!${ANY})`;
const END = `(?!${ANY})`;
/** Oniguruma sees no line after a line feed that ends the text. */
const LINE_START = `(?:${START}|(?<=\\n)(?!${END}))`;

/**
 * Translates an expression; the result has the flags g and u.
 *
 * @param where the setting, for messages
 * @throws DataError if the expression is damaged, or JavaScript cannot match it in the same way
 */
export function fromOniguruma(pattern: string, where: string): RegExp {
  const source = new Translator(pattern, where).translate();
  try {
    return new RegExp(source, 'gu');
  } catch (error) {
    throw new DataError(where, 'must be an expression', error instanceof Error ? error.message : error);
  }
}

class Translator {
  #at = 0;
  #atoms = 0;

  constructor(
    private readonly pattern: string,
    private readonly where: string,
  ) {}

  translate(): string {
    const { source } = this.#alternatives({ ignoreCase: false, dotAll: false, behind: false });
    if (this.#at < this.pattern.length) this.#refuse('an unmatched )');
    return source;
  }

  #refuse(what: string): never {
    throw new DataError(
      this.where,
      `has ${what}, which is not supported`,
      `${this.pattern.slice(0, 80)}, at ${this.#at}`,
    );
  }

  #peek(text: string): boolean {
    return this.pattern.startsWith(text, this.#at);
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false;
    this.#at += text.length;
    return true;
  }

  /** Matches `expression`, which has the flag y, at the current place, and moves behind the match. */
  #match(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.pattern);
    if (found) this.#at = expression.lastIndex;
    return found;
  }

  #character(): string {
    const character = String.fromCodePoint(this.pattern.codePointAt(this.#at)!);
    this.#at += character.length;
    return character;
  }

  #alternatives(options: Options): Part {
    const parts = [this.#row(options)];
    while (this.#take('|')) parts.push(this.#row(options));
    return { source: parts.map(({ source }) => source).join('|'), empty: parts.some(({ empty }) => empty) };
  }

  /** Translates parts one after another, up to `|`, `)` or the end. */
  #row(options: Options): Part {
    let source = '';
    let empty = true;
    let before = '';
    while (this.#at < this.pattern.length && !this.#peek('|') && !this.#peek(')')) {
      if (this.#match(/\(\?#[^)]*\)/y)) continue;
      const lone = this.#match(/\(\?([a-z]*)(?:-([a-z]*))?\)/y);
      // Options alone hold to the end of the group, including its alternatives.
      const part = lone
        ? this.#group(this.#alternatives(this.#changed(options, lone)))
        : this.#repeated(options);
      const { folded = '' } = part;
      if (LIGATURES.includes(before + folded) || JOINS.test(folded)) {
        this.#refuse('(?i) over letters that are one character too');
      }
      before = folded;
      source += part.source;
      empty &&= part.empty;
    }
    return { source, empty };
  }

  #group({ source, empty }: Part): Part {
    return { source: `(?:${source})`, empty };
  }

  #changed(options: Options, [, on, off = '']: RegExpExecArray): Options {
    if (!/^[im]*$/.test(on + off)) this.#refuse(`the option ${(on + off).replace(/[im]/g, '')[0]}`);
    const value = (letter: string, before: boolean) =>
      off.includes(letter) ? false : on.includes(letter) || before;
    return {
      ...options,
      ignoreCase: value('i', options.ignoreCase),
      dotAll: value('m', options.dotAll),
    };
  }

  /** Translates a part with the quantifiers after it. */
  #repeated(options: Options): Part {
    let part = this.#atom(options);
    for (;;) {
      const simple = this.#match(/([*+?])([+?]?)/y);
      const counted = simple ? null : this.#match(/\{(?:(\d+)(,?)(\d*)|,(\d+))\}(\??)/y);
      if (!simple && !counted) return part;
      if (part.looks) this.#refuse('a quantifier after an anchor or a look-around');
      // The engines differ when a repetition matches nothing.
      if (part.empty && simple?.[1] !== '?') this.#refuse('a repeat of a part that can match nothing');
      const once = `(?:${part.source})`;
      if (simple?.[1] === '?' && part.empty) {
        const source = simple[2] === '?' ? `(?:|${part.source})` : `(?:${part.source}|)`;
        part = simple[2] === '+' ? this.#atomic({ source, empty: true }, options) : { source, empty: true };
      } else if (simple) {
        const [, mark, mode] = simple;
        const source = once + mark;
        const empty = mark !== '+';
        part = mode === '+' ? this.#atomic({ source, empty }, options) : { source: source + mode, empty };
      } else if (counted) {
        const [, least, comma, most, onlyMost, lazy] = counted;
        const from = Number(least ?? 0);
        const to = Number(onlyMost ?? (comma ? most || Number.POSITIVE_INFINITY : from));
        if (from > to || from > 1000 || (to > 1000 && to !== Number.POSITIVE_INFINITY)) {
          this.#refuse('a repeat out of order or of more than 1000');
        }
        const times = `{${from},${to === Number.POSITIVE_INFINITY ? '' : to}}`;
        // A fixed count with a question mark is optional, not lazy.
        part =
          lazy && from === to && !comma && onlyMost === undefined
            ? { source: `(?:${once}${times})?`, empty: true }
            : { source: once + times + lazy, empty: from === 0 };
      }
      part = this.#group(part);
    }
  }

  /** A group that never backtracks, which JavaScript can express only as a look-ahead and a back-reference. */
  #atomic({ source, empty }: Part, { behind }: Options): Part {
    if (behind) this.#refuse('an atomic group within a look-behind');
    const name = `a${this.#atoms++}`;
    return { source: `(?:(?=(?<${name}>${source}))\\k<${name}>)`, empty };
  }

  #atom(options: Options): Part {
    if (this.#match(/[*+?]|\{(?:\d+,?\d*|,\d+)\}/y)) this.#refuse('a quantifier with nothing to repeat');
    if (this.#take('(')) return this.#parenthesis(options);
    if (this.#take('[')) return { source: this.#brackets(options).source, empty: false };
    if (this.#take('.')) return { source: options.dotAll ? ANY : '[^\\n]', empty: false };
    if (this.#take('^')) return { source: LINE_START, empty: true, looks: true };
    if (this.#take('$')) return { source: `(?=\\n|${END})`, empty: true, looks: true };
    if (this.#take('\\')) return this.#escape(options);
    return this.#literal(this.#character(), options);
  }

  #parenthesis(options: Options): Part {
    const behind = { ...options, behind: true };
    const closed = (inner: Options): Part => {
      const part = this.#alternatives(inner);
      if (!this.#take(')')) this.#refuse('a ( without its )');
      return part;
    };
    const look = (start: string, inner: Options): Part => {
      return { source: `${start}${closed(inner).source})`, empty: true, looks: true };
    };
    if (!this.#take('?')) return this.#group(closed(options));
    if (this.#take(':')) return this.#group(closed(options));
    if (this.#take('=')) return look('(?=', { ...options, behind: false });
    if (this.#take('!')) return look('(?!', { ...options, behind: false });
    if (this.#take('<=')) return look('(?<=', behind);
    if (this.#take('<!')) return look('(?<!', behind);
    if (this.#take('>')) return this.#atomic(closed(options), options);
    if (this.#match(/<[A-Za-z_]\w*>/y)) return this.#group(closed(options));
    const changed = this.#match(/([a-z]*)(?:-([a-z]*))?:/y);
    if (changed) return this.#group(closed(this.#changed(options, changed)));
    return this.#refuse('a group of this kind');
  }

  #literal(character: string, { ignoreCase }: Options): Part {
    const plain = { source: CodePoints.of(character).source, empty: false };
    if (!ignoreCase) return plain;
    if (!CASED.test(character)) return { ...plain, folded: character };
    if (character > '\x7f') this.#refuse('(?i) over letters outside ASCII');
    const folded = character.toLowerCase();
    return { source: `[${folded}${folded.toUpperCase()}${FOLDS[folded] ?? ''}]`, empty: false, folded };
  }

  #escape(options: Options): Part {
    const place = this.#match(/[bBAzZ]/y)?.[0];
    if (place !== undefined) {
      const sources: Record<string, string> = { A: START, z: END, Z: `(?=\\n?${END})` };
      return { source: sources[place] ?? boundary(place === 'b'), empty: true, looks: true };
    }
    if (this.#take('R')) {
      return this.#atomic({ source: '\\r\\n|[\\n-\\r\\u0085\\u2028\\u2029]', empty: false }, options);
    }
    const set = this.#set(options, false);
    if (set !== undefined) return { source: set.source, empty: false };
    return this.#literal(String.fromCodePoint(this.#escaped()), options);
  }

  /** The set that an escape names, read after its `\`; undefined if the escape names no set. */
  #set({ ignoreCase }: Options, inBrackets: boolean): CodePoints | undefined {
    const short = this.#match(/[dswhDSWH]/y)?.[0];
    if (short !== undefined) {
      const set = shorthand(short.toLowerCase(), inBrackets)!;
      return short === short.toLowerCase() ? set : set.not();
    }
    const named = this.#match(/([pP])\{(\^?)([^}]*)\}/y);
    if (!named) return undefined;
    const [, kind, caret, name] = named;
    const set = property(name);
    if (set === undefined) return this.#refuse(`the property ${name}`);
    // Folding does not change these sets; other sets would need the letters of the other case too.
    if (ignoreCase && !/^[NPSZ][a-z]?$/.test(name)) this.#refuse(`(?i) over the property ${name}`);
    return (kind === 'P') === (caret === '^') ? set : set.not();
  }

  /** The character that an escape stands for, read after its `\`. */
  #escaped(): number {
    const hexadecimal = this.#match(
      /x\{([0-9A-Fa-f]{1,8})\}|u([0-9A-Fa-f]{4})|x([0-7][0-9A-Fa-f]?)(?![0-9A-Fa-f])/y,
    );
    if (hexadecimal) {
      const code = Number.parseInt(hexadecimal[1] ?? hexadecimal[2] ?? hexadecimal[3], 16);
      if (code <= 0x10ffff && (code < 0xd800 || code > 0xdfff)) return code;
      this.#refuse('a number that is no character');
    }
    if (this.#at >= this.pattern.length) this.#refuse('a \\ at its end');
    const character = this.#character();
    const code = CONTROLS[character];
    if (code !== undefined) return code;
    if (/[A-Za-z0-9]/.test(character)) this.#refuse(`\\${character}`);
    return character.codePointAt(0)!;
  }

  /** A set in brackets, read after its `[`. */
  #brackets(options: Options): CodePoints {
    const negated = this.#take('^');
    let all: CodePoints | undefined;
    let members: CodePoints[] = [];
    const operand = (): CodePoints => {
      if (members.length === 0) this.#refuse('an && without its set');
      const union = CodePoints.union(members);
      members = [];
      return all?.and(union) ?? union;
    };
    for (let first = true; first || !this.#peek(']'); first = false) {
      if (this.#at >= this.pattern.length) this.#refuse('a [ without its ]');
      if (this.#take('&&')) all = operand();
      else members.push(this.#member(options));
    }
    this.#at++;
    all = operand();
    return negated ? all.not() : all;
  }

  /** A member of a set: a character, a range, or another set. */
  #member(options: Options): CodePoints {
    const posix = this.#match(/\[:(\^?)([a-z]+):\]/y);
    if (posix) {
      const [, caret, name] = posix;
      const set = posixSet(name);
      if (set === undefined) return this.#refuse(`the set ${name}`);
      if (options.ignoreCase && !/^(digit|punct|space|xdigit|blank|cntrl)$/.test(name)) {
        this.#refuse(`(?i) over the set ${name}`);
      }
      return caret ? set.not() : set;
    }
    if (this.#take('[')) return this.#brackets(options);
    const from = this.#bound(options);
    if (typeof from !== 'number') {
      if (this.#match(/-(?!\])/y)) this.#refuse('a range that begins with a set');
      return from;
    }
    let to = from;
    if (this.#match(/-(?!\]|&&)/y)) {
      if (this.#peek('[')) this.#refuse('a range that ends with a set');
      const end = this.#bound(options);
      if (typeof end !== 'number' || end < from) return this.#refuse('a range out of order');
      to = end;
      if (this.#match(/-(?!\]|&&)/y)) this.#refuse('a - after a range');
    }
    return CodePoints.range(from, to).or(this.#otherCase(from, to, options));
  }

  /** A bound of a range: a character, or the set that an escape names. */
  #bound(options: Options): CodePoints | number {
    if (!this.#take('\\')) return this.#character().codePointAt(0)!;
    if (this.#take('b')) return 8;
    return this.#set(options, true) ?? this.#escaped();
  }

  /** The letters of the other case of a range of characters. */
  #otherCase(from: number, to: number, { ignoreCase }: Options): CodePoints {
    let others = '';
    for (let code = from; ignoreCase && code <= to; code++) {
      const character = String.fromCodePoint(code);
      if (!CASED.test(character)) continue;
      if (code > 0x7f) this.#refuse('(?i) over letters outside ASCII');
      const letter = character.toLowerCase();
      others += letter + letter.toUpperCase() + (FOLDS[letter] ?? '');
    }
    return CodePoints.of(others);
  }
}

/** An expression for the places where a word begins or ends, or for all others. */
function boundary(at: boolean): string {
  const word = shorthand('w', false)!.source;
  const [one, other] = at ? ['!', '='] : ['=', '!'];
  return `(?:(?<=${word})(?${one}${word})|(?<!${word})(?${other}${word}))`;
}

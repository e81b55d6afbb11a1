/**
 * Python's pickles of plain values: dicts of texts and whole numbers, as protocols 0 to 5 write them. A pickle is a
 * program. This reader follows the few instructions that build such values, calls nothing, and refuses any other
 * instruction by name.
 */
import { DataError } from '../errors.js';

export type PickleKey = string | number;
export type PickleValue = PickleKey | PickleDict;
export type PickleDict = ReadonlyMap<PickleKey, PickleValue>;

type Dict = Map<PickleKey, PickleValue>;

/** Marks where the items of a dict begin on the stack. */
const MARK = Symbol('mark');

/** What other instructions make or do, by their letters. */
const REFUSED: readonly (readonly [letters: string, what: string])[] = [
  ['N', 'None'],
  ['L\x8a\x8b', 'a large number'],
  ['FG', 'a float'],
  ['\x88\x89', 'a boolean'],
  ['STUBC\x8e\x96\x97\x98', 'bytes'],
  [']l', 'a list'],
  [')t\x85\x86\x87', 'a tuple'],
  ['\x8f\x91', 'a set'],
  ['c\x93', 'an import (GLOBAL)'],
  ['R', 'a call (REDUCE)'],
  ['io\x81\x92b', 'an object'],
  ['\x82\x83\x84', 'an extension'],
  ['PQ', 'a persistent id'],
];

/**
 * Reads a pickle that holds a dict.
 *
 * @param where the file, for messages
 * @param hint a remedy if the pickle cannot be read, for messages
 * @throws DataError for a damaged pickle, and for a pickle of other values
 */
export function readPickledDict(bytes: Uint8Array, where: string, hint?: string): PickleDict {
  const dict = new Unpickler(bytes, where, hint).read();
  if (!(dict instanceof Map)) throw new DataError(where, 'must hold a dict', typeof dict, hint);
  return dict;
}

class Unpickler {
  readonly #view: DataView;
  readonly #stack: (PickleKey | Dict | typeof MARK)[] = [];
  readonly #memo = new Map<number, PickleKey | Dict>();
  #at = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly where: string,
    private readonly hint: string | undefined,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  read(): PickleValue {
    for (;;) {
      const at = this.#at;
      const letter = String.fromCharCode(this.#number(1));
      switch (letter) {
        case '\x80': // PROTO
          if (this.#number(1) > 5) throw this.#damaged(at, 'of a protocol from 0 to 5');
          break;
        case '\x95': // FRAME: the instructions do not need its length
          this.#take(8);
          break;
        case '}': // EMPTY_DICT
          this.#stack.push(new Map());
          break;
        case '(': // MARK
          this.#stack.push(MARK);
          break;
        case 'd': // DICT
          this.#setItems(new Map(), this.#popToMark());
          break;
        case 's': // SETITEM
          this.#setItems(undefined, this.#stack.splice(-2));
          break;
        case 'u': // SETITEMS
          this.#setItems(undefined, this.#popToMark());
          break;
        case 'K': // BININT1
          this.#stack.push(this.#number(1));
          break;
        case 'M': // BININT2
          this.#stack.push(this.#number(2));
          break;
        case 'J': // BININT
          this.#stack.push(this.#number(4) | 0);
          break;
        case 'I': // INT
          this.#stack.push(this.#int(at));
          break;
        case '\x8c': // SHORT_BINUNICODE
          this.#stack.push(this.#text(this.#number(1)));
          break;
        case 'X': // BINUNICODE
          this.#stack.push(this.#text(this.#number(4)));
          break;
        case '\x8d': // BINUNICODE8
          this.#stack.push(this.#text(this.#number(4) + 2 ** 32 * this.#number(4)));
          break;
        case 'V': // UNICODE
          this.#stack.push(unescaped(this.#line()));
          break;
        case '\x94': // MEMOIZE
          this.#memo.set(this.#memo.size, this.#top());
          break;
        case 'q': // BINPUT
          this.#memo.set(this.#number(1), this.#top());
          break;
        case 'r': // LONG_BINPUT
          this.#memo.set(this.#number(4), this.#top());
          break;
        case 'p': // PUT
          this.#memo.set(Number(this.#line()), this.#top());
          break;
        case 'h': // BINGET
          this.#get(this.#number(1));
          break;
        case 'j': // LONG_BINGET
          this.#get(this.#number(4));
          break;
        case 'g': // GET
          this.#get(Number(this.#line()));
          break;
        case '.': {
          // STOP
          const value = this.#top();
          if (this.#stack.length !== 1) throw this.#damaged(at, 'of one value');
          return value;
        }
        default: {
          const found = REFUSED.find(([letters]) => letters.includes(letter))?.[1];
          throw this.#other(found ?? `instruction ${letter.charCodeAt(0)}`, at);
        }
      }
    }
  }

  /** Adds items, keys and values in turn, to a new dict or to the dict on the stack. */
  #setItems(made: Dict | undefined, items: readonly unknown[]): void {
    const dict = made ?? this.#stack.at(-1);
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw this.#damaged(this.#at - 1, 'whole');
    for (let i = 0; i < items.length; i += 2) {
      const [key, value] = [items[i], items[i + 1]];
      const isKey = typeof key === 'string' || typeof key === 'number';
      if (!isKey || value === MARK) throw this.#damaged(this.#at - 1, 'whole');
      dict.set(key, value as PickleValue);
    }
    if (made !== undefined) this.#stack.push(made);
  }

  #popToMark(): unknown[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw this.#damaged(this.#at - 1, 'whole');
    return this.#stack.splice(mark).slice(1);
  }

  #top(): PickleKey | Dict {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw this.#damaged(this.#at - 1, 'whole');
    return value;
  }

  #get(place: number): void {
    const value = this.#memo.get(place);
    if (value === undefined) throw this.#damaged(this.#at - 1, 'whole');
    this.#stack.push(value);
  }

  #take(length: number): Uint8Array {
    if (length > this.bytes.length - this.#at) throw this.#damaged(this.#at, 'whole');
    this.#at += length;
    return this.bytes.subarray(this.#at - length, this.#at);
  }

  /** An unsigned number of 1, 2 or 4 bytes. */
  #number(width: 1 | 2 | 4): number {
    const at = this.#at;
    this.#take(width);
    if (width === 1) return this.#view.getUint8(at);
    return width === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  /** A line of protocol 0, which is text. */
  #line(): string {
    const end = this.bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#damaged(this.#at, 'whole');
    const line = new TextDecoder('latin1').decode(this.#take(end - this.#at));
    this.#at++;
    return line;
  }

  #int(at: number): number {
    const line = this.#line();
    // 00 and 01 are the booleans of protocol 0.
    if (!/^-?\d{1,10}$/.test(line) || line === '00' || line === '01') {
      throw this.#other(`the number ${line}`, at);
    }
    return Number(line);
  }

  #text(length: number): string {
    const at = this.#at;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.#take(length));
    } catch (error) {
      if (error instanceof DataError) throw error;
      throw this.#damaged(at, 'of texts in UTF-8');
    }
  }

  #other(found: string, at: number): DataError {
    const rule = 'must be a pickle of dicts, texts and whole numbers';
    return new DataError(this.where, rule, `${found} at byte ${at}`, this.hint);
  }

  #damaged(at: number, what: string): DataError {
    return new DataError(this.where, `must be a pickle ${what}`, `other bytes at ${at}`, this.hint);
  }
}

/** Decodes Python's raw-unicode-escape: Latin-1, and \uXXXX or \UXXXXXXXX for all other characters. */
function unescaped(line: string): string {
  return line.replace(/\\u([0-9a-fA-F]{4})|\\U(0010[0-9a-fA-F]{4}|000[0-9a-fA-F]{5})/g, (_, short, long) =>
    String.fromCodePoint(Number.parseInt(short ?? long, 16)),
  );
}

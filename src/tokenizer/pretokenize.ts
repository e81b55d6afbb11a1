/**
 * GPT-2's pre-tokenisation: splits text into the words that byte-pair merges never cross.
 *
 * The rule is this expression, matched at each position, first alternative first:
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * with \s meaning Unicode's White_Space, as in the original. JavaScript's own \s differs: it has U+FEFF and lacks
 * U+0085. Its \p{L} and \p{N} change with the engine, so the sets come from a table. A scanner over character classes
 * is used because it is more than twice as fast as the expression; a test checks that the two are equal.
 */

import { classOf } from './pipeline/unicode.js';

const OTHER = 0;
const LETTER = 1;
const NUMBER = 2;
const SPACE = 3;
/** Half of a surrogate pair: the class is that of the whole code point. */
const SURROGATE = 4;
/** Added to the class of a character of two units. */
const PAIR = 8;

const SETS = [
  [LETTER, classOf('letter')],
  [NUMBER, classOf('number')],
  [SPACE, classOf('space')],
] as const;
const CLASSES = new Uint8Array(0x10000).fill(SURROGATE, 0xd800, 0xe000);
for (const [kind, set] of SETS) set.eachRun((first, last) => CLASSES.fill(kind, first, last + 1));
/** Classes of the characters beyond 16 bits, with PAIR; 0 until a character is first met. */
const PAIR_CLASSES = new Uint8Array(0x110000 - 0x10000);

/** The class of the character at `i`, with PAIR if it has two units; lone surrogates are OTHER. */
function classAt(text: string, i: number): number {
  const known = CLASSES[text.charCodeAt(i)];
  if (known !== SURROGATE) return known;
  const codePoint = text.codePointAt(i)!;
  const beyond = codePoint - 0x10000;
  if (beyond < 0) return OTHER;
  PAIR_CLASSES[beyond] ||= PAIR | (SETS.find(([, set]) => set.has(codePoint))?.[0] ?? OTHER);
  return PAIR_CLASSES[beyond];
}

/** Calls `word` with the start and end of each pre-token, in order; together the pre-tokens are the text. */
export function preTokenize(text: string, word: (start: number, end: number) => void): void {
  const end = text.length;
  let i = 0;
  while (i < end) {
    const start = i;
    const first = text.charCodeAt(i);
    if (first === 0x27) {
      const length = contractionAt(text, i);
      if (length > 0) {
        i += length;
        word(start, i);
        continue;
      }
    }
    if (first === 0x20 && i + 1 < end && classAt(text, i + 1) !== SPACE) i++;
    let found = classAt(text, i);
    const kind = found & ~PAIR;
    do {
      i += found >= PAIR ? 2 : 1;
      if (i >= end) break;
      found = classAt(text, i);
    } while ((found & ~PAIR) === kind);
    // A run of white space leaves its last character to the word that follows it.
    if (kind === SPACE && i < end && i - start > 1) i--;
    word(start, i);
  }
}

/** The length of the contraction ('s 't 'm 'd 're 've 'll) that begins at the apostrophe at `i`, or 0. */
function contractionAt(text: string, i: number): number {
  const next = text[i + 1];
  if (next === 's' || next === 't' || next === 'm' || next === 'd') return 2;
  const two = text.slice(i + 1, i + 3);
  return two === 're' || two === 've' || two === 'll' ? 3 : 0;
}

/**
 * Finds the last place where the text can be cut without changing its pre-tokens: before white space that
 * follows something else, since no pre-token crosses that place and none looks back. Returns 0 if there is none.
 */
export function cutBeforeSpace(text: string): number {
  for (let i = text.length - 1; i > 0; i--) {
    if (CLASSES[text.charCodeAt(i)] === SPACE && CLASSES[text.charCodeAt(i - 1)] !== SPACE) return i;
  }
  return 0;
}

/** Copies a string, so that keeping it does not keep the long text in memory from which it was cut. */
export function ownString(slice: string): string {
  return decoder.decode(encoder.encode(slice));
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

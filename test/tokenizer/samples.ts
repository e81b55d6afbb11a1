/** Texts for round trips, and a generator of odd ones. */
import { hashWords } from '../../src/nn/random.js';

export const SAMPLES: readonly string[] = [
  '',
  ' ',
  '\n\n\n  \t ',
  "It's 10 o'clock; we'll see they've gone.",
  'function f(x) {\n  return x ** 2; // twice\n}\n\n\n\tif (a&&b) { c[0] += 1e-5; }',
  'Съешь ещё этих мягких булок 敏捷的棕色狐狸 日本語テキスト 한국어 العربية हिन्दी ไทย',
  '👨‍👩‍👧‍👦🏳️‍🌈 🇨🇭👍🏽 𝒜𝟙𠮷',
  'cafe\u0301 \u0301\u0302 a\u0308',
  `${' '.repeat(40)}x${'\n'.repeat(15)}y${'\t'.repeat(7)}  z   `,
  '<|endoftext|> and <|endoftext|>',
  '\u0000\u0001\u007f\u00a0\u0085\u2028\u3000\ufeff\ufffd',
];

const ALPHABET = [..." \n\t\u00a0\u0085\ufeff'strevmld19²aB.,!?é日😀𝟙\u0301-ñ_"];

/** Pseudo-random text rich in what pre-tokenisation looks at. */
export function oddText(seed: number, length: number): string {
  return Array.from({ length }, (_, i) => ALPHABET[hashWords(seed, i) % ALPHABET.length]).join('');
}

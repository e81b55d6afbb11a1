/** What `test/fixtures/tokenizers/make_tokenizers.py` wrote, and how it hashes. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readNormalizer } from '../../src/tokenizer/pipeline/normalizers.js';
import { fromOniguruma } from '../../src/tokenizer/pipeline/oniguruma.js';
import { readPreTokenizer } from '../../src/tokenizer/pipeline/pre-tokenizers.js';

export type Parts = Record<string, unknown>;

export interface Fixture {
  readonly texts: readonly string[];
  readonly words: readonly { settings: Parts; words: string[]; texts?: string[] }[];
  readonly tried: readonly string[];
  readonly models: readonly { name: string; tokenizer: Parts; ids: number[][]; decoded: string[] }[];
  readonly decoders: readonly { decoder: unknown; tokens: string[][]; texts: string[] }[];
  readonly everywhere: readonly { settings: Parts; hash: number }[];
  readonly unassigned: readonly [number, number][];
  readonly sets: readonly { expression: string; hash: number }[];
}

export function readFixture(): Fixture {
  const file = new URL('../../../test/fixtures/tokenizers/tokenizers.json', import.meta.url);
  return JSON.parse(readFileSync(fileURLToPath(file), 'utf8'));
}

/** A name for settings, without what is too long for one. */
export function nameOf(settings: unknown): string {
  return JSON.stringify(settings).slice(0, 160);
}

/** All but surrogates. */
const CODE_POINTS = Array.from({ length: 0x110000 }, (_, code) => code).filter(
  (code) => code < 0xd800 || code > 0xdfff,
);

/** FNV-1a of numbers, 32 bits at a time. */
class Hash {
  value = 0x811c_9dc5;

  add(number: number): void {
    this.value = Math.imul(this.value ^ number, 0x0100_0193) >>> 0;
  }
}

/** Of what comes of `aXb Xa` for every X, 256 to a text: of each piece its characters and a 0. */
export function hashEverywhere({ normalizer, pre_tokenizer }: Parts): number {
  const normalize = readNormalizer(normalizer, 'normalizer');
  const cut = readPreTokenizer(pre_tokenizer, 'pre_tokenizer');
  const hash = new Hash();
  for (let start = 0; start < CODE_POINTS.length; start += 256) {
    const some = CODE_POINTS.slice(start, start + 256).map((code) => String.fromCodePoint(code));
    const normalized = { text: some.map((character) => `a${character}b ${character}a`).join(''), lead: 0 };
    normalize(normalized);
    for (const piece of cut({ texts: [normalized.text], leads: [] }).texts) {
      for (const character of piece) hash.add(character.codePointAt(0)!);
      hash.add(0);
    }
  }
  return hash.value;
}

/** Of the code points that an expression for one character matches, but for some runs. */
export function hashMembers(expression: string, without: Fixture['unassigned']): number {
  const runs = new RegExp(`${fromOniguruma(expression, 'set').source}+`, 'gu');
  const left = new Uint8Array(0x110000).fill(1);
  for (const [first, last] of without) left.fill(0, first, last + 1);
  const hash = new Hash();
  for (let start = 0; start < CODE_POINTS.length; start += 0x1000) {
    const some = CODE_POINTS.slice(start, start + 0x1000).filter((code) => left[code]);
    for (const [run] of some
      .map((code) => String.fromCodePoint(code))
      .join('')
      .matchAll(runs)) {
      for (const character of run) hash.add(character.codePointAt(0)!);
    }
  }
  return hash.value;
}

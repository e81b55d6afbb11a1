/** Texts for round trips, a generator of odd ones, and files as they were once written. */
import { hashWords } from '../../src/random.js';
import type { TokenizerJSON } from '../../src/tokenizer/tokenizer.js';

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

/**
 * A byte-level tokenizer.json as `tokenizers` wrote it before models had a type: the fields of openai-community/gpt2,
 * and merges as texts.
 */
export function oldestFile(json: TokenizerJSON): TokenizerJSON {
  const { vocab, merges } = json.model as { vocab: unknown; merges: readonly (readonly string[])[] };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true };
  return {
    ...json,
    pre_tokenizer: byteLevel,
    post_processor: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true },
    model: {
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      vocab,
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}

const WORDS = ['<|endoftext|>', '<unk>', '▁Once', '▁upon', '▁a', '▁time', 'less', '▁Assistant:'];

/** A tokenizer of a few words, whose decoder takes away the space before the first token of a text, as Llama's does. */
export const SPACED: TokenizerJSON = {
  added_tokens: [{ id: 0, content: '<|endoftext|>', special: true }],
  pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: {
    type: 'WordLevel',
    unk_token: '<unk>',
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
  },
};

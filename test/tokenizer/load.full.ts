/**
 * Thousands of damaged tokenizer.json files: each makes a tokenizer that keeps its word, or is refused. Belongs to the
 * long run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJSON } from '../../src/formats/json.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { Fuzz, fuzz } from '../fuzz.js';
import { readFixture } from './huggingface-fixture.js';

const eot = { id: 0, content: '<|endoftext|>', special: true };
const KINDS: Record<string, unknown> = {
  bytes: { type: 'bytes' },
  'byte-level BPE': trainBpe(['the cat and the hat, the cats and the hats'], 270).toJSON(),
  'other BPE': {
    ...trainBpe(['the cat and the hat, the cats and the hats'], 270).toJSON(),
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true },
  },
  WordPiece: {
    added_tokens: [eot, { id: 1, content: '[UNK]', special: true }],
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] },
    pre_tokenizer: { type: 'Whitespace' },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: { '<|endoftext|>': 0, '[UNK]': 1, the: 2, cat: 3, '##s': 4 },
    },
  },
  Unigram: {
    added_tokens: [{ id: 1, content: '</s>', special: true }],
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [
        ['<unk>', 0],
        ['</s>', 0],
        ['▁the', -1],
        ['▁cat', -2],
        ['s', -3],
        ['▁', -4],
        ['c', -5],
      ],
    },
  },
};
const TEXT = 'The cat’s hats, the cats: 42 größe 😀\n\n  the end';

async function use(json: unknown): Promise<void> {
  const tokenizer = await tokenizerFromJSON(json, 't.json');
  const ids = tokenizer.encode(TEXT);
  assert.ok(ids.every((id) => id < 65_536));
  assert.equal(typeof tokenizer.decode(ids), 'string');
  const decoder = tokenizer.decoder();
  for (const id of ids) decoder.push(id);
  decoder.end();
}

const OTHERS = Object.fromEntries(readFixture().models.map(({ name, tokenizer }) => [name, tokenizer]));

for (const [seed, [kind, json]] of Object.entries(OTHERS).entries()) {
  test(`${kind}: 500 files with damaged values`, async () => {
    const random = new Fuzz(40 + seed);
    await fuzz(500, ['DataError'], () => use(random.json(json)));
  });
}

for (const [seed, [kind, json]] of Object.entries(KINDS).entries()) {
  test(`${kind}: 3,000 files with damaged values`, async () => {
    const random = new Fuzz(10 + seed);
    await fuzz(3000, ['DataError'], () => use(random.json(json)));
  });

  test(`${kind}: 3,000 files with damaged bytes`, async () => {
    const random = new Fuzz(20 + seed);
    const bytes = new TextEncoder().encode(JSON.stringify(json));
    await fuzz(3000, ['DataError', 'SyntaxError'], () =>
      use(parseJSON(new TextDecoder().decode(random.bytes(bytes)))),
    );
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { createTokenizer, tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { SAMPLES } from './samples.js';

const eot = { id: 0, content: '<|endoftext|>', special: true };
const wordPiece = {
  added_tokens: [
    { id: 0, content: '[SEP]', special: true },
    { id: 1, content: '[UNK]', special: true },
  ],
  normalizer: { type: 'Lowercase' },
  pre_tokenizer: { type: 'Whitespace' },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: { '[SEP]': 0, '[UNK]': 1, hello: 2, wor: 3, '##ld': 4, sep: 5, '[': 6, ']': 7 },
  },
};

test('bytes: an id for each byte of UTF-8, and one for the end of the text', async () => {
  const bytes = await createTokenizer('bytes');
  assert.equal(bytes.vocabSize, 257);
  assert.equal(bytes.eot, 256);
  assert.deepEqual([...bytes.encode('aé')], [97, 0xc3, 0xa9]);
  for (const text of SAMPLES) assert.equal(bytes.decode(bytes.encode(text)), text);
  assert.equal(bytes.decode([97, 256]), 'a<|endoftext|>');
  const decoder = bytes.decoder();
  assert.deepEqual(
    [0xf0, 0x9f, 0x98, 0x80].map((id) => decoder.push(id)),
    ['', '', '', '😀'],
  );
  assert.throws(() => bytes.decode([257]), /tokenizer bytes: a token id .*, got 257/);
});

test('bytes and gpt2 are remembered by their names', async () => {
  for (const name of ['bytes', 'gpt2']) {
    const tokenizer = await createTokenizer(name);
    assert.deepEqual(tokenizer.toJSON(), { type: name });
    assert.equal((await tokenizerFromJSON({ type: name })).name, name);
  }
});

test('an unknown tokenizer is refused by name', async () => {
  await assert.rejects(createTokenizer('gpt3'), {
    name: 'ConfigError',
    message: "tokenizer: must be one of bytes, gpt2, got 'gpt3'",
  });
});

test('other Hugging Face models go through their library', async () => {
  const tokenizer = await tokenizerFromJSON(wordPiece, 'w.json');
  assert.equal(tokenizer.name, 'wordpiece-8');
  assert.equal(tokenizer.vocabSize, 8);
  assert.equal(tokenizer.eot, 0);
  assert.equal(tokenizer.cuttable, false);
  assert.deepEqual([...tokenizer.encode('Hello WORLD xyz')], [2, 3, 4, 1]);
  assert.equal(tokenizer.decode([2, 3, 4, 0, 2]), 'hello world[SEP]hello');
  const decoder = tokenizer.decoder();
  assert.deepEqual(
    [2, 3, 4].map((id) => decoder.push(id)),
    ['hello', ' wor', 'ld'],
  );
  assert.deepEqual(tokenizer.toJSON(), wordPiece);
  assert.throws(() => tokenizer.decode([8]), /a token id must be a whole number from 0 to 7/);
});

test('a special token spelled in the text is text for other models too', async () => {
  const tokenizer = await tokenizerFromJSON(wordPiece, 'w.json');
  assert.ok(![...tokenizer.encode('hello [SEP]')].includes(0));
});

test('byte-level files with other settings do not use our encoder', async () => {
  const json = trainBpe(['aa bb aa'], 260).toJSON();
  const prefixed = { ...json, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } };
  const tokenizer = await tokenizerFromJSON(prefixed);
  assert.equal(tokenizer.cuttable, false);
  const ours = await tokenizerFromJSON(json);
  assert.deepEqual(tokenizer.encode('aa'), ours.encode(' aa'));
});

test('a token has its bytes, also where they are a part of a character', async () => {
  const json = trainBpe(['aa bb aa'], 260).toJSON();
  const prefixed = { ...json, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } };
  const fallback = {
    added_tokens: [{ id: 1, content: '</s>', special: true }],
    decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      vocab: { '<unk>': 0, '</s>': 1, '<0xC3>': 2, '<0xA9>': 3, é: 4, '\ufffd': 5, '<0x41>': 6 },
      merges: [],
    },
  };
  for (const tokenizer of await Promise.all(
    [{ type: 'bytes' }, json, prefixed, fallback].map((one) => tokenizerFromJSON(one)),
  )) {
    const bytes = (text: string) =>
      Array.from(tokenizer.encode(text), (id) => [...tokenizer.bytesOf(id)]).flat();
    assert.deepEqual(bytes('é').slice(-2), [0xc3, 0xa9], tokenizer.name);
    assert.equal(Buffer.from(tokenizer.bytesOf(tokenizer.eot)).toString(), tokenizer.decode([tokenizer.eot]));
    assert.throws(() => tokenizer.bytesOf(60_000), /a token id must be a whole number/);
  }
  const other = await tokenizerFromJSON(fallback);
  assert.deepEqual(
    [2, 3, 4, 5, 6].map((id) => [...other.bytesOf(id)]),
    [[0xc3], [0xa9], [0xc3, 0xa9], [0xef, 0xbf, 0xbd], [0x41]],
  );
});

test('a vocabulary that token shards cannot hold is refused', async () => {
  const vocab = Object.fromEntries(Array.from({ length: 65_537 }, (_, i) => [`t${i}`, i]));
  const json = { added_tokens: [eot], model: { type: 'WordPiece', vocab } };
  await assert.rejects(tokenizerFromJSON(json, 'big.json'), {
    name: 'DataError',
    message:
      'big.json: the vocabulary must have at most 65536 ids, as token shards store 16 bits, got 65537; ' +
      'choose a tokenizer with a smaller vocabulary',
  });
});

test('what the library fails over only in use is an error of the file', async () => {
  const json = {
    added_tokens: [{ id: 1, content: '</s>', special: true }],
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [
        ['<unk>', 0],
        ['</s>', 0],
        [['b', 'c'], -2],
        ['a', -3],
      ],
    },
  };
  const tokenizer = await tokenizerFromJSON(json);
  assert.throws(() => tokenizer.decode([2]), {
    name: 'DataError',
    message:
      /^tokenizer unigram-4: must be one that @huggingface\/tokenizers can use, got '.*'; its tokenizer/,
  });
});

test('damaged tokenizer files say what is wrong', async () => {
  const good = trainBpe(['aa bb aa bb'], 260).toJSON();
  const model = good.model as Record<string, unknown>;
  const rejects = (json: unknown, message: RegExp): Promise<void> =>
    assert.rejects(tokenizerFromJSON(json, 't.json'), { name: 'DataError', message });
  await rejects(null, /^t\.json: must be a JSON object, got 'null'$/);
  await rejects([], /^t\.json: must be a JSON object/);
  await rejects(
    { type: 'gpt3' },
    /^t\.json: must have a Hugging Face model, or a type of bytes, gpt2, got 'gpt3'$/,
  );
  await rejects({}, /got 'the fields \(none\)'$/);
  await rejects(
    { ...good, added_tokens: [] },
    /^t\.json: must have a token that ends a text, .*; name it in a file tokenizer_config\.json beside it/,
  );
  await rejects(
    { ...good, added_tokens: [{ id: -1 }] },
    /^t\.json: added_tokens\[0\]: must have an id and a content/,
  );
  await rejects({ ...good, model: { ...model, merges: 3 } }, /^t\.json: model\.merges: must be a list/);
  await rejects(
    { ...good, model: { ...model, merges: ['abc'] } },
    /model\.merges\[0\]: must be a pair of tokens/,
  );
  await rejects(
    { ...good, model: { ...model, merges: [['a', 'zz']] } },
    /model\.merges\[0\]: its tokens and their union must be in the vocabulary, got 'zz'/,
  );
  await rejects(
    { ...good, model: { ...model, vocab: { a: 1.5 } } },
    /the id of 'a' must be a whole number, got 1\.5/,
  );
  await rejects(
    { ...good, model: { type: 'Magic', vocab: {} } },
    /^t\.json: model\.type: must be one of BPE, WordPiece, Unigram, got 'Magic'$/,
  );
  await rejects(
    { ...good, normalizer: { type: 'Magic' } },
    /^t\.json: must be a tokenizer that @huggingface\/tokenizers can read, got/,
  );
});

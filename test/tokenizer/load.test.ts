import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sameByteLevel } from '../../src/tokenizer/bpe.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { isGpt2, loadGpt2 } from '../../src/tokenizer/gpt2.js';
import { byteLevelToJSON } from '../../src/tokenizer/huggingface-json.js';
import { createTokenizer, tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { oldestFile, SAMPLES } from './samples.js';

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

test('other Hugging Face models', async () => {
  const tokenizer = await tokenizerFromJSON(wordPiece, 'w.json');
  assert.equal(tokenizer.name, 'wordpiece-8');
  assert.equal(tokenizer.vocabSize, 8);
  assert.equal(tokenizer.eot, 0);
  assert.equal(tokenizer.cuttable, false);
  assert.deepEqual([...tokenizer.encode('Hello WORLD xyz')], [2, 3, 4, 1]);
  // An end of text ends a document.
  assert.equal(tokenizer.decode([2, 3, 4, 1, 0, 2]), 'hello world [UNK][SEP]hello');
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
    assert.equal(
      Buffer.from(tokenizer.bytesOf(tokenizer.eot!)).toString(),
      tokenizer.decode([tokenizer.eot!]),
    );
    assert.throws(() => tokenizer.bytesOf(60_000), /a token id must be a whole number/);
  }
  const other = await tokenizerFromJSON(fallback);
  assert.deepEqual(
    [2, 3, 4, 5, 6].map((id) => [...other.bytesOf(id)]),
    [[0xc3], [0xa9], [0xc3, 0xa9], [0xef, 0xbf, 0xbd], [0x41]],
  );
});

test('after a prompt the first token keeps its space; at the beginning of a text it has none', async () => {
  const ends = { added_tokens: [eot] };
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' };
  const vocab = (...tokens: string[]) =>
    Object.fromEntries(['<|endoftext|>', ...tokens].map((token, id) => [token, id]));
  const bpe = (...tokens: string[]) => ({ type: 'BPE', vocab: vocab(...tokens), merges: [] });
  const fallback = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ];
  const files = [
    { model: bpe('▁a', '▁time', 's'), decoder: metaspace },
    { model: bpe('▁a', '▁time', 's'), decoder: { type: 'Sequence', decoders: fallback } },
    {
      model: {
        type: 'WordPiece',
        unk_token: 'a',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
        vocab: vocab('a', 'time', '##s'),
      },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    },
    { model: bpe('a</w>', 'time</w>', 's'), decoder: { type: 'BPEDecoder', suffix: '</w>' } },
  ];
  for (const file of files) {
    const tokenizer = await tokenizerFromJSON({ ...ends, ...file });
    const decoded = (context: number[], ids: number[]) => {
      const decoder = tokenizer.decoder(context);
      return [...ids.map((id) => decoder.push(id)), decoder.end()].join('');
    };
    const [end, a, time] = [0, 1, 2];
    assert.equal(decoded([a], [time, a]), ' time a', JSON.stringify(file.decoder));
    assert.equal(decoded([end, a, a], [time]), ' time');
    for (const empty of [[], [end], [a, end]]) assert.equal(decoded(empty, [time, a]), 'time a');
    assert.equal(Buffer.from(tokenizer.bytesOf(time, a)).toString(), ' time');
    assert.equal(Buffer.from(tokenizer.bytesOf(time, end)).toString(), 'time');
    assert.equal(Buffer.from(tokenizer.bytesOf(time)).toString(), 'time');
  }
});

test('a stream after bytes has whole characters only, each once', async () => {
  const bytes = [0xe4, 0xbd, 0xa0].map((byte) => `<0x${byte.toString(16).toUpperCase()}>`);
  const model = {
    type: 'BPE',
    vocab: Object.fromEntries(['<|endoftext|>', 'a', '你', ...bytes].map((token, id) => [token, id])),
    merges: [],
  };
  const decoder = { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] };
  const tokenizer = await tokenizerFromJSON({ added_tokens: [eot], model, decoder });
  const push = (context: number[], ids: number[]) => {
    const stream = tokenizer.decoder(context);
    return [...ids.map((id) => stream.push(id)), stream.end()];
  };
  // Bytes after bytes: whole characters in the context, then whole ones in the stream.
  assert.deepEqual(push([1, 3, 4, 5], [3, 4, 5, 1]), ['', '', '你', 'a', '']);
  assert.deepEqual(push([3, 4, 5, 3, 4, 5], [1]), ['a', '']);
  assert.deepEqual(push([2], [3, 4]), ['', '', '\ufffd\ufffd']);
  // Half a character before, half after: what the stream has of it is none.
  assert.deepEqual(push([1, 3, 4], [5, 1]), ['', '\ufffda', '']);
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

test('a text that a model has no token for is an error of the tokenizer', async () => {
  const json = {
    added_tokens: [{ id: 1, content: '</s>', special: true }],
    model: {
      type: 'Unigram',
      vocab: [
        ['a', -3],
        ['</s>', 0],
      ],
    },
  };
  const tokenizer = await tokenizerFromJSON(json);
  assert.deepEqual([...tokenizer.encode('aa')], [0, 0]);
  assert.throws(() => tokenizer.encode('ab'), {
    name: 'DataError',
    message: 'tokenizer unigram-2: must be able to encode every text; the model has no unk_id',
  });
});

test('a file without model.type, as the oldest are, is what its other fields make it', async () => {
  const { type: _type, ...model } = wordPiece.model;
  const untyped = await tokenizerFromJSON({ ...wordPiece, model });
  assert.equal(untyped.name, 'wordpiece-8');
  const byteLevel = trainBpe(['aa bb aa bb'], 260);
  const old = oldestFile(byteLevel.toJSON());
  const own = await tokenizerFromJSON(old);
  assert.equal(own.name, byteLevel.name);
  assert.ok(sameByteLevel(own, byteLevel));
  const rejects = (model: unknown, told: string): Promise<void> =>
    assert.rejects(tokenizerFromJSON({ ...wordPiece, model }, 't.json'), {
      name: 'DataError',
      message: `t.json: model.type: must be one of BPE, WordPiece, WordLevel, Unigram${told}`,
    });
  await rejects(
    { vocab: { a: 0 } },
    '; without it the other fields must show the type, and these do not: vocab',
  );
  await rejects({ type: null, vocab: { a: 0 }, merges: [] }, ', got null');
});

test('GPT-2’s file of 2019, without type and with merges in one text, is known for what it is', async () => {
  const gpt2 = await loadGpt2();
  const tokenizer = await tokenizerFromJSON(oldestFile(byteLevelToJSON(gpt2)));
  assert.ok(await isGpt2(tokenizer));
  assert.deepEqual([...tokenizer.encode('Hello world')], [15496, 995]);
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
    /^t\.json: must have a Hugging Face model, or a type of bytes, gpt2, characters, got 'gpt3'$/,
  );
  await rejects({}, /got 'the fields \(none\)'$/);
  await rejects(
    { ...good, added_tokens: [] },
    /^t\.json: must have a token that ends a text, .*; name it by --eot, or in a file tokenizer_config\.json beside it/,
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
    /^t\.json: model\.type: must be one of BPE, WordPiece, WordLevel, Unigram, got 'Magic'$/,
  );
  await rejects(
    { ...good, normalizer: { type: 'Magic' } },
    /^t\.json: normalizer\.type: must be one of BertNormalizer, .*, got 'Magic'$/,
  );
});

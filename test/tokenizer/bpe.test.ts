import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { BpeTrainer, trainBpe } from '../../src/tokenizer/bpe-train.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { oddText, SAMPLES } from './samples.js';

const folder = new URL('../../../test/tokenizer/', import.meta.url);
const fixture = JSON.parse(readFileSync(new URL('bpe-fixture.json', folder), 'utf8')) as {
  vocabSize: number;
  merges: [string, string][];
  ids: number[][];
};
const texts = (
  JSON.parse(readFileSync(new URL('gpt2-fixture.json', folder), 'utf8')) as { text: string }[]
).map(({ text }) => text);

const trained = trainBpe(texts, 640);
const json = (): Record<string, unknown> => JSON.parse(JSON.stringify(trained)) as Record<string, unknown>;

test('training gives the merges of the Python package tokenizers, ties included', () => {
  const { merges } = json().model as { merges: [string, string][] };
  assert.deepEqual(merges, fixture.merges);
  assert.equal(trained.vocabSize, fixture.vocabSize);
  assert.equal(trained.eot, fixture.vocabSize - 1);
  assert.equal(trained.name, `bpe-${fixture.vocabSize}`);
});

test('encoding gives the ids of the Python package tokenizers', () => {
  texts.forEach((text, i) => {
    assert.deepEqual([...trained.encode(text)], fixture.ids[i], JSON.stringify(text));
  });
});

test('the order of the texts and the pieces they come in do not change the vocabulary', () => {
  assert.deepEqual(trainBpe([...texts].reverse(), 640).toJSON(), trained.toJSON());
  const trainer = new BpeTrainer(640);
  for (const text of texts) {
    const cut = text.search(/(?<=\S)\s/);
    trainer.feed(text.slice(0, Math.max(0, cut)));
    trainer.feed(text.slice(Math.max(0, cut)));
  }
  assert.deepEqual(trainer.train().toJSON(), trained.toJSON());
});

test('the vocabulary has the size asked for when the text has enough pairs', () => {
  const small = trainBpe(texts, 300);
  assert.equal(small.vocabSize, 300);
  assert.equal(small.eot, 299);
  assert.equal(trainBpe([], 257).vocabSize, 257);
});

test('every text comes back, whole and one id at a time', () => {
  for (const text of [...SAMPLES, ...texts, oddText(7, 500)]) {
    const ids = trained.encode(text);
    assert.equal(trained.decode(ids), text);
    const decoder = trained.decoder();
    assert.equal([...ids].map((id) => decoder.push(id)).join('') + decoder.end(), text);
  }
});

test('an unfinished character comes out as U+FFFD only at the end', () => {
  const ids = trainBpe([], 257).encode('é😀');
  const decoder = trained.decoder();
  assert.deepEqual(
    [...ids.slice(0, 5)].map((id) => decoder.push(id)),
    ['', 'é', '', '', ''],
  );
  assert.equal(decoder.end(), '\ufffd');
});

test('@huggingface/tokenizers reads our tokenizer.json to the same ids', () => {
  const peer = new HuggingFace(json(), {});
  // It takes a spelled-out special token for the token, and JavaScript's \s for white space: leave those out.
  for (const text of [...SAMPLES, ...texts].filter((t) => t !== '' && !/<\||[\u0085\ufeff]/.test(t))) {
    const ids = [...trained.encode(text)];
    assert.deepEqual(peer.encode(text, { add_special_tokens: false }).ids, ids, JSON.stringify(text));
    assert.equal(peer.decode(ids, { clean_up_tokenization_spaces: false }), text);
  }
  assert.deepEqual(peer.encode('a<|endoftext|>').ids.at(-1), trained.eot);
});

test('our tokenizer.json is read back to an equal tokenizer', async () => {
  const again = await tokenizerFromJSON(json());
  assert.equal(again.name, trained.name);
  assert.equal(again.vocabSize, trained.vocabSize);
  assert.equal(again.eot, trained.eot);
  assert.equal(again.cuttable, true);
  for (const text of [...SAMPLES, ...texts]) assert.deepEqual(again.encode(text), trained.encode(text));
  assert.deepEqual(again.toJSON(), json());
});

test('the cache of words does not change ids', () => {
  const many = Array.from({ length: 200_000 }, (_, i) => ` w${i.toString(36)}`).join('');
  const first = trained.encode(`the cat${many}`);
  assert.deepEqual(trained.encode(`the cat${many}`), first);
  assert.equal(trained.decode(first), `the cat${many}`);
});

test('an impossible vocabulary size is refused', () => {
  const message = (got: number): string =>
    `vocabSize: must be a whole number from 257 (256 bytes and the end of the text) to 65536 for a byte-level vocabulary, got ${got}`;
  for (const size of [256, 0, 300.5, 65_537]) {
    assert.throws(() => new BpeTrainer(size), { name: 'ConfigError', message: message(size) });
  }
});

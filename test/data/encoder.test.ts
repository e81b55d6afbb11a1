import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Encoder, encodeTexts } from '../../src/data/encoder.js';
import { DataError } from '../../src/errors.js';
import { prepareCorpus } from '../../src/data/prepare.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { createTokenizer } from '../../src/tokenizer/load.js';
import { oddText } from '../tokenizer/samples.js';

const oddTexts = (count: number, length: number) =>
  Array.from({ length: count }, (_, i) => oddText(i, length));
const texts = (count: number, length: number) => oddTexts(count, length).map((text) => ({ text }));

test('workers give the ids of the tokenizer, batch by batch, whichever ends first', async () => {
  const all = texts(60, 300);
  for (const tokenizer of [
    await createTokenizer('gpt2'),
    await createTokenizer('bytes'),
    trainBpe(
      all.map(({ text }) => text),
      300,
    ),
  ]) {
    const encoder = new Encoder(tokenizer, 3);
    const batches = Array.from({ length: 12 }, (_, i) =>
      all.slice(i * 5, i % 3 === 0 ? i * 5 + 5 : i * 5 + 1),
    );
    const found = await Promise.all(batches.map((batch) => encoder.encode(batch)));
    await encoder.close();
    for (const [i, batch] of batches.entries()) assert.deepEqual(found[i], encodeTexts(tokenizer, batch));
  }
});

test('after a worker has ended its batches and later ones fail, none waits for ever', async () => {
  const encoder = new Encoder(await createTokenizer('bytes'), 2);
  const waiting = encoder.encode([{ text: 'a'.repeat(1000) }]);
  await encoder.close();
  await assert.rejects(waiting);
  await assert.rejects(encoder.encode([{ text: 'b' }]));
});

test('an error in a worker keeps its class and its message', async (t) => {
  const bytes = await createTokenizer('bytes');
  const broken = Object.create(bytes, { toJSON: { value: () => ({ type: 'runes' }) } });
  const encoder = new Encoder(broken, 2);
  t.after(() => encoder.close());
  for (const text of ['a', 'b', 'c']) {
    await assert.rejects(encoder.encode([{ text }]), (error) => {
      assert.ok(error instanceof DataError);
      assert.equal(error.name, 'DataError');
      assert.equal(
        error.message,
        "tokenizer.json: must have a Hugging Face model, or a type of bytes, gpt2, characters, got 'runes'",
      );
      return true;
    });
  }
});

test('the shards have the same bytes for any number of workers', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'loopnn-encoder-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'a.jsonl');
  const documents = [...oddTexts(500, 200), '', 'long '.repeat(30_000), '', ...oddTexts(300, 900)];
  await writeFile(path, documents.map((text) => JSON.stringify({ text })).join('\n'));
  const out = join(folder, 'out');
  const results: Buffer[][] = [];
  for (const workers of [1, 2, 5]) {
    await prepareCorpus({
      sources: [path],
      out,
      tokenizer: 'gpt2',
      seed: 1,
      workers,
      force: true,
      recordBytes: 20_000,
    });
    results.push(
      await Promise.all(['train.bin', 'val.bin', 'meta.json'].map((name) => readFile(join(out, name)))),
    );
  }
  assert.deepEqual(results[1], results[0]);
  assert.deepEqual(results[2], results[0]);
});

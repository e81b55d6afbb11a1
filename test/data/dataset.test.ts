import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openDataset } from '../../src/data/dataset.js';
import { type DatasetMeta, META_FORMAT } from '../../src/data/meta.js';
import { requireTokens } from '../../src/evaluate/batches.js';
import { fixture, idBytes, llmcBytes } from './helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-dataset-'));
});
afterEach(() => rm(folder, { recursive: true }));

const write = (name: string, bytes: Uint8Array): Promise<void> => writeFile(join(folder, name), bytes);
const writeIds = (name: string, ids: readonly number[]): Promise<void> => write(name, idBytes(ids));

const meta: DatasetMeta = {
  format: META_FORMAT,
  tokenizer: { name: 'bytes', vocabSize: 257, eot: 256 },
  largestId: 256,
  seed: 1,
  heldOut: { unit: 'documents', fraction: 0.1 },
  sources: ['x'],
  train: { documents: 1, bytes: 2, tokens: 3 },
  val: { documents: 1, bytes: 1, tokens: 2 },
};

const writeMeta = (content: unknown): Promise<void> =>
  writeFile(join(folder, 'meta.json'), JSON.stringify(content));

test("a nanoGPT folder works without meta.json; ours checks the shards' lengths against it", async () => {
  await writeIds('train.bin', [1, 2, 256]);
  await writeIds('val.bin', [3, 256]);
  const plain = await openDataset(folder);
  assert.equal(plain.meta, null);
  assert.equal(plain.tokenizer, null);
  assert.deepEqual([...(await plain.val.read(0, 2))], [3, 256]);
  await plain.close();

  await writeMeta(meta);
  await writeFile(join(folder, 'tokenizer.json'), '{"type":"bytes"}');
  const ours = await openDataset(folder);
  assert.deepEqual(ours.meta, meta);
  assert.equal(ours.tokenizer?.name, 'bytes');
  await ours.close();

  await writeIds('val.bin', [3]);
  await assert.rejects(openDataset(folder), {
    name: 'DataError',
    message:
      /val\.bin: must hold the 2 tokens that meta\.json names, got '1 tokens'; it is truncated or of another run/,
  });
});

test('a damaged meta.json or tokenizer.json is named', async () => {
  await writeIds('train.bin', [1, 2, 256]);
  await writeIds('val.bin', [3, 256]);
  const refused = (message: RegExp): Promise<void> =>
    assert.rejects(openDataset(folder), { name: 'DataError', message });
  await writeFile(join(folder, 'meta.json'), '{"format":');
  await refused(/meta\.json: must be JSON, got/);
  await writeMeta([]);
  await refused(/meta\.json: must be an object, got '\[\]'/);
  await writeMeta({ ...meta, format: 'other' });
  await refused(/meta\.json: must have the format 'loopnn-data-1', got 'other'; prepare the data again/);
  await writeMeta({ ...meta, val: { documents: 1, bytes: 1, tokens: -2 } });
  await refused(/meta\.json: val\.tokens: must be a whole number, got '-2'/);
  await writeMeta({ ...meta, tokenizer: { ...meta.tokenizer, vocabSize: 300 } });
  await writeFile(join(folder, 'tokenizer.json'), '{"type":"bytes"}');
  await refused(
    /tokenizer\.json: must have the 300 ids that meta\.json names, got 257; prepare the data again/,
  );
});

test("a folder of llm.c's shards joins them in order, each split its own", async () => {
  await write('web_train_000002.bin', llmcBytes([5, 6, 7]));
  await write('web_train_000001.bin', llmcBytes([1, 2, 3, 4]));
  await write('web_val_000000.bin', llmcBytes([9, 8], [20240801]));
  const data = await openDataset(folder);
  assert.equal(data.train.length, 7);
  for (let offset = 0; offset <= 7; offset++) {
    for (let count = 0; offset + count <= 7; count++) {
      const expected = [1, 2, 3, 4, 5, 6, 7].slice(offset, offset + count);
      assert.deepEqual([...(await data.train.read(offset, count))], expected);
    }
  }
  await assert.rejects(data.train.read(6, 2), /\(train\): must be read within its 7 tokens/);
  assert.deepEqual([...(await data.val.read(0, 2))], [9, 8]);
  assert.equal(data.file, null);
  await data.close();

  await rm(join(folder, 'web_val_000000.bin'));
  await assert.rejects(openDataset(folder), {
    name: 'DataError',
    message:
      /: must hold shards \*_val_\*\.bin or \*_val_\*\.npy, got 'none'; name a single file to hold out its tail$/,
  });
});

test("a folder of numpy's shards, as build-nanogpt writes them", async () => {
  const values: Record<string, number[]> = JSON.parse(await readFile(fixture('npy/values.json'), 'utf8'));
  const shards = { train_000001: 'little-u2', train_000002: 'big-i8', val_000000: 'version-3' };
  for (const [name, from] of Object.entries(shards)) {
    await copyFile(fixture(`npy/${from}.npy`), join(folder, `edufineweb_${name}.npy`));
  }
  await using data = await openDataset(folder);
  const train = [...values['little-u2.npy'], ...values['big-i8.npy']];
  assert.deepEqual([...(await data.train.read(0, data.train.length))], train);
  assert.deepEqual([...(await data.val.read(0, data.val.length))], values['version-3.npy']);
  await write('edufineweb_val_000001.bin', llmcBytes([1]));
  await assert.rejects(openDataset(folder), {
    name: 'DataError',
    message:
      /: must hold shards of one kind, got 'edufineweb_train_000001\.npy and edufineweb_val_000001\.bin'/,
  });
});

test('shards without a header want their type said', async () => {
  await writeIds('web_train_000001.bin', [1, 2, 3]);
  await writeIds('web_val_000000.bin', [4, 5]);
  await assert.rejects(openDataset(folder), /web_train_000001\.bin: must state the type of its ids/);
  await using data = await openDataset(folder, { dtype: 'uint16' });
  assert.deepEqual([...(await data.train.read(0, 3))], [1, 2, 3]);
});

test('a single file holds out its tail', async () => {
  const ids = Array.from({ length: 50 }, (_, i) => i);
  await writeIds('one.bin', ids);
  await write('two.bin', llmcBytes(ids));
  await assert.rejects(openDataset(join(folder, 'one.bin')), /one\.bin: must state the type of its ids/);
  for (const [name, options] of [
    ['one.bin', { dtype: 'uint16' }],
    ['two.bin', {}],
  ] as const) {
    await using data = await openDataset(join(folder, name), options);
    assert.equal(data.file?.length, 50);
    assert.equal(data.train.length, 45);
    assert.deepEqual([...(await data.train.read(40, 5))], [40, 41, 42, 43, 44]);
    assert.deepEqual([...(await data.val.read(0, 5))], [45, 46, 47, 48, 49]);
    await assert.rejects(data.train.read(40, 6), /must be read within its 45 tokens/);
  }
});

test('train.bin and val.bin are nanoGPT’s together, also where one of them is named', async () => {
  await writeIds('train.bin', [1, 2, 256]);
  await assert.rejects(openDataset(join(folder, 'train.bin')), /must state the type of its ids/);
  await writeIds('val.bin', [3, 256]);
  for (const name of ['train.bin', 'val.bin']) {
    await using data = await openDataset(join(folder, name));
    assert.equal(data.file?.name, join(folder, name));
  }
  const wide = idBytes(
    Array.from({ length: 400 }, (_, i) => 1 + (i % 65)),
    32,
  );
  for (const name of ['train.bin', 'val.bin']) await write(name, wide);
  await assert.rejects(openDataset(folder), /train\.bin: .*looks like 32-bit ids.*--dtype uint32/);
  await using data = await openDataset(folder, { dtype: 'uint32' });
  assert.equal(data.val.length, 400);
});

test('a folder of ours has 16-bit ids, and its short val split names the remedy', async () => {
  await writeMeta(meta);
  await writeIds('train.bin', [1, 2, 256]);
  await writeIds('val.bin', [3, 256]);
  await assert.rejects(openDataset(folder, { dtype: 'uint32' }), {
    name: 'DataError',
    message:
      /train\.bin: must hold uint32, as --dtype says, got 'uint16 by its meta\.json'; leave --dtype out$/,
  });
  await using data = await openDataset(folder, { dtype: 'uint16' });
  assert.throws(
    () => requireTokens(data.val, 17),
    /val\.bin: must hold at least 17 tokens, .*, got 2; choose a smaller blockSize or prepare the data again with a larger --val-fraction$/,
  );
  assert.throws(() => requireTokens(data.train, 17), /choose a smaller blockSize or more text$/);
});

test('train.bin alone takes the vocabulary that lies beside it, and its tail is held out', async () => {
  const pickles = JSON.parse(readFileSync(fixture('pickles.json'), 'utf8'));
  await writeIds(
    'train.bin',
    Array.from({ length: 50 }, (_, i) => i % 27),
  );
  await write('meta.pkl', Buffer.from(pickles.meta[4], 'base64'));
  await using data = await openDataset(join(folder, 'train.bin'));
  assert.deepEqual([data.vocabSize, data.tokenizer?.decode([1, 26])], [27, ' \u{1f600}']);
  assert.deepEqual([data.train.length, data.val.length], [45, 5]);
  await assert.rejects(openDataset(folder), {
    message: `${folder}: must hold val.bin beside train.bin, got 'none'; name ${join(folder, 'train.bin')} to hold out its tail`,
  });
});

test("nanoGPT's meta.pkl gives vocabulary and tokenizer, and is refused where it says something else", async () => {
  const pickles = JSON.parse(readFileSync(fixture('pickles.json'), 'utf8'));
  await writeIds('train.bin', [1, 2, 26]);
  await writeIds('val.bin', [3, 0]);
  await write('meta.pkl', Buffer.from(pickles.meta[4], 'base64'));
  await using data = await openDataset(folder);
  assert.equal(data.vocabSize, 27);
  assert.equal(data.meta, null);
  assert.equal(data.tokenizer?.decode([0, 1, 26]), '\n \u{1f600}');
  for (const [pickle, rule] of [
    [pickles.big[4], /meta\.pkl: must have the vocab_size = 70000 characters, got '1 and 300'; remove it/],
    [
      pickles.refused.call[2],
      /meta\.pkl: must be a pickle of .*an import.*; remove it and give --vocab-size/,
    ],
  ]) {
    await write('meta.pkl', Buffer.from(pickle, 'base64'));
    await assert.rejects(openDataset(folder), { name: 'DataError', message: rule });
  }
});

import assert from 'node:assert/strict';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openDataset } from '../../src/data/dataset.js';
import { type DatasetMeta, META_FORMAT } from '../../src/data/meta.js';
import { openTokenShard } from '../../src/data/shard.js';
import { ShardWriter } from '../../src/data/shard-writer.js';
import { randomBatch } from '../../src/train/batches.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-shard-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** Ids as nanoGPT's `numpy.uint16.tofile` writes them. */
async function writeIds(name: string, ids: readonly number[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, Uint8Array.from(ids.flatMap((id) => [id & 0xff, id >> 8])));
  return path;
}

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

test('a shard of 20 GB is read beyond 4 GB, and is not held in memory', async () => {
  const [bytes, ids] = [20e9, [7, 65535, 50256]];
  const path = await writeIds('train.bin', [1, 2]);
  const file = await open(path, 'r+');
  await file.truncate(bytes);
  for (const end of [bytes, 2 ** 32 + 2]) {
    await file.write(Buffer.from(Uint16Array.from(ids).buffer), 0, 6, end - 6);
  }
  await file.close();
  const before = process.memoryUsage.rss();
  const shard = await openTokenShard(path);
  assert.equal(shard.length, bytes / 2);
  assert.deepEqual([...(await shard.read(0, 3))], [1, 2, 0]);
  assert.deepEqual([...(await shard.read(2 ** 31 - 3, 5))], [0, ...ids, 0]);
  assert.deepEqual([...(await shard.read(shard.length - 4, 4))], [0, ...ids]);
  await assert.rejects(shard.read(shard.length - 2, 3), /must be read within its 10000000000 tokens/);
  const batch = await randomBatch(shard, 64, 1024, 65_536, { seed: 1, step: 1, microStep: 0 });
  assert.equal(batch.tokens.length, 64 * 1024);
  await shard.close();
  assert.ok(process.memoryUsage.rss() - before < 50e6);
});

test('a shard is read at any place', async () => {
  const ids = [5, 65535, 256, 0, 50256];
  const shard = await openTokenShard(await writeIds('train.bin', ids));
  assert.equal(shard.length, 5);
  assert.equal(shard.name, join(folder, 'train.bin'));
  assert.deepEqual([...(await shard.read(0, 5))], ids);
  assert.deepEqual([...(await shard.read(2, 2))], [256, 0]);
  assert.deepEqual([...(await shard.read(5, 0))], []);
  for (const [offset, count] of [
    [3, 3],
    [-1, 1],
    [0.5, 1],
    [0, -1],
    [6, 0],
  ]) {
    await assert.rejects(shard.read(offset, count), {
      name: 'DataError',
      message: `${shard.name}: must be read within its 5 tokens, got '${count} tokens from ${offset} on'`,
    });
  }
  await shard.close();
});

test('what the writer writes is read back, over more than its buffer', async () => {
  const path = join(folder, 'x.bin');
  const writer = await ShardWriter.create(path);
  const ids = Uint16Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 65_000);
  for (let i = 0; i < 4; i++) await writer.write(ids);
  await writer.finish();
  await writer.close();
  assert.equal(writer.tokens, 1_200_000);
  assert.equal(
    writer.largestId,
    ids.reduce((a, b) => Math.max(a, b)),
  );
  const shard = await openTokenShard(path);
  assert.equal(shard.length, 1_200_000);
  assert.deepEqual(await shard.read(900_000, 300_000), ids);
  await shard.close();
});

test('a missing, empty or odd-length shard is named with what was expected and found', async () => {
  const refused = (path: string, message: RegExp): Promise<void> =>
    assert.rejects(openTokenShard(path), { name: 'DataError', message });
  await refused(
    join(folder, 'train.bin'),
    /train\.bin: must be a token shard, got 'ENOENT.*; make it with `loopnn prepare`$/,
  );
  await refused(
    await writeIds('train.bin', []),
    /train\.bin: must hold tokens, got 'an empty file'; make it/,
  );
  const path = await writeIds('train.bin', [1, 2, 3]);
  await truncate(path, 5);
  await refused(path, /train\.bin: its size must be a multiple of 2 bytes, got '5 bytes'; it is truncated/);
  await refused(folder, /: must be a token shard, got 'no file'/);
});

test('a shard that shrinks while it is open is an error, not zeros', async () => {
  const path = await writeIds('train.bin', [1, 2, 3, 4]);
  const shard = await openTokenShard(path);
  await truncate(path, 4);
  await assert.rejects(shard.read(1, 3), /must keep its 4 tokens while it is read, got 'a shorter file'/);
  await shard.close();
});

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

/** A token file as llm.c's `write_datafile` writes it. */
async function writeLlmc(
  name: string,
  ids: readonly number[],
  header: readonly number[] = [],
): Promise<string> {
  const words = new Int32Array(256);
  words.set([20240520, 1, ids.length, ...header.slice(3)]);
  for (const [i, word] of header.entries()) words[i] = word;
  const path = join(folder, name);
  await writeFile(
    path,
    Buffer.concat([Buffer.from(words.buffer), Buffer.from(Uint16Array.from(ids).buffer)]),
  );
  return path;
}

test("llm.c's header is recognised and skipped", async () => {
  const path = await writeLlmc('tiny_val.bin', [50256, 1, 2, 3]);
  const shard = await openTokenShard(path);
  assert.equal(shard.length, 4);
  assert.deepEqual([...(await shard.read(0, 4))], [50256, 1, 2, 3]);
  assert.deepEqual([...(await shard.read(3, 1))], [3]);
  await assert.rejects(shard.read(3, 2), /must be read within its 4 tokens, got '2 tokens from 3 on'/);
  await shard.close();
});

test('an llm.c header that does not fit its file is refused', async () => {
  const refused = async (path: Promise<string>, message: RegExp): Promise<void> =>
    assert.rejects(openTokenShard(await path), { name: 'DataError', message });
  await refused(
    writeLlmc('a.bin', [1, 2], [20240520, 1, 3]),
    /a\.bin: must hold the 3 tokens that its llm\.c header names, got '2 tokens'; fetch or write it again/,
  );
  await refused(writeLlmc('a.bin', [1, 2], [20240520, 1, -3]), /the -3 tokens/);
  await refused(writeLlmc('a.bin', [1], [20240520, 2, 1]), /its llm\.c header must have version 1, got 2$/);
  await refused(
    writeLlmc('a.bin', [1, 0], [20240801, 7, 1]),
    /a\.bin: must hold 16-bit ids, got 'llm\.c's 32-bit ones'/,
  );
  const path = await writeLlmc('a.bin', [1, 2]);
  for (const bytes of [4, 6, 8, 10, 12, 1024]) {
    await writeLlmc('a.bin', [1, 2]);
    await truncate(path, bytes);
    await refused(Promise.resolve(path), /a\.bin: (must hold the|its llm\.c header)/);
  }
});

test("a folder of llm.c's shards joins them in order, each split its own", async () => {
  await writeLlmc('web_train_000002.bin', [5, 6, 7]);
  await writeLlmc('web_train_000001.bin', [1, 2, 3, 4]);
  await writeLlmc('web_val_000000.bin', [9, 8]);
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
      /: must hold llm\.c's shards \*_val_\*\.bin, got 'none'; name a single file to hold out its tail$/,
  });
});

test('a single file holds out its tail', async () => {
  for (const path of [
    await writeIds(
      'one.bin',
      Array.from({ length: 50 }, (_, i) => i),
    ),
    await writeLlmc(
      'two.bin',
      Array.from({ length: 50 }, (_, i) => i),
    ),
  ]) {
    const data = await openDataset(path);
    assert.equal(data.file?.length, 50);
    assert.equal(data.train.length, 45);
    assert.deepEqual([...(await data.train.read(40, 5))], [40, 41, 42, 43, 44]);
    assert.deepEqual([...(await data.val.read(0, 5))], [45, 46, 47, 48, 49]);
    await assert.rejects(data.train.read(40, 6), /must be read within its 45 tokens/);
    await data.close();
  }
});

import assert from 'node:assert/strict';
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { TokenShard } from '../../src/data/shard.js';
import { ShardWriter } from '../../src/data/shard-writer.js';
import { openTokenFile, type TokenFileOptions } from '../../src/data/token-file.js';
import { INTEGER_TYPES, type IntegerType } from '../../src/formats/integers.js';
import { randomBatch } from '../../src/evaluate/batches.js';
import { fixture, idBytes, llmcBytes } from './helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-shard-'));
});
afterEach(() => rm(folder, { recursive: true }));

const write = async (name: string, bytes: Uint8Array): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
};
const writeIds = (name: string, ids: readonly number[]): Promise<string> => write(name, idBytes(ids));

/** As the files of a nanoGPT folder are opened. */
const open16 = (path: string): Promise<TokenShard> => openTokenFile(path, { usual: 'uint16' });

const readAll = async (path: string, options?: TokenFileOptions): Promise<number[]> => {
  const shard = await openTokenFile(path, options);
  try {
    return [...(await shard.read(0, shard.length))];
  } finally {
    await shard.close();
  }
};
const refused = (path: string, message: RegExp, options?: TokenFileOptions): Promise<void> =>
  assert.rejects(readAll(path, options), { name: 'DataError', message });

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
  const shard = await open16(path);
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
  const shard = await open16(await writeIds('train.bin', ids));
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
  const shard = await open16(path);
  assert.equal(shard.length, 1_200_000);
  assert.deepEqual(await shard.read(900_000, 300_000), ids);
  await shard.close();
});

test('a missing, empty or odd-length shard is named with what was expected and found', async () => {
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
  await refused(path, /train\.bin: its size must be a multiple of 2 bytes, got '5 bytes'; it is truncated/, {
    usual: 'uint16',
  });
  await refused(folder, /: must be a token shard, got 'no file'/);
});

test('a shard that shrinks while it is open is an error, not zeros', async () => {
  const path = await writeIds('train.bin', [1, 2, 3, 4]);
  const shard = await open16(path);
  await truncate(path, 4);
  await assert.rejects(shard.read(1, 3), /must keep its 4 tokens while it is read, got 'a shorter file'/);
  await shard.close();
});

test("llm.c's header says whether ids have 16 or 32 bits", async () => {
  const ids = [50256, 1, 2, 3, 65535];
  for (const magic of [20240520, 20240801]) {
    const path = await write('tiny_val.bin', llmcBytes(ids, [magic]));
    assert.deepEqual(await readAll(path), ids);
    const shard = await openTokenFile(path);
    assert.deepEqual([...(await shard.read(3, 2))], [3, 65535]);
    await assert.rejects(shard.read(3, 3), /must be read within its 5 tokens, got '3 tokens from 3 on'/);
    await shard.close();
  }
  await refused(
    await write('llama_val.bin', llmcBytes([9906, 128001, 5], [20240801])),
    /llama_val\.bin, token 1: must be an id from 0 to 65535, got 128001; ids of larger vocabularies/,
  );
});

test('an llm.c header that does not fit its file is refused', async () => {
  const bad = async (ids: number[], header: number[], message: RegExp): Promise<void> =>
    refused(await write('a.bin', llmcBytes(ids, header)), message);
  const rule =
    /a\.bin: must hold the 3 tokens that its llm\.c header names, got '2 tokens'; fetch or write it again/;
  await bad([1, 2], [20240520, 1, 3], rule);
  await bad([1, 2], [20240801, 7, 3], rule);
  await bad([1, 2], [20240520, 1, -3], /the -3 tokens/);
  await bad([1], [20240520, 2, 1], /its llm\.c header must have version 1, got 2$/);
  await bad([1], [20240801, 1, 1], /its llm\.c header must have version 7, got 1$/);
  await bad([], [20240520, 1, 0], /a\.bin: must hold tokens, got 'none by its llm\.c header'/);
  for (const bytes of [4, 6, 8, 10, 12, 1024]) {
    const path = await write('a.bin', llmcBytes([1, 2]).subarray(0, bytes));
    await refused(path, /a\.bin: (must hold the|its llm\.c header)/);
  }
});

test('a .npy file is read by its own header, as numpy reads it', async () => {
  const values: Record<string, number[]> = JSON.parse(await readFile(fixture('npy/values.json'), 'utf8'));
  for (const [name, ids] of Object.entries(values)) {
    const path = fixture(`npy/${name}`);
    assert.deepEqual(await readAll(path), ids, name);
    const shard = await openTokenFile(path);
    assert.deepEqual([...(await shard.read(2, 3))], ids.slice(2, 5), name);
    await shard.close();
  }
  assert.ok(Object.keys(values).length >= 18);
});

test('a .npy file that is no row of ids is refused, with its place', async () => {
  for (const [name, message] of [
    ['float32', /must hold integers as token ids, got 'the type <f4'; save ids\.astype\(numpy\.uint16\)$/],
    ['float16', /'the type <f2'/],
    ['bool', /'the type \|b1'/],
    ['complex', /'the type <c8'/],
    ['text', /'the type <U3'/],
    ['time', /'the type <M8\[D\]'/],
    ['records', /got 'records'/],
    ['matrix', /must hold a single row of ids, got 'an array of shape \(2, 7\)'; save ids\.reshape\(-1\)$/],
    ['matrix-fortran', /'an array of shape \(2, 7\)'/],
    ['column', /'an array of shape \(7, 1\)'/],
    ['scalar', /'an array of shape \(\)'/],
    ['empty', /must hold tokens, got 'none by its numpy header'/],
    [
      'too-large',
      /too-large\.npy, token 3: must be an id from 0 to 65535, got 65536; ids of larger vocabularies/,
    ],
    ['llama', /llama\.npy, token 0: must be an id from 0 to 65535, got 128000/],
    ['negative', /negative\.npy, token 2: .*, got -1;/],
    ['negative-short', /token 1: .*, got -2;/],
    ['huge', /huge\.npy, token 1: .*, got 9223372036854775809;/],
  ] as const) {
    await refused(fixture(`npy/${name}.npy`), message);
  }
  const good = await readFile(fixture('npy/little-u2.npy'));
  const bad = async (bytes: Uint8Array, message: RegExp): Promise<void> =>
    refused(await write('ids.npy', bytes), message);
  await bad(good.subarray(0, 140), /must hold the 7 tokens that its numpy header names, got '6 tokens'/);
  await bad(Buffer.concat([good, good]), /must hold the 7 tokens/);
  for (const bytes of [6, 7, 9, 12, 127]) {
    await bad(good.subarray(0, bytes), /ids\.npy: its numpy header must .*; it is damaged: write it again$/);
  }
  const changed = (from: string, to: string) =>
    Buffer.from(good.toString('latin1').replace(from, to), 'latin1');
  await bad(changed('\x01\x00v', '\x04\x00v'), /must have version 1\.0, 2\.0 or 3\.0, got '4\.0'/);
  await bad(changed("'shape'", "'shade'"), /must name descr, fortran_order and shape/);
  await bad(changed('(7,)', '(-7)'), /'an array of shape \(-7\)'/);
});

test('a file without a header is what its reader says, and refused where nobody says', async () => {
  const ids = [5, 65535, 256, 0, 50256];
  for (const bits of [16, 32, 64] as const) {
    const path = await write('ids.bin', idBytes(ids, bits));
    const types = (Object.keys(INTEGER_TYPES) as IntegerType[]).filter(
      (type) => INTEGER_TYPES[type].bytes === bits / 8 && type !== 'int16',
    );
    for (const dtype of types) assert.deepEqual(await readAll(path, { dtype }), ids, dtype);
    await refused(
      path,
      /ids\.bin: must state the type of its ids, as \.npy and llm\.c’s files do, got 'no header'; give --dtype, e\.g\. uint16/,
    );
  }
  const path = await write('ids.bin', idBytes(ids));
  await refused(path, /ids\.bin: its size must be a multiple of 4 bytes, got '10 bytes'/, {
    dtype: 'uint32',
  });
  await refused(
    await write('ids.bin', idBytes([1, 2, 3, 4])),
    /ids\.bin, token 0: must be an id from 0 to 65535, got 131073; if they are no uint32, say so with --dtype/,
    { dtype: 'uint32' },
  );
  await refused(
    fixture('npy/little-i8.npy'),
    /must hold uint16, as --dtype says, got 'int64 by its header'; leave --dtype out$/,
    { dtype: 'uint16' },
  );
  assert.equal((await readAll(fixture('npy/little-u2.npy'), { dtype: 'uint16' })).length, 7);
});

test('ids of any width are read over several conversions, and the last one is checked', async () => {
  const ids = Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 65_000);
  const path = await write('ids.bin', idBytes(ids, 64));
  assert.deepEqual(await readAll(path, { dtype: 'int64' }), ids);
  const shard = await openTokenFile(path, { dtype: 'int64' });
  assert.deepEqual([...(await shard.read(131_000, 200))], ids.slice(131_000, 131_200));
  await shard.close();
  ids[299_999] = 65_536;
  const message = /ids\.bin, token 299999: .*got 65536/;
  await refused(await write('ids.bin', idBytes(ids, 32)), message, { dtype: 'uint32' });
});

test('text and other files are refused whatever they are called and said to be', async () => {
  const text = 'It was the best of times, it was the worst of times.\n'.repeat(40);
  const ids = idBytes(
    Array.from({ length: 500 }, (_, i) => (i * 7919) % 50_257),
    32,
  );
  for (const options of [{}, { usual: 'uint16' }, { dtype: 'uint16' }, { dtype: 'uint32' }] as const) {
    await refused(
      await write('book.txt', Buffer.from(text)),
      /book\.txt: must hold token ids, got 'text'; prepare it: loopnn prepare .*book\.txt --out data\/book$/,
      options,
    );
    await refused(await write('train.bin', gzipSync(text)), /got 'a gzip file'; unpack it first/, options);
  }
  for (const options of [{}, { usual: 'uint16' }, { dtype: 'uint16' }] as const) {
    await refused(
      await write('train.bin', ids),
      /train\.bin: must hold token ids, got 'what looks like 32-bit ids, .*'; read it with --dtype uint32, or write it again as numpy\.uint16$/,
      options,
    );
  }
  assert.equal((await readAll(join(folder, 'train.bin'), { dtype: 'uint32' })).length, 500);
  const known = { usual: 'uint16', tokens: text.length / 2 } as const;
  assert.equal(
    (await readAll(join(folder, 'book.txt'), known)).length,
    known.tokens,
    'meta.json vouches for it',
  );
});

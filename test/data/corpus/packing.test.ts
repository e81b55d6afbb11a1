import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { packingOf, readChunks, readHead, unpackedName } from '../../../src/data/corpus/packing.js';
import { fixture, ZSTD_BLOCK, zstdOfOneByte } from '../helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-packing-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function unpack(path: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readChunks(path, await packingOf(path))) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('the first bytes tell the packing, whatever the name', async () => {
  const path = async (name: string, bytes: Uint8Array) => {
    await writeFile(join(folder, name), bytes);
    return join(folder, name);
  };
  const packed = gzipSync('text');
  assert.equal(await packingOf(await path('a.txt', Buffer.from('text'))), 'none');
  for (const name of ['part-00000', 'b.json', 'b.dict.dz', 'b.zst']) {
    assert.equal(await packingOf(await path(name, packed)), 'gzip', name);
  }
  assert.equal(await packingOf(fixture('lines.txt.zst')), 'zstd');
  // A frame to be skipped, of four bytes, as some programs write before the first.
  const skipped = Buffer.concat([
    Buffer.from('502a4d18040000001234abcd', 'hex'),
    await readFile(fixture('lines.txt.zst')),
  ]);
  const zstd = await path('c.gz', skipped);
  assert.equal(await packingOf(zstd), 'zstd');
  assert.deepEqual(await unpack(zstd), await readFile(fixture('lines.txt')));
});

test('a packed name without packed content is refused', async () => {
  const path = join(folder, 'a.txt.gz');
  await writeFile(path, 'plain text');
  await assert.rejects(packingOf(path), {
    name: 'DataError',
    message: `${path}: must be packed, as its ending .gz says, got 'neither gzip nor Zstandard'; fetch it again if it is damaged, remove the ending from its name if it is not packed`,
  });
});

test('a name loses the ending of its packing only', () => {
  for (const name of ['b.jsonl.gz', 'b.jsonl.ZST', 'b.jsonl.dz', 'b.jsonl']) {
    assert.equal(unpackedName(name).toLowerCase(), 'b.jsonl');
  }
});

test('the head of a file is its beginning, and says whether there is more', async () => {
  const lines = await readFile(fixture('lines.txt'));
  for (const name of ['lines.txt', 'lines.txt.zst']) {
    for (const count of [1, 100, lines.length - 1, lines.length, lines.length + 1]) {
      const { bytes, whole } = await readHead(fixture(name), count);
      assert.deepEqual(Buffer.from(bytes), lines.subarray(0, count));
      assert.equal(whole, count >= lines.length);
    }
  }
});

test('what libzstd packed comes back: in one frame, in several, as a stream', async () => {
  const lines = await readFile(fixture('lines.txt'));
  for (const name of ['lines.txt.zst', 'frames.txt.zst', 'stream.txt.zst']) {
    assert.deepEqual(await unpack(fixture(name)), lines, name);
  }
});

test('a truncated or damaged file is an error wherever it is cut, never a shorter text', async () => {
  const lines = await readFile(fixture('lines.txt'));
  const packed = {
    'a.zst': [await readFile(fixture('stream.txt.zst')), await readFile(fixture('lines.txt.zst'))],
    'a.gz': [gzipSync(lines)],
  };
  for (const [name, files] of Object.entries(packed)) {
    const path = join(folder, name);
    for (const bytes of files) {
      for (const length of [0, 1, 4, 9, 100, bytes.length >> 1, bytes.length - 5, bytes.length - 1]) {
        await writeFile(path, bytes.subarray(0, length));
        await assert.rejects(
          unpack(path),
          { name: 'DataError', message: length < 4 ? /must be packed, as/ : /must be readable, got/ },
          `${name} ${length}`,
        );
      }
    }
    await writeFile(path, 'no packed file at all');
    await assert.rejects(unpack(path), { name: 'DataError', message: /must be packed, as its ending/ });
  }
});

test('frames with windows up to 128 MiB are read, with what is to be skipped before, between and behind them', async () => {
  const path = join(folder, 'a.zst');
  const skipped = Buffer.from('5a2a4d18030000000000ff', 'hex');
  const long = zstdOfOneByte(0x61, 2);
  long[5] = 17 << 3; // as zstd --long writes it
  const single = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 41, 0, 0, ...Buffer.from('hello')]);
  await writeFile(path, Buffer.concat([skipped, long, skipped, single, skipped]));
  assert.equal((await unpack(path)).toString(), `${'a'.repeat(2 * ZSTD_BLOCK)}hello`);
});

test('a frame that asks for more, or for a dictionary, is refused with what to do, be it the first or not', async () => {
  const path = join(folder, 'big.zst');
  const frame = (hex: string) => Buffer.concat([Buffer.from(`28b52ffd${hex}`, 'hex'), Buffer.alloc(12)]);
  const cases: [string, RegExp][] = [
    [
      '00a001',
      /a Zstandard window of 1073741824 bytes, above 134217728'; unpack it first: zstd -d --long=31$/,
    ],
    // One segment: its content, of 2^30 bytes, is the window.
    ['e00000004000000000', /a Zstandard window of 1073741824 bytes, above/],
    [
      '010028',
      /a Zstandard frame packed with dictionary 40'; unpack it first, with its dictionary: zstd -d -D/,
    ],
  ];
  for (const [hex, message] of cases) {
    for (const before of [Buffer.alloc(0), zstdOfOneByte(0x61, 1)]) {
      await writeFile(path, Buffer.concat([before, frame(hex)]));
      await assert.rejects(unpack(path), { name: 'DataError', message }, hex);
    }
  }
});

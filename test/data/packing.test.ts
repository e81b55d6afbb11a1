import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { packingOf, readChunks } from '../../src/data/packing.js';
import { fixture } from './helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-packing-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function unpack(path: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readChunks(path, packingOf(path).packing)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('endings tell the packing', () => {
  assert.deepEqual(packingOf('a/b.txt'), { packing: 'none', inner: 'a/b.txt' });
  assert.deepEqual(packingOf('b.jsonl.gz'), { packing: 'gzip', inner: 'b.jsonl' });
  assert.deepEqual(packingOf('b.dict.dz'), { packing: 'gzip', inner: 'b.dict' });
  assert.deepEqual(packingOf('b.parquet.ZST'), { packing: 'zstd', inner: 'b.parquet' });
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
          { name: 'DataError', message: /must be readable, got/ },
          `${name} ${length}`,
        );
      }
    }
    await writeFile(path, 'no packed file at all');
    await assert.rejects(unpack(path), { name: 'DataError', message: /must be readable, got/ });
  }
});

test('a header that asks for gigabytes is refused', async () => {
  const path = join(folder, 'big.zst');
  await writeFile(
    path,
    Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  );
  await assert.rejects(unpack(path), /a Zstandard window of 1073741824 bytes, above 134217728/);
});

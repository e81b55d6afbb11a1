import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { packingOf, readChunks, readHead, unpackedName } from '../../../src/data/corpus/packing.js';
import { fixture } from '../helpers.js';

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
    message: `${path}: must be packed, as its ending .gz says, got 'neither gzip nor Zstandard'; fetch it again if it is damaged, take the ending off its name if it is not packed`,
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

test('a header that asks for gigabytes is refused', async () => {
  const path = join(folder, 'big.zst');
  await writeFile(
    path,
    Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  );
  await assert.rejects(unpack(path), /a Zstandard window of 1073741824 bytes, above 134217728/);
});

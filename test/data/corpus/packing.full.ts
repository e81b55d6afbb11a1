/** Files that expand a thousandfold and more: memory does not follow. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Packing, readChunks } from '../../../src/data/corpus/packing.js';
import { ZSTD_BLOCK, zstdOfOneByte } from '../helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-packing-'));
after(() => rmSync(folder, { recursive: true }));

const BLOCKS = 4096;
const BYTES = ZSTD_BLOCK * BLOCKS;

async function mostMemory(name: string, packing: Packing, content: Uint8Array): Promise<number> {
  const path = join(folder, name);
  writeFileSync(path, content);
  let bytes = 0;
  let most = 0;
  for await (const chunk of readChunks(path, packing)) {
    bytes += chunk.length;
    most = Math.max(most, process.memoryUsage.rss());
  }
  assert.equal(bytes, BYTES);
  return most;
}

test('512 MiB out of 16 kB of Zstandard, or of gzip, take little memory', async () => {
  const before = process.memoryUsage.rss();
  const gzip = gzipSync(Buffer.alloc(BYTES, 'a'));
  await mostMemory('a.gz', 'gzip', gzip);
  const most = await mostMemory('a.zst', 'zstd', zstdOfOneByte(0x61, BLOCKS));
  console.log(`at most ${((most - before) / 1e6).toFixed(0)} MB more than before`);
  assert.ok(most - before < 400e6, String(most - before));
});

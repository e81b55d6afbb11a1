/** Files that expand a thousandfold and more: memory does not follow. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Packing, readChunks } from '../../src/data/packing.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-packing-'));
after(() => rmSync(folder, { recursive: true }));

const BLOCK = 128 * 1024;
const BLOCKS = 4096;

/** A Zstandard frame of blocks that each repeat one byte, as its format (RFC 8878) writes them: four bytes for 128 KiB. */
function repeated(): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
  const blocks = Buffer.alloc(4 * BLOCKS);
  for (let i = 0; i < BLOCKS; i++) {
    const last = i === BLOCKS - 1 ? 1 : 0;
    blocks.writeUIntLE((BLOCK << 3) | (1 << 1) | last, 4 * i, 3);
    blocks[4 * i + 3] = 0x61;
  }
  return Buffer.concat([header, blocks]);
}

async function mostMemory(name: string, packing: Packing, content: Uint8Array): Promise<number> {
  const path = join(folder, name);
  writeFileSync(path, content);
  let bytes = 0;
  let most = 0;
  for await (const chunk of readChunks(path, packing)) {
    bytes += chunk.length;
    most = Math.max(most, process.memoryUsage.rss());
  }
  assert.equal(bytes, BLOCK * BLOCKS);
  return most;
}

test('512 MiB out of 16 kB of Zstandard, or of gzip, take little memory', async () => {
  const before = process.memoryUsage.rss();
  const gzip = gzipSync(Buffer.alloc(BLOCK * BLOCKS, 'a'));
  await mostMemory('a.gz', 'gzip', gzip);
  const most = await mostMemory('a.zst', 'zstd', repeated());
  console.log(`at most ${((most - before) / 1e6).toFixed(0)} MB more than before`);
  assert.ok(most - before < 400e6, String(most - before));
});

/** Reading a file chunk by chunk: every byte once, in order, and nothing is read any more when it is over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { chunksOf } from '../../src/formats/chunks.js';
import type { RandomAccessFile } from '../../src/platform.js';
import { memoryFile } from './memory-file.js';

const MIB = 1 << 20;
const content = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 7 + (i >> 13)) & 0xff);

test('files of any size come whole, from any place on', async () => {
  for (const size of [0, 1, 7, MIB - 1, MIB, MIB + 1, 3 * MIB + 5]) {
    const bytes = content(size);
    for (const start of [0, Math.min(size, 24), size]) {
      const parts: Uint8Array[] = [];
      for await (const chunk of chunksOf(memoryFile(bytes), start)) {
        assert.ok(chunk.length > 0 && chunk.length <= MIB && chunk.byteOffset % 8 === 0);
        parts.push(chunk.slice());
      }
      assert.ok(Buffer.concat(parts).equals(bytes.subarray(start)), `${size} bytes from ${start}`);
    }
  }
});

/** A file whose reads take a while, and fail from a place on. */
function slowFile(size: number, failsFrom: number) {
  let open = 0;
  const file: RandomAccessFile = {
    size,
    async read(into, offset) {
      open++;
      await setTimeout(1);
      open--;
      if (offset + into.length > failsFrom) throw new Error(`no byte ${failsFrom}`);
    },
    async [Symbol.asyncDispose]() {},
  };
  return { file, reading: () => open };
}

test('a read that fails is the reader’s error, and no read is left behind', async () => {
  const failing = slowFile(8 * MIB, 3 * MIB);
  let chunks = 0;
  await assert.rejects(async () => {
    for await (const _ of chunksOf(failing.file, 0)) chunks++;
  }, /no byte 3145728/);
  assert.equal(chunks, 3);
  assert.equal(failing.reading(), 0);
  const left = slowFile(8 * MIB, 8 * MIB);
  for await (const _ of chunksOf(left.file, 0)) break;
  assert.equal(left.reading(), 0);
});

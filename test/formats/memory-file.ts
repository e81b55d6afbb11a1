import assert from 'node:assert/strict';
import type { RandomAccessFile } from '../../src/platform.js';

/** Bytes in memory as a file. */
export function memoryFile(content: Uint8Array): RandomAccessFile {
  return {
    size: content.length,
    read: async (into, offset) => {
      assert.ok(offset + into.length <= content.length, 'reads beyond the end');
      into.set(content.subarray(offset, offset + into.length));
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

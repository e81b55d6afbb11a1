/** Reads a file piece by piece, and ahead. */
import type { RandomAccessFile } from '../platform.js';

/** Bytes read at a time, small enough for a processor's caches. */
const CHUNK_BYTES = 1 << 20;
/** Chunks that are read while another is in use. */
const AHEAD = 2;

/**
 * A file from `start` to its end, a mebibyte at a time; while one chunk is in use, the next chunks are read. The chunks
 * share a few buffers, each of which begins at a multiple of 8 bytes, so a chunk is valid only until the next is
 * requested.
 */
export async function* chunksOf(file: RandomAccessFile, start: number): AsyncGenerator<Uint8Array> {
  const buffers = Array.from(
    { length: AHEAD + 1 },
    () => new ArrayBuffer(Math.min(CHUNK_BYTES, file.size - start)),
  );
  const reading: Promise<Uint8Array>[] = [];
  let next = start;
  const begin = () => {
    const chunk = new Uint8Array(buffers.shift()!, 0, Math.min(CHUNK_BYTES, file.size - next));
    const read = file.read(chunk, next).then(() => chunk);
    read.catch(() => {}); // awaited later in its turn, or never if the reader stops
    reading.push(read);
    next += chunk.length;
  };
  try {
    while (reading.length < AHEAD && next < file.size) begin();
    while (reading.length > 0) {
      const chunk = await reading.shift()!;
      if (next < file.size) begin();
      yield chunk;
      buffers.push(chunk.buffer as ArrayBuffer);
    }
  } finally {
    await Promise.allSettled(reading); // no read is pending when the file is closed
  }
}

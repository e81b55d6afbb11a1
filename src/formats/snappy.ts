/**
 * Unpacks Snappy's block format as a stream, for pages of parquet that are too large for `hyparquet-compressors`, which
 * unpacks a page at once. Encoders look 64 KiB back, though the format lets them look further; here a mebibyte is kept.
 */
import { joined } from './joined.js';
import { Window } from './window.js';

/** How many bytes a copy may look back. */
const HISTORY = 1 << 20;
/** Bytes of the longest copy. */
const LONGEST_COPY = 64;

/**
 * Unpacks one block.
 *
 * @param chunks the packed bytes, split anywhere
 * @throws Error if they are damaged, end early, or look back further than a mebibyte
 */
export async function* unpackSnappy(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const out = new Window(HISTORY);
  let total: number | undefined;
  let done = 0;
  let literal = 0; // bytes of a literal left
  let input: Uint8Array = new Uint8Array(0);

  for await (const chunk of chunks) {
    input = joined([input, chunk]);
    let from = 0;
    if (total === undefined) {
      const length = lengthOf(input);
      if (length === undefined) continue;
      total = length.total;
      from = length.bytes;
    }
    for (;;) {
      if (out.room < LONGEST_COPY) yield out.take();
      if (literal > 0) {
        const count = Math.min(literal, input.length - from, out.room);
        if (count === 0) break;
        out.write(input.subarray(from, from + count));
        from += count;
        done += count;
        literal -= count;
        continue;
      }
      const left = input.length - from;
      if (left === 0) break;
      const tag = input[from];
      const kind = tag & 3;
      const extra = kind === 0 ? Math.max(0, (tag >> 2) - 59) : kind === 3 ? 4 : kind;
      if (left <= extra) break;
      const number = littleEndian(input, from + 1, extra);
      from += 1 + extra;
      if (kind === 0) {
        literal = (extra === 0 ? tag >> 2 : number) + 1;
        continue;
      }
      const length = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
      const offset = kind === 1 ? ((tag >> 5) << 8) | number : number;
      if (offset === 0 || offset > out.reach) {
        throw new Error(`a Snappy copy from ${offset} bytes back, where ${out.reach} are kept`);
      }
      out.repeat(offset, length);
      done += length;
    }
    input = input.slice(from);
    if (done > total) break;
  }
  if (done !== total || literal > 0 || input.length > 0) {
    throw new Error(`${done} bytes unpacked where Snappy promises ${total}`);
  }
  yield out.take();
}

/** The unpacked length at the beginning of a block, and the bytes that it takes; undefined while it is incomplete. */
function lengthOf(input: Uint8Array): { total: number; bytes: number } | undefined {
  let total = 0;
  for (let i = 0; i < Math.min(5, input.length); i++) {
    total += (input[i] & 0x7f) * 2 ** (7 * i);
    if (input[i] < 0x80) return { total, bytes: i + 1 };
  }
  if (input.length >= 5) throw new Error('no length at the beginning of a Snappy block');
  return undefined;
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let number = 0;
  for (let i = count - 1; i >= 0; i--) number = number * 256 + bytes[at + i];
  return number;
}

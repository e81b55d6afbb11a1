/**
 * Unpacks LZ4's block format as a stream (lz4_Block_format.md of its reference), for pages of parquet that are too
 * large for `hyparquet-compressors`, which unpacks a page at once. A block does not state its length; it ends after
 * literals.
 */
import { joined } from './joined.js';
import { Window } from './window.js';

/** How many bytes an offset of 16 bits can reach back. */
const HISTORY = 1 << 16;
/** Bytes of a match beyond the number in its token. */
const LEAST_MATCH = 4;
/** A length of four bits, or of a byte, that has this value continues in the next byte. */
const MORE = { bits: 15, byte: 255 };
/** Lengths from here on are rejected: LZ4 counts the bytes of a block in 31 bits. */
const TOO_LONG = 2 ** 31;

/**
 * Unpacks one block.
 *
 * @param chunks the packed bytes, split anywhere
 * @throws Error if they are damaged or end early; an endless length is rejected before it fills memory
 */
export async function* unpackLz4(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const out = new Window(HISTORY);
  let input: Uint8Array = new Uint8Array(0);
  let literal = 0; // bytes of literals left
  let match = 0; // bytes of a match left to repeat
  let offset = 0;
  /** The lower half of the current token, for the match after its literals; null if a token comes next. */
  let pending: number | null = null;

  for await (const chunk of chunks) {
    input = joined([input, chunk]);
    let from = 0;
    for (;;) {
      if (out.room === 0) yield out.take();
      if (literal > 0) {
        const count = Math.min(literal, input.length - from, out.room);
        if (count === 0) break;
        out.write(input.subarray(from, from + count));
        from += count;
        literal -= count;
      } else if (match > 0) {
        const count = Math.min(match, out.room);
        out.repeat(offset, count);
        match -= count;
      } else if (pending === null) {
        if (from === input.length) break;
        const length = lengthAt(input, from + 1, input[from] >> 4);
        if (!length) break;
        pending = input[from] & 15;
        literal = length.number;
        from = length.next;
      } else {
        const length = lengthAt(input, from + 2, pending);
        if (!length) break;
        offset = input[from] | (input[from + 1] << 8);
        if (offset === 0 || offset > out.reach) {
          throw new Error(`an LZ4 match from ${offset} bytes back, where ${out.reach} are there`);
        }
        match = length.number + LEAST_MATCH;
        pending = null;
        from = length.next;
      }
    }
    input = input.slice(from);
  }
  if (literal > 0 || input.length > 0 || pending === null) throw new Error('an LZ4 block that ends early');
  yield out.take();
}

/** A length whose first four bits are `bits`, and which may continue at index `at`; null if it is incomplete. */
function lengthAt(input: Uint8Array, at: number, bits: number): { number: number; next: number } | null {
  if (at > input.length) return null;
  if (bits < MORE.bits) return { number: bits, next: at };
  let number = bits;
  for (let next = at; next < input.length; next++) {
    number += input[next];
    if (input[next] < MORE.byte) return { number, next: next + 1 };
    if (number >= TOO_LONG) throw new Error(`an LZ4 length above ${TOO_LONG}`);
  }
  return null;
}

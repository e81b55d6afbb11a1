/**
 * Blocks of a flat storage: the unit that processes exchange and distribute, and of which the gradient's norm is
 * summed. Their length depends on the storage's alone, so sums over blocks have the same bits on any number of
 * processes.
 */

/** Elements [offset, offset + length) of a flat storage. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/** Blocks of a small storage, at most. */
const BLOCKS = 64;
/** Bounds of a block's length in elements: 16 kB, below which a block costs more calls than work, and 1 MB. */
const SHORTEST = 1 << 12;
const LONGEST = 1 << 18;
/** Blocks begin at multiples of it, as parameters do. */
const ALIGNMENT = 64;

/** The blocks of a storage of `length` elements, in order. */
export function blocksOf(length: number): Range[] {
  const wanted = Math.ceil(length / BLOCKS / ALIGNMENT) * ALIGNMENT;
  const block = Math.min(LONGEST, Math.max(SHORTEST, wanted));
  return Array.from({ length: Math.ceil(length / block) }, (_, i) => ({
    offset: i * block,
    length: Math.min(block, length - i * block),
  }));
}

/** The rank that sums a block, and with a sharded optimizer updates it: blocks are assigned to ranks in turn. */
export function ownerOf(block: number, ranks: number): number {
  return block % ranks;
}

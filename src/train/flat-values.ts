/**
 * Values in the parameters' layout (weights, moments), read and written in parts: in a storage of this process, or
 * distributed over several. A checkpoint is the same file either way.
 */
import type { Backend, HostArray, Storage } from '../backend/backend.js';
import { ownerOf, type Range } from './blocks.js';
import { type Message, othersOf, type Peers } from './peers.js';

export interface FlatValues {
  /** The elements [offset, offset + length), as the beginning of `into`. */
  read(offset: number, length: number, into: HostArray): Promise<HostArray>;
  /** Sets them to the float32 values that `fill` puts into an array. */
  receive(offset: number, length: number, fill: (values: Float32Array) => Promise<void>): Promise<void>;
}

/** The values of a storage. */
export function valuesOf(backend: Backend, flat: Storage): FlatValues {
  return {
    read: (offset, length, into) => backend.read(backend.slice(flat, offset, length), into),
    receive: (offset, length, fill) => backend.receive(backend.slice(flat, offset, length), fill),
  };
}

/** A range of the flat layout, and where a storage holds its values. */
export interface HeldRange extends Range {
  readonly storage: Storage;
  readonly at: number;
}

/** Ranges whose values lie one after another in a storage. */
export function heldInTurn(ranges: readonly Range[], storage: Storage): HeldRange[] {
  let end = 0;
  return ranges.map(({ offset, length }) => {
    const at = end;
    end += length;
    return { offset, length, storage, at };
  });
}

/** The values of ranges that storages hold; each call stays within one range. */
export function heldValues(backend: Backend, held: readonly HeldRange[]): FlatValues {
  const part = partOf(backend, held);
  return {
    read: (offset, length, into) => backend.read(part(offset, length), into),
    receive: (offset, length, fill) => backend.receive(part(offset, length), fill),
  };
}

function partOf(backend: Backend, held: readonly HeldRange[]) {
  return (offset: number, length: number): Storage => {
    const range = held.find((one) => offset >= one.offset && offset + length <= one.offset + one.length);
    if (!range) throw new Error(`no range holds the ${length} elements from ${offset} on`);
    return backend.slice(range.storage, range.at + offset - range.offset, length);
  };
}

/**
 * The values of a storage that holds this process's blocks one after another. All processes call `read` in the same
 * order; it returns the values to rank 0.
 */
export function dealtValues(
  backend: Backend,
  held: Storage,
  blocks: readonly Range[],
  peers: Peers,
): Pick<FlatValues, 'read'> {
  const [{ length: blockLength }] = blocks;
  return {
    async read(offset, length, into) {
      const sends: Message[] = [];
      const receives: Message[] = [];
      for (const { block, from, to, at } of partsOf(offset, length, blockLength)) {
        const owner = ownerOf(block, peers.size);
        const values = into.subarray(from - offset, to - offset) as Message['values'] & HostArray;
        if (owner === peers.rank) {
          const place = Math.floor(block / peers.size) * blockLength + at;
          await backend.read(backend.slice(held, place, to - from), values);
          if (owner !== 0) sends.push({ peer: 0, values });
        } else if (peers.rank === 0) receives.push({ peer: owner, values });
      }
      await peers.exchange(sends, receives);
      return into.subarray(0, length);
    },
  };
}

/** The parts of a range, each within one block, and their offsets in the block. */
function* partsOf(offset: number, length: number, blockLength: number) {
  for (let from = offset; from < offset + length; ) {
    const block = Math.floor(from / blockLength);
    const to = Math.min(offset + length, (block + 1) * blockLength);
    yield { block, from, to, at: from - block * blockLength };
    from = to;
  }
}

/** Writes values to a storage, whole or distributed. */
type Write = (offset: number, values: Float32Array) => void;

/** Writes to the whole of a storage. */
export function writesTo(backend: Backend, flat: Storage): Write {
  return (offset, values) => backend.write(backend.slice(flat, offset, values.length), values);
}

/** Writes to ranges that storages hold; each call stays within one range. */
export function writesHeld(backend: Backend, held: readonly HeldRange[]): Write {
  const part = partOf(backend, held);
  return (offset, values) => backend.write(part(offset, values.length), values);
}

/** Writes this process's values to a storage that holds its blocks one after another. */
export function writesDealt(
  backend: Backend,
  held: Storage,
  [{ length: blockLength }]: readonly Range[],
  peers: Peers,
): Write {
  return (offset, values) => {
    for (const { block, from, to, at } of partsOf(offset, values.length, blockLength)) {
      if (ownerOf(block, peers.size) !== peers.rank) continue;
      const place = Math.floor(block / peers.size) * blockLength + at;
      backend.write(backend.slice(held, place, to - from), values.subarray(from - offset, to - offset));
    }
  };
}

/** A piece that rank 0 announces: index of the values, offset, length; or the end. */
const END = -1;

/** Values that rank 0 reads from files for all processes: each process writes them, or its own part of them. */
export function announcedValues(peers: Peers, writes: readonly Write[]) {
  const announce = (which: number, offset: number, values: Float32Array) =>
    peers.exchange(
      othersOf(peers).flatMap((peer) => [
        { peer, values: Float64Array.of(which, offset, values.length) },
        ...(values.length > 0 ? [{ peer, values }] : []),
      ]),
      [],
    );
  return {
    /** For rank 0, in the order of `writes`. */
    values: writes.map((write, which) => ({
      async receive(offset: number, length: number, fill: (values: Float32Array) => Promise<void>) {
        const values = new Float32Array(length);
        await fill(values);
        write(offset, values);
        await announce(which, offset, values);
      },
    })),
    /** For rank 0, after the last piece. */
    end: () => announce(END, 0, new Float32Array()),
    /** For the others. */
    async follow(): Promise<void> {
      const header = new Float64Array(3);
      while (true) {
        await peers.exchange([], [{ peer: 0, values: header }]);
        const [which, offset, length] = header;
        if (which === END) return;
        const values = new Float32Array(length);
        await peers.exchange([], [{ peer: 0, values }]);
        writes[which](offset, values);
      }
    },
  };
}

/**
 * Values that are laid out as the parameters are (weights, moments), read and written by part: in a storage of this
 * process, or dealt out over many. A checkpoint is the same file either way.
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

/** Those of a storage. */
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

/** Ranges whose values a storage holds one after another. */
export function heldInTurn(ranges: readonly Range[], storage: Storage): HeldRange[] {
  let end = 0;
  return ranges.map(({ offset, length }) => {
    const at = end;
    end += length;
    return { offset, length, storage, at };
  });
}

/** Those of ranges that storages hold; each call stays within one of them. */
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
 * Those of a storage that holds this process's blocks one after another. `read` is called by all processes in the same
 * order, and gives the values to rank 0.
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

/** The parts of a range that lie in one block each, and where in it they begin. */
function* partsOf(offset: number, length: number, blockLength: number) {
  for (let from = offset; from < offset + length; ) {
    const block = Math.floor(from / blockLength);
    const to = Math.min(offset + length, (block + 1) * blockLength);
    yield { block, from, to, at: from - block * blockLength };
    from = to;
  }
}

/** Writes what it is given of a storage, whole or dealt out. */
type Write = (offset: number, values: Float32Array) => void;

/** Writes to the whole of a storage. */
export function writesTo(backend: Backend, flat: Storage): Write {
  return (offset, values) => backend.write(backend.slice(flat, offset, values.length), values);
}

/** Writes to ranges that storages hold; each call stays within one of them. */
export function writesHeld(backend: Backend, held: readonly HeldRange[]): Write {
  const part = partOf(backend, held);
  return (offset, values) => backend.write(part(offset, values.length), values);
}

/** Writes what is this process's to a storage that holds its blocks one after another. */
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

/** A piece that rank 0 announces: which of the values, from where, how many; or that there are no more. */
const END = -1;

/** Values that rank 0 reads from files for all: each process writes them, or what is its own of them. */
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
    /** For rank 0, after the last. */
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

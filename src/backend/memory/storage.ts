/** Storage in the host's memory, shared by the engines that compute there. */
import { ShapeError } from '../../errors.js';
import type { DType, HostArray, Storage } from '../backend.js';

/** A storage whose elements the host can reach. */
export abstract class HostStorage implements Storage {
  constructor(readonly dtype: DType) {}

  get length(): number {
    return this.data.length;
  }

  /** The elements. Callers must not keep the array between calls: an engine's memory may move. */
  abstract get data(): HostArray;

  /** The elements [offset, offset + length) as a storage that shares the memory of this storage. */
  slice(offset: number, length: number): HostStorage {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new ShapeError('slice', `must lie within ${this.length} elements`, [offset, offset + length]);
    }
    return this.part(offset, length);
  }

  /** `slice` of elements that exist. */
  protected abstract part(offset: number, length: number): HostStorage;

  /** See Backend.copyWithin. */
  copyWithin(to: number, from: number, length: number): void {
    const source = this.slice(from, length).data;
    if (to < from + length && from < to + length) {
      throw new ShapeError('copyWithin', `must be of runs of ${length} elements that do not overlap`, [
        to,
        from,
      ]);
    }
    this.slice(to, length).data.set(source);
  }
}

/** A storage over a typed array. */
export class ArrayStorage extends HostStorage {
  constructor(
    dtype: DType,
    readonly data: HostArray,
  ) {
    super(dtype);
  }

  protected override part(offset: number, length: number): ArrayStorage {
    return new ArrayStorage(this.dtype, this.data.subarray(offset, offset + length));
  }
}

/** A copy of `data`, at the beginning of `into` if given. Throws ShapeError if it does not fit. */
export function copyOf(data: HostArray, into?: HostArray): HostArray {
  if (!into) return data.slice();
  if (into.constructor !== data.constructor || into.length < data.length) {
    throw new ShapeError(
      'read',
      `must be into a ${data.constructor.name} of ${data.length} elements`,
      into.length,
    );
  }
  into.set(data);
  return into.subarray(0, data.length);
}

/** Lets `fill` write float32 values to `data`, through a float32 array if `data` has another type. */
export async function receiveInto(
  data: HostArray,
  fill: (values: Float32Array) => Promise<void>,
): Promise<void> {
  if (data instanceof Float32Array) return fill(data);
  const values = new Float32Array(data.length);
  await fill(values);
  data.set(values);
}

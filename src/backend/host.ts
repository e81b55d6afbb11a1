/**
 * Storage that lies in the host's memory, shared by the `reference` and `native` backends, and the one
 * definition of the dropout mask. Knows no kernel.
 */
import { ShapeError } from '../errors.js';
import type { DType, HostArray, Storage } from './backend.js';

/** A storage over a typed array. */
export class HostStorage implements Storage {
  constructor(
    readonly dtype: DType,
    readonly data: HostArray,
  ) {}

  get length(): number {
    return this.data.length;
  }

  /** The elements [offset, offset + length) as a storage that shares this one's memory. */
  slice(offset: number, length: number): HostStorage {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new ShapeError('slice', `must lie within ${this.length} elements`, [offset, offset + length]);
    }
    return new HostStorage(this.dtype, this.data.subarray(offset, offset + length));
  }
}

/** A copy of `data`, at the beginning of `into` where that is given. Throws ShapeError when it does not fit. */
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

/** Lets `fill` put float32 values into `data`, by way of an array of that type where `data` has another. */
export async function receiveInto(
  data: HostArray,
  fill: (values: Float32Array) => Promise<void>,
): Promise<void> {
  if (data instanceof Float32Array) return fill(data);
  const values = new Float32Array(data.length);
  await fill(values);
  data.set(values);
}

/** Bijective 32-bit mixing function ("lowbias32" constants by C. Wellons); every bit of x reaches every bit. */
export function mix32(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The two words that a sample's elements are hashed with. */
export function sampleKey(key: readonly [number, number], sample: number): [number, number] {
  const k0 = mix32((key[0] + Math.imul(sample, 0x9e3779b9)) >>> 0);
  return [k0, mix32((key[1] ^ k0) >>> 0)];
}

/** Smallest hash that keeps an element: keep ⇔ hash ≥ ⌊p·2³²⌋. */
export function dropoutThreshold(p: number): number {
  return Math.floor(p * 2 ** 32) >>> 0;
}

/** Whether dropout keeps an element of a sample; `k` comes from `sampleKey`. */
export function dropoutKeep(k: readonly [number, number], element: number, threshold: number): boolean {
  return mix32((mix32((element + k[0]) >>> 0) ^ k[1]) >>> 0) >= threshold;
}

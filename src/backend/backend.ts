/**
 * The interface of a backend: storage, and a method for each kernel of `kernel-table.ts`. Models and ops call nothing
 * else.
 *
 * A backend runs kernels in the order of their calls, at once or later: only `read` waits for them.
 */
import type { ALL_KERNELS, Methods } from './kernel-table.js';

export type { Activation, Dropout, LoopForm } from './options.js';
export { ACTIVATIONS } from './options.js';

/** Element type of a storage. `f64` exists in the reference backend only, for finite differences. */
export type DType = 'f32' | 'f64' | 'i32';

/**
 * How matrix products read their operands: as float32, or rounded to bfloat16 or float16 (to the nearest, ties to
 * even). Sums stay in float32, and so does everything in memory. An engine need not have all of them.
 */
export type Precision = 'f32' | 'bf16' | 'f16';

/** A run of elements that a backend owns; the backend decides where they lie. */
export interface Storage {
  readonly dtype: DType;
  /** Number of elements. */
  readonly length: number;
}

/** Values as they travel between the host and a storage. */
export type HostArray = Float32Array | Float64Array | Int32Array;

/** Positions in a page of a key/value cache. */
export const PAGE_POSITIONS = 128;

/** A method for each kernel, over storages. */
export type Kernels = Methods<typeof ALL_KERNELS, Storage, Storage>;

/** Work for benchmarks that only the machine limits; it is done when a call returns or its promise resolves. */
export interface Limits {
  /** Precisions of the machine's products. */
  readonly precisions: readonly Precision[];
  /** Multiply-adds without memory access; returns the number of FLOPs; a multiply-add counts as two. */
  multiplyAdds(precision: Precision, iterations: number): number | Promise<number>;
  /** A number of floats that exceeds the caches, and that can be read in a short time. */
  readonly longRead: number;
  /** Reads `src`, in whole cache lines. */
  read(src: Storage): void | Promise<void>;
  /**
   * Milliseconds of the kernels that `body` calls, by name, on the device's clock; for backends whose kernels run after
   * their calls return.
   */
  profile?(body: () => Promise<void>): Promise<ReadonlyMap<string, number>>;
}

/**
 * Weights of which an engine keeps only what the products of inference read, B (K, N). Such a storage replaces the
 * weight in calls of `linearForward`, or, packed from its transpose (N, K), of `logits` and `headForward`; its only
 * other use is `free`.
 */
export interface WeightPacker {
  allocate(K: number, N: number, transposed: boolean): Storage;
  /**
   * Sets columns of B from `first` on: `values` is all of B, or the rows of its transpose that belong to `first` and
   * the columns after it. If there are columns before or after them, their numbers are whole multiples of
   * PACKED_COLUMNS.
   */
  pack(dst: Storage, first: number, values: Storage): void;
}

/** Every engine packs groups of this many columns separately. */
export const PACKED_COLUMNS = 64;

/** The kernels, and the storage on which they work. */
export interface Backend extends Kernels {
  /** Short name: `native`, `reference`. */
  readonly name: string;
  /** Element type of activations and parameters. */
  readonly dtype: 'f32' | 'f64';
  readonly precision: Precision;
  /** Instruction set, threads and other facts for a benchmark report. */
  readonly description: string;
  /** Null if the backend's speed does not matter. */
  readonly limits: Limits | null;
  /** Null if weights are kept unpacked. */
  readonly packer: WeightPacker | null;
  /** Whether a kernel has run when its call returns, so that the call's time is the kernel's time. */
  readonly synchronous: boolean;

  /** A new storage of `length` zeros. Throws BackendError when memory is short, or the next `read` does. */
  allocate(dtype: DType, length: number): Storage;
  /** Releases a storage from `allocate`; it and its slices must not be used again. */
  free(storage: Storage): void;
  /** A view of `length` elements from `offset`; shares memory with `storage`. */
  slice(storage: Storage, offset: number, length: number): Storage;
  /** Copies host values into `dst` from element 0; `values.length` must not exceed `dst.length`. */
  write(dst: Storage, values: HostArray): void;
  /**
   * Fills `dst` with the float32 values that `fill` writes to an array, which is the memory of `dst` itself if that is
   * the host's.
   */
  receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void>;
  /**
   * A copy of the elements, after all kernels called so far. If `into` is given, an array of the same type and at least
   * that length, the copy is its beginning.
   */
  read(src: Storage, into?: HostArray): Promise<HostArray>;
  /** Sets every element to `value`. */
  fill(dst: Storage, value: number): void;
  /** dst = src, equal lengths of different storages. */
  copy(dst: Storage, src: Storage): void;
  /** Copies the `length` elements at `from` to `to` within one storage; the two runs do not overlap. */
  copyWithin(storage: Storage, to: number, from: number, length: number): void;

  /** Elements of one page of a key/value cache, of type `dtype`: the keys and values of PAGE_POSITIONS positions. */
  cachePageLength(KV: number, HS: number): number;
  /**
   * The rows that run, by a mask, in ascending order. A backend that does not know their number without waiting returns
   * null, and nothing is skipped.
   */
  compact(running: Storage): Storage | null;
}

/**
 * The `native` backend: the C++ addon's kernels over typed arrays that the addon allocates. Every argument is checked
 * in the addon, and a rejection is thrown as a ShapeError or BackendError.
 */
import { constants } from 'node:buffer';
import { BackendError, ShapeError } from '../../errors.js';
import type { DType, HostArray, Limits, Precision, Storage } from '../backend.js';
import {
  Allocation,
  type Arguments,
  CompiledBackend,
  CompiledStorage,
  host,
  PLANS,
  type Plan,
  written,
} from '../compiled/backend.js';
import { type HostStorage, receiveInto } from '../memory/storage.js';
import { type Argument, isaInUse, loadAddon, type NativeAddon, remedy } from './addon.js';

class NativeStorage extends CompiledStorage {
  constructor(
    dtype: DType,
    readonly data: HostArray,
    readonly allocation = new Allocation(),
  ) {
    super(dtype);
  }

  protected override part(offset: number, length: number): NativeStorage {
    return new NativeStorage(this.dtype, this.data.subarray(offset, offset + length), this.allocation);
  }
}

/** The kernels of the addon. */
export class NativeBackend extends CompiledBackend {
  readonly name = 'native';
  private readonly addon: NativeAddon;

  /**
   * `precision` is bf16 by default if the machine has instructions for it, otherwise f32. With `int8`, forward products
   * read weights rounded to 8 bits (see native/int8.h), and their inputs as floats.
   * Throws BackendError if the addon is missing or does not fit the machine.
   */
  constructor(precision?: Precision, int8 = false) {
    const addon = loadAddon();
    super(precision ?? (addon.info().bf16 ? 'bf16' : 'f32'), int8);
    this.addon = addon;
  }

  get limits(): Limits {
    const { addon } = this;
    const out = new Float32Array(1);
    return {
      precisions: ['f32', 'bf16'],
      longRead: 64 << 20,
      multiplyAdds: (precision, iterations) => addon.peakProducts(out, iterations, precision === 'bf16'),
      read: (src) => addon.peakRead(out, host('read', src).data),
    };
  }

  get description(): string {
    const { isa, threads } = this.addon.info();
    return `native (${isa}, ${this.format}, ${threads} thread${threads === 1 ? '' : 's'})`;
  }

  protected get isa(): string {
    return isaInUse();
  }

  allocate(dtype: DType, length: number): NativeStorage {
    if (length * 4 > constants.MAX_LENGTH) {
      throw new BackendError(
        'allocate',
        `must stay within the runtime's ${constants.MAX_LENGTH} bytes`,
        length * 4,
      );
    }
    if (dtype === 'f64') {
      throw new BackendError('allocate', 'dtype must be f32 or i32', dtype, 'the reference backend has f64');
    }
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new ShapeError('allocate', 'length must be a whole number', length);
    }
    const ArrayType = dtype === 'f32' ? Float32Array : Int32Array;
    if (length === 0) return new NativeStorage(dtype, new ArrayType(0));
    try {
      return new NativeStorage(dtype, new ArrayType(this.addon.allocate(length * 4)));
    } catch (error) {
      if (error instanceof BackendError) throw error;
      throw new BackendError('allocate', 'length must be one that a typed array can have', length);
    }
  }

  protected release({ data }: HostStorage): void {
    const { buffer, byteOffset, byteLength } = data;
    if (byteOffset !== 0 || byteLength !== buffer.byteLength) {
      throw new BackendError('free', 'must be given a whole storage, not a slice of one');
    }
    if (byteLength > 0) this.addon.free(buffer);
  }

  async receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    try {
      await receiveInto(written('receive', dst).data, fill);
    } finally {
      written('receive', dst); // packings made during the wait are outdated too
    }
  }

  /**
   * Passes arrays and numbers to a kernel; the addon checks them all.
   * @internal
   */
  run({ kernel, signature, fields, options }: Plan, args: Arguments): void {
    const list: Argument[] = [];
    for (const { name, written: writes, packed } of fields) {
      if (packed) list.push(this.packed(kernel, packed, args).data);
      else {
        const storage = args[name] as Storage | null;
        list.push(storage && (writes ? written(kernel, storage) : host(kernel, storage)).data);
      }
    }
    for (const name of signature.dims) list.push(args[name] as number);
    this.addOptions(list, options, args);
    const run = this.addon[kernel];
    if (!run) {
      throw new BackendError('native addon', 'must be that of this version', `none with ${kernel}`, remedy());
    }
    run(...list);
  }

  protected pack(kernel: 'packWeight' | 'packWeightInt8', args: Arguments): void {
    this.run(PLANS[kernel], args);
  }

  protected packedLength(K: number, N: number): number {
    return this.addon.packedLength(K, N, this.bf16);
  }

  protected packedInt8Length(K: number, N: number): number {
    return this.addon.packedInt8Length(K, N);
  }

  cachePageLength(KV: number, HS: number): number {
    return this.addon.cachePageLength(KV, HS, this.bf16);
  }
}

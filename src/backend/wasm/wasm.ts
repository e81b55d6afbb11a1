/**
 * The `wasm` backend: the C++ kernels in WebAssembly, over storages in the module's linear memory. Arguments are
 * checked here by the kernel table, since the module takes addresses.
 */
import { BackendError, ShapeError } from '../../errors.js';
import type { DType, HostArray, Limits, Precision, Storage } from '../backend.js';
import {
  Allocation,
  type Arguments,
  CompiledBackend,
  CompiledStorage,
  PLANS,
  type Plan,
  written,
} from '../compiled/backend.js';
import { dimensionsOf } from '../compiled/header.js';
import type { CompiledKernel } from '../compiled/kernels.js';
import { KERNELS } from '../kernel-table.js';
import { checkArguments } from '../memory/arguments.js';
import { runningRows } from '../memory/exit-kernels.js';
import type { HostStorage } from '../memory/storage.js';
import { type Signature, signaturesOf } from '../signature.js';
import type { WasmModule } from './module.js';

/** An allocation in the module's memory. */
class Block extends Allocation {
  freed = false;

  constructor(
    readonly module: WasmModule,
    private readonly first: number,
    readonly length: number,
  ) {
    super();
    FORGOTTEN.register(this, () => module.functions.free(first), this);
  }

  get address(): number {
    if (this.freed) throw new BackendError('storage', 'must not be used after it was freed');
    return this.first;
  }

  free(): void {
    this.module.functions.free(this.address);
    this.freed = true;
    FORGOTTEN.unregister(this);
  }
}

/** Frees blocks that the garbage collector collects. */
const FORGOTTEN = new FinalizationRegistry((free: () => void) => free());

class WasmStorage extends CompiledStorage {
  private view: HostArray | null = null;

  constructor(
    override readonly dtype: 'f32' | 'i32',
    private readonly elements: number,
    readonly allocation: Block,
    private readonly offset = 0,
  ) {
    super(dtype);
  }

  /** 0 once it is freed. */
  override get length(): number {
    return this.allocation.freed ? 0 : this.elements;
  }

  /** In the module's memory as it is now. */
  get data(): HostArray {
    const { address } = this;
    const { buffer } = this.allocation.module;
    if (this.view?.buffer !== buffer) {
      const ArrayType = this.dtype === 'f32' ? Float32Array : Int32Array;
      // The type hides that memory may be shared, which readers do not notice.
      this.view = new ArrayType(buffer as ArrayBuffer, address, this.elements);
    }
    return this.view;
  }

  get address(): number {
    return this.allocation.address + 4 * this.offset;
  }

  get whole(): boolean {
    return this.offset === 0 && this.elements === this.allocation.length;
  }

  protected override part(offset: number, length: number): WasmStorage {
    return new WasmStorage(this.dtype, length, this.allocation, this.offset + offset);
  }
}

/** The checks of a kernel's call, and the dimensions that the module takes. */
const CHECKS = Object.fromEntries(
  Object.values(PLANS).map(({ kernel, signature }) => {
    const table = signaturesOf(KERNELS) as Readonly<Record<string, Signature>>;
    return [
      kernel,
      { signature: table[kernel.replace(/Int8$/, '')] ?? signature, dims: dimensionsOf(signature) },
    ];
  }),
) as unknown as Record<CompiledKernel, { readonly signature: Signature; readonly dims: readonly string[] }>;

/** The kernels of the WebAssembly module. `precision` is f32 by default, because bf16 is emulated with floats here. */
export class WasmBackend extends CompiledBackend {
  readonly name = 'wasm';
  private readonly pageLength = (KV: number, HS: number) => this.cachePageLength(KV, HS);

  /** With `int8`, forward products read weights rounded to 8 bits (see native/int8.h), and their inputs as floats. */
  constructor(
    private readonly module: WasmModule,
    precision: Precision = 'f32',
    int8 = false,
  ) {
    super(precision, int8);
  }

  get limits(): Limits {
    const { functions } = this.module;
    return {
      precisions: ['f32', 'bf16'],
      longRead: 64 << 20,
      multiplyAdds: (precision, iterations) => {
        const out = this.allocate('f32', 1);
        const done = this.module.call(functions.peakProducts, out.address, iterations, precision === 'bf16');
        this.free(out);
        return done;
      },
      read: (src) => {
        const out = this.allocate('f32', 1);
        this.run(PLANS.peakRead, { out, inp: src });
        this.free(out);
      },
    };
  }

  get description(): string {
    const { isa, threads } = this.module;
    return `wasm (${isa}, ${this.format}, ${threads} thread${threads === 1 ? '' : 's'})`;
  }

  protected get isa(): string {
    return this.module.isa;
  }

  allocate(dtype: DType, length: number): WasmStorage {
    if (dtype === 'f64') {
      throw new BackendError('allocate', 'dtype must be f32 or i32', dtype, 'the reference backend has f64');
    }
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new ShapeError('allocate', 'length must be a whole number', length);
    }
    return new WasmStorage(dtype, length, new Block(this.module, this.module.allocate(length * 4), length));
  }

  protected release(storage: HostStorage): void {
    if (!(storage instanceof WasmStorage)) {
      throw new BackendError('free', 'must be given storage of this backend');
    }
    if (!storage.whole) throw new BackendError('free', 'must be given a whole storage, not a slice of one');
    storage.allocation.free();
  }

  /** Through an array of the host: the memory may move during the wait. */
  async receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    const values = new Float32Array(dst.length);
    await fill(values);
    this.write(dst, values);
  }

  /** @internal */
  run({ kernel, fields, options }: Plan, args: Arguments): void {
    const { signature, dims } = CHECKS[kernel];
    const { sizes } = checkArguments(signature, args, this.pageLength);
    const list: unknown[] = [];
    for (const { name, written: writes, packed } of fields) {
      const storage = packed ? this.packed(kernel, packed, args) : (args[name] as Storage | null);
      list.push(storage && this.addressOf(kernel, storage));
      if (storage && writes) written(kernel, storage);
    }
    for (const name of dims) list.push(sizes[name]);
    this.addOptions(list, options, args);
    this.module.call(this.module.functions[kernel], ...list);
  }

  private addressOf(kernel: string, storage: Storage): number {
    if (storage instanceof WasmStorage && storage.allocation.module === this.module) return storage.address;
    throw new BackendError(kernel, 'must be given storage of this backend');
  }

  protected pack(kernel: 'packWeight' | 'packWeightInt8', { packed, weight, ...numbers }: Arguments): void {
    const addresses = [packed, weight].map((storage) => (storage as WasmStorage).address);
    const { K, N, transposed } = numbers;
    this.module.call(this.module.functions[kernel], ...addresses, K, N, transposed, this.bf16);
  }

  protected packedLength(K: number, N: number): number {
    return this.module.functions.packedLength(K, N, this.bf16);
  }

  protected packedInt8Length(K: number, N: number): number {
    return this.module.functions.packedInt8Length(K, N);
  }

  cachePageLength(KV: number, HS: number): number {
    return this.module.functions.cachePageLength(KV, HS, this.bf16);
  }

  override compact(running: Storage): Storage {
    const rows = runningRows(running);
    const storage = this.allocate('i32', rows.length);
    this.write(storage, rows);
    return storage;
  }
}

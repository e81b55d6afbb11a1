/**
 * The `native` backend: the C++ addon's kernels over typed arrays that the addon allocates. Every argument is checked
 * in the addon, and a refusal comes back as a ShapeError or BackendError.
 *
 * A weight is packed for the products that read it, and stays packed until something is written to its memory: every
 * storage counts the writes. So a loop network packs its weights once an update, however often it meets them.
 */
import { constants } from 'node:buffer';
import { BackendError, ShapeError } from '../../errors.js';
import type { Backend, DType, HostArray, Kernels, Limits, Precision, Storage } from '../backend.js';
import { EXIT_KERNELS, KERNELS, type OptionTypes } from '../kernel-table.js';
import { overStorages } from '../memory/arguments.js';
import { compact, exitKernels } from '../memory/exit-kernels.js';
import { copyOf, HostStorage, receiveInto } from '../memory/storage.js';
import { classWith } from '../methods.js';
import { type Activation, ACTIVATIONS, type Dropout, LOOP_FORMS, type LoopForm } from '../options.js';
import { signaturesOf } from '../signature.js';
import { type Argument, isaInUse, loadAddon, type NativeAddon, remedy } from './addon.js';
import { ADDON_KERNELS, type AddonKernel, PACKED, type PackedField, WITH_INT8 } from './addon-kernels.js';

/** A weight as products read it, in the layout of an instruction set. */
interface Packing {
  /** Writes to the weight's memory when it was packed. */
  version: number;
  readonly isa: string;
  readonly data: Float32Array;
}

/** What all slices of one allocation share. */
interface Memory {
  /** Number of writes to it. */
  version: number;
  readonly packings: Map<string, Packing>;
}

/** Storage that knows its allocation. */
class NativeStorage extends HostStorage {
  constructor(
    dtype: DType,
    data: HostArray,
    readonly memory: Memory = { version: 0, packings: new Map() },
  ) {
    super(dtype, data);
  }

  override slice(offset: number, length: number): NativeStorage {
    return new NativeStorage(this.dtype, super.slice(offset, length).data, this.memory);
  }
}

/** The array of a storage that is about to change. */
const written = (where: string, storage: Storage): HostArray => {
  if (storage instanceof NativeStorage) storage.memory.version++;
  return host(where, storage);
};

const host = (where: string, storage: Storage): HostArray => {
  if (storage instanceof HostStorage) return storage.data;
  throw new BackendError(where, 'must be given storage of this backend');
};

type Arguments = Readonly<Record<string, unknown>>;

/** One array among a kernel's arguments: a storage that it writes or reads, or its weight, packed. */
interface Field {
  readonly name: string;
  readonly written: boolean;
  readonly packed: PackedField | null;
}

/** What the addon is to be handed of a kernel's arguments, in its order. */
interface Plan {
  readonly kernel: AddonKernel;
  readonly fields: readonly Field[];
  readonly dims: readonly string[];
  readonly options: readonly (readonly [name: string, encode: Encode])[];
}

/** Appends an option as the addon takes it. */
type Encode = (list: Argument[], value: unknown) => void;

const asItIs: Encode = (list, value) => list.push(value as number | boolean);
const dropoutAsNumbers: Encode = (list, value) => {
  const dropout = value as Dropout | null;
  // A null probability means none.
  if (dropout) list.push(dropout.p, dropout.key[0], dropout.key[1], dropout.firstSample);
  else list.push(null, 0, 0, 0);
};
/** Choices are told by their place; what is not here is told as it is. */
const ENCODE: Partial<Record<keyof OptionTypes, Encode>> = {
  activation: (list, value) => list.push(ACTIVATIONS.indexOf(value as Activation)),
  loopForm: (list, value) => list.push(LOOP_FORMS.indexOf(value as LoopForm)),
  dropout: dropoutAsNumbers,
  'dropout?': dropoutAsNumbers,
};

const PLANS = Object.fromEntries(
  Object.entries(signaturesOf(ADDON_KERNELS)).map(([kernel, { arrays, dims, options }]) => {
    const packed = PACKED[kernel.replace(/Int8$/, '')] ?? [];
    const fields = arrays.map(({ name, role }) => ({
      name,
      written: role !== 'in',
      packed: packed.find((field) => field.name === name) ?? null,
    }));
    const encoded = options.map(([name, kind]) => [name, ENCODE[kind] ?? asItIs] as const);
    return [kernel, { kernel, fields, dims, options: encoded } as Plan];
  }),
) as Record<AddonKernel, Plan>;

/** A method of the backend for each kernel of the addon, and those that engines in the host's memory share. */
const METHODS = {
  ...Object.fromEntries(
    Object.keys(KERNELS).map((name) => {
      const plan = PLANS[name as AddonKernel];
      const int8 = (WITH_INT8 as readonly string[]).includes(name)
        ? PLANS[`${name}Int8` as AddonKernel]
        : plan;
      return [
        name,
        function (this: NativeBackend, args: Arguments) {
          this.run(this.int8 ? int8 : plan, args);
        },
      ];
    }),
  ),
  ...overStorages(EXIT_KERNELS, exitKernels, () => 0),
} as Kernels;

/** Kernels in C++. Tensors are float32; `precision` says how products read their operands. */
export class NativeBackend extends classWith(METHODS) implements Backend {
  readonly name = 'native';
  readonly dtype = 'f32';
  readonly synchronous = true;
  readonly precision: Precision;
  private readonly addon: NativeAddon;
  private readonly bf16: boolean;

  /**
   * `precision` is bf16 by default where the machine has instructions for it, f32 elsewhere; with `int8`, forward products
   * read weights that were rounded to 8 bits (see native/int8.h), and their inputs as floats.
   * Throws BackendError when the addon is missing or does not fit the machine.
   */
  constructor(
    precision?: Precision,
    /** @internal */
    readonly int8 = false,
  ) {
    super();
    this.addon = loadAddon();
    this.precision = precision ?? (this.addon.info().bf16 ? 'bf16' : 'f32');
    this.bf16 = this.precision === 'bf16';
  }

  get limits(): Limits {
    const { addon } = this;
    const out = new Float32Array(1);
    return {
      multiplyAdds: (precision, iterations) => addon.peakProducts(out, iterations, precision === 'bf16'),
      read: (src) => addon.peakRead(out, host('read', src)),
    };
  }

  get description(): string {
    const { isa, threads } = this.addon.info();
    const format = this.int8 ? `${this.precision}, int8 weights` : this.precision;
    return `native (${isa}, ${format}, ${threads} thread${threads === 1 ? '' : 's'})`;
  }

  // ---- storage ---------------------------------------------------------------------------------------------

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

  free(storage: Storage): void {
    const { buffer, byteOffset, byteLength } = host('free', storage);
    if (byteOffset !== 0 || byteLength !== buffer.byteLength) {
      throw new BackendError('free', 'must be given a whole storage, not a slice of one');
    }
    if (byteLength > 0) this.addon.free(buffer);
    if (storage instanceof NativeStorage) {
      for (const { data } of storage.memory.packings.values()) this.addon.free(data.buffer);
      storage.memory.packings.clear();
    }
  }

  slice(storage: Storage, offset: number, length: number): Storage {
    if (!(storage instanceof HostStorage))
      throw new BackendError('slice', 'must be given storage of this backend');
    return storage.slice(offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    const data = written('write', dst);
    if (values.length > data.length) {
      throw new ShapeError('write', `must fit into ${data.length} elements`, values.length);
    }
    data.set(values);
  }

  async receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    try {
      await receiveInto(written('receive', dst), fill);
    } finally {
      written('receive', dst); // what was packed meanwhile is old too
    }
  }

  async read(src: Storage, into?: HostArray): Promise<HostArray> {
    return copyOf(host('read', src), into);
  }

  fill(dst: Storage, value: number): void {
    const data = written('fill', dst);
    if (data instanceof Int32Array) {
      data.fill(value);
    } else {
      this.addon.fill(data, value);
    }
  }

  copy(dst: Storage, src: Storage): void {
    const to = written('copy', dst);
    const from = host('copy', src);
    if (to instanceof Int32Array && from instanceof Int32Array) {
      if (to.length !== from.length) {
        throw new ShapeError('copy', `argument 'src' must hold ${to.length} elements`, from.length);
      }
      to.set(from);
    } else {
      this.addon.copy(to, from);
    }
  }

  copyWithin(storage: Storage, to: number, from: number, length: number): void {
    written('copyWithin', storage);
    (storage as HostStorage).copyWithin(to, from, length);
  }

  /**
   * Hands a kernel its arrays and numbers; the addon checks them all.
   * @internal
   */
  run({ kernel, fields, dims, options }: Plan, args: Arguments): void {
    const list: Argument[] = [];
    for (const { name, written: writes, packed } of fields) {
      if (packed) list.push(this.packed(kernel, packed, args));
      else {
        const storage = args[name] as Storage | null;
        list.push(storage && (writes ? written(kernel, storage) : host(kernel, storage)));
      }
    }
    for (const name of dims) list.push(args[name] as number);
    for (const [name, encode] of options) encode(list, name === 'bf16' ? this.bf16 : args[name]);
    const run = this.addon[kernel];
    if (!run) {
      throw new BackendError('native addon', 'must be that of this version', `none with ${kernel}`, remedy());
    }
    run(...list);
  }

  /** The kernel's weight as a product reads it; packed anew if it was written to. */
  private packed(kernel: AddonKernel, field: PackedField, args: Arguments): Float32Array {
    const [K, N] = [args[field.rows] as number, args[field.columns] as number];
    const weight = args.weight as Storage;
    const data = host(kernel, weight);
    if (data.length !== K * N) {
      throw new ShapeError(kernel, `argument 'weight' must hold ${K * N} elements`, data.length);
    }
    if (!(weight instanceof NativeStorage)) {
      throw new BackendError(kernel, 'must be given storage of this backend');
    }
    const { transposed } = field;
    const { packings, version } = weight.memory;
    const int8 = kernel.endsWith('Int8');
    const format = int8 ? 'int8' : this.precision;
    const key = `${data.byteOffset} ${K} ${N} ${transposed} ${format}`;
    let packing = packings.get(key);
    const isa = isaInUse();
    if (packing?.isa !== isa) {
      packings.delete(key);
      if (packing) this.addon.free(packing.data.buffer);
      const length = int8 ? this.addon.packedInt8Length(K, N) : this.addon.packedLength(K, N, this.bf16);
      packing = { version: -1, isa, data: new Float32Array(this.addon.allocate(length * 4)) };
      packings.set(key, packing);
    }
    if (packing.version !== version) {
      if (int8) this.addon.packWeightInt8(packing.data, data, K, N, transposed);
      else this.addon.packWeight(packing.data, data, K, N, transposed, this.bf16);
      packing.version = version;
    }
    return packing.data;
  }

  cachePageLength(NH: number, HS: number): number {
    return this.addon.cachePageLength(NH, HS, this.bf16);
  }

  readonly compact: Backend['compact'] = compact;
}

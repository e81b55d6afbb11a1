/**
 * The shared part of the engines with kernels in C++: a method for each kernel, and weights that stay packed.
 *
 * A weight is packed for the products that read it, and stays packed until something is written to its memory: every
 * storage counts the writes. A loop network therefore packs its weights once per update, however often it reads them.
 */
import { BackendError, ShapeError } from '../../errors.js';
import {
  type Backend,
  type DType,
  type HostArray,
  type Kernels,
  type Limits,
  PACKED_COLUMNS,
  type Precision,
  type Storage,
  type WeightPacker,
} from '../backend.js';
import { EXIT_KERNELS, KERNELS, type OptionTypes } from '../kernel-table.js';
import { overStorages } from '../memory/arguments.js';
import { compact, exitKernels } from '../memory/exit-kernels.js';
import { copyOf, HostStorage } from '../memory/storage.js';
import { classWith } from '../methods.js';
import { type Activation, ACTIVATIONS, type Dropout, LOOP_FORMS, type LoopForm } from '../options.js';
import { type Signature, signaturesOf } from '../signature.js';
import { COMPILED_KERNELS, type CompiledKernel, PACKED, type PackedField, WITH_INT8 } from './kernels.js';
import { PackedWeight } from './packed-weight.js';

/** A weight as products read it, in the layout of an instruction set. */
interface Packing {
  /** Writes to the weight's memory when it was packed. */
  version: number;
  readonly isa: string;
  readonly storage: CompiledStorage;
}

/** State that all slices of one allocation share. */
export class Allocation {
  /** Number of writes to it. */
  version = 0;
  readonly packings = new Map<string, Packing>();
}

/** Storage that knows its allocation. */
export abstract class CompiledStorage extends HostStorage {
  abstract readonly allocation: Allocation;
}

/** The storage, counted as written: for a caller that is about to write to it. */
export function written(where: string, storage: Storage): HostStorage {
  if (storage instanceof CompiledStorage) storage.allocation.version++;
  return host(where, storage);
}

export function host(where: string, storage: Storage): HostStorage {
  if (storage instanceof PackedWeight) {
    throw new BackendError(where, 'must be given a weight whose values are kept, not its packing alone');
  }
  if (storage instanceof HostStorage) return storage;
  throw new BackendError(where, 'must be given storage of this backend');
}

export type Arguments = Readonly<Record<string, unknown>>;
/** A dimension, or an option spread into numbers and flags; null for no dropout. */
export type Scalar = number | boolean | null;

/** One array among a kernel's arguments: a storage that it writes or reads, or its weight, packed. */
export interface Field {
  readonly name: string;
  readonly written: boolean;
  readonly packed: PackedField | null;
}

/** The arguments that a kernel receives, in its order. */
export interface Plan {
  readonly kernel: CompiledKernel;
  readonly signature: Signature;
  readonly fields: readonly Field[];
  readonly options: readonly (readonly [name: string, encode: Encode])[];
}

/** Appends an option as kernels take it. */
type Encode = (list: unknown[], value: unknown) => void;

const asItIs: Encode = (list, value) => list.push(value);
const dropoutAsNumbers: Encode = (list, value) => {
  const dropout = value as Dropout | null;
  // A null probability means no dropout.
  if (dropout) list.push(dropout.p, dropout.key[0], dropout.key[1], dropout.firstSample);
  else list.push(null, 0, 0, 0);
};
/** Choices are passed as their index; other options are passed unchanged. */
const ENCODE: Partial<Record<keyof OptionTypes, Encode>> = {
  activation: (list, value) => list.push(ACTIVATIONS.indexOf(value as Activation)),
  loopForm: (list, value) => list.push(LOOP_FORMS.indexOf(value as LoopForm)),
  dropout: dropoutAsNumbers,
  'dropout?': dropoutAsNumbers,
};

export const PLANS = Object.fromEntries(
  Object.entries(signaturesOf(COMPILED_KERNELS)).map(([kernel, signature]) => {
    const packed = PACKED[kernel.replace(/Int8$/, '')] ?? [];
    const fields = signature.arrays.map(({ name, role }) => ({
      name,
      written: role !== 'in',
      packed: packed.find((field) => field.name === name) ?? null,
    }));
    const options = signature.options.map(([name, kind]) => [name, ENCODE[kind] ?? asItIs] as const);
    return [kernel, { kernel, signature, fields, options } as Plan];
  }),
) as Record<CompiledKernel, Plan>;

/** A method of the backend for each kernel, and the methods that engines in the host's memory share. */
const METHODS = {
  ...Object.fromEntries(
    Object.keys(KERNELS).map((name) => {
      const plan = PLANS[name as CompiledKernel];
      const int8 = (WITH_INT8 as readonly string[]).includes(name)
        ? PLANS[`${name}Int8` as CompiledKernel]
        : plan;
      return [
        name,
        function (this: CompiledBackend, args: Arguments) {
          this.run(this.int8 ? int8 : plan, args);
        },
      ];
    }),
  ),
  ...overStorages(EXIT_KERNELS, exitKernels, () => 0),
} as Kernels;

/** Kernels in C++. Tensors are float32; `precision` says how products read their operands. */
export abstract class CompiledBackend extends classWith(METHODS) implements Backend {
  abstract readonly name: string;
  readonly dtype = 'f32';
  readonly synchronous = true;
  protected readonly bf16: boolean;
  readonly packer: WeightPacker = {
    allocate: (K, N, transposed) => {
      const { isa } = this;
      const layout = { K, N, transposed, format: this.formatOf(this.int8), isa };
      return new PackedWeight(layout, this.allocate('f32', this.lengthOf(this.int8, K, N)));
    },
    pack: (dst, first, values) => this.packColumns(dst, first, values),
  };

  constructor(
    readonly precision: Precision,
    /** @internal */
    readonly int8: boolean,
  ) {
    super();
    this.bf16 = precision === 'bf16';
  }

  abstract get limits(): Limits;
  abstract get description(): string;
  /** The instruction set in use: packed weights have its layout. */
  protected abstract get isa(): string;

  /** The format of operands, for the description. */
  protected get format(): string {
    return this.int8 ? `${this.precision}, int8 weights` : this.precision;
  }

  // ---- storage ---------------------------------------------------------------------------------------------

  abstract allocate(dtype: DType, length: number): CompiledStorage;
  /** Releases the memory of a whole allocation. */
  protected abstract release(storage: HostStorage): void;

  free(storage: Storage): void {
    if (storage instanceof PackedWeight) {
      this.release(storage.packing);
      return;
    }
    this.release(host('free', storage));
    if (!(storage instanceof CompiledStorage)) return;
    for (const packing of storage.allocation.packings.values()) this.release(packing.storage);
    storage.allocation.packings.clear();
  }

  slice(storage: Storage, offset: number, length: number): Storage {
    return host('slice', storage).slice(offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    const { data } = written('write', dst);
    if (values.length > data.length) {
      throw new ShapeError('write', `must fit into ${data.length} elements`, values.length);
    }
    data.set(values);
  }

  abstract receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void>;

  async read(src: Storage, into?: HostArray): Promise<HostArray> {
    return copyOf(host('read', src).data, into);
  }

  fill(dst: Storage, value: number): void {
    const storage = host('fill', dst);
    if (storage.dtype === 'i32') written('fill', dst).data.fill(value);
    else this.run(PLANS.fill, { dst, value });
  }

  copy(dst: Storage, src: Storage): void {
    const [to, from] = [host('copy', dst), host('copy', src)];
    if (to.dtype !== 'i32' || from.dtype !== 'i32') {
      this.run(PLANS.copy, { dst, src });
      return;
    }
    if (to.length !== from.length) {
      throw new ShapeError('copy', `argument 'src' must hold ${to.length} elements`, from.length);
    }
    written('copy', dst).data.set(from.data);
  }

  copyWithin(storage: Storage, to: number, from: number, length: number): void {
    written('copyWithin', storage).copyWithin(to, from, length);
  }

  // ---- kernels ---------------------------------------------------------------------------------------------

  /**
   * Checks a kernel's arguments and runs it.
   * @internal
   */
  abstract run(plan: Plan, args: Arguments): void;
  protected abstract packedLength(K: number, N: number): number;
  protected abstract packedInt8Length(K: number, N: number): number;
  /** Runs `packWeight` or `packWeightInt8`. */
  protected abstract pack(kernel: 'packWeight' | 'packWeightInt8', args: Arguments): void;

  /** The options of a call as the kernel takes them, appended to `list`. */
  protected addOptions(list: unknown[], options: Plan['options'], args: Arguments): void {
    for (const [name, encode] of options) encode(list, name === 'bf16' ? this.bf16 : args[name]);
  }

  /** The kernel's weight as a product reads it; packed again if it has been written to. */
  protected packed(kernel: CompiledKernel, field: PackedField, args: Arguments): HostStorage {
    const [K, N] = [args[field.rows] as number, args[field.columns] as number];
    const int8 = kernel.endsWith('Int8');
    const format = this.formatOf(int8);
    const { isa } = this;
    const { transposed } = field;
    if (args.weight instanceof PackedWeight) {
      return args.weight.as(kernel, { K, N, transposed, format, isa });
    }
    const weight = host(kernel, args.weight as Storage);
    if (weight.length !== K * N) {
      throw new ShapeError(kernel, `argument 'weight' must hold ${K * N} elements`, weight.length);
    }
    if (!(weight instanceof CompiledStorage)) {
      throw new BackendError(kernel, 'must be given storage of this backend');
    }
    const { packings, version } = weight.allocation;
    const key = `${weight.data.byteOffset} ${K} ${N} ${transposed} ${format}`;
    let packing = packings.get(key);
    if (packing?.isa !== isa) {
      packings.delete(key);
      if (packing) this.release(packing.storage);
      packing = { version: -1, isa, storage: this.allocate('f32', this.lengthOf(int8, K, N)) };
      packings.set(key, packing);
    }
    if (packing.version !== version) {
      this.packWith(int8, { packed: packing.storage, weight, K, N, transposed });
      packing.version = version;
    }
    return packing.storage;
  }

  /** See WeightPacker.pack. */
  private packColumns(dst: Storage, first: number, values: Storage): void {
    if (!(dst instanceof PackedWeight)) throw new BackendError('pack', 'must be given a weight to be packed');
    const { layout, packing } = dst;
    const { K, transposed } = layout;
    const N = values.length / K;
    const end = first + N;
    const apart = (column: number) => column % PACKED_COLUMNS === 0 || column === layout.N;
    const whole = first === 0 && end === layout.N;
    if (!whole && !(transposed && apart(first) && apart(end) && end <= layout.N)) {
      const rule = `must be all ${layout.N} columns, or some of a transpose by ${PACKED_COLUMNS}`;
      throw new ShapeError('pack', rule, [first, end]);
    }
    const [offset, length] = [first, N].map((columns) => this.lengthOf(this.int8, K, columns));
    this.packWith(this.int8, { packed: packing.slice(offset, length), weight: values, K, N, transposed });
  }

  private packWith(int8: boolean, args: Arguments): void {
    this.pack(int8 ? 'packWeightInt8' : 'packWeight', args);
  }

  /** Floats of the packing of B (K, N). */
  private lengthOf(int8: boolean, K: number, N: number): number {
    if (N === 0) return 0;
    return int8 ? this.packedInt8Length(K, N) : this.packedLength(K, N);
  }

  /** The format of a packing's values. */
  private formatOf(int8: boolean): string {
    return int8 ? 'int8' : this.precision;
  }

  abstract cachePageLength(KV: number, HS: number): number;

  compact(running: Storage): Storage | null {
    return compact(running);
  }
}

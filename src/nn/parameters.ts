/**
 * The parameters of a model: declared by name while its modules are built, then laid out in one flat storage, with one
 * flat storage for the gradients. It must not import models or optimizers.
 */
import type { Storage, WeightPacker } from '../backend/backend.js';
import { Parameter, type Role, type Runtime, size } from '../tensor/tensor.js';
import { normal } from '../random.js';

/** A parameter's initial values: all equal, normal with mean 0, or a function of the element's number. */
export type Init =
  | { readonly value: number }
  | { readonly std: number }
  | { readonly at: (element: number) => number };

/** The identity (C, C). */
export const identity = (C: number): Init => ({ at: (k) => (k % (C + 1) === 0 ? 1 : 0) });

/** Initial values of a parameter from element `first` on. */
export function initialValues(
  init: Init,
  seed: number,
  name: string,
  length: number,
  first = 0,
): Float64Array {
  if ('std' in init) return normal(seed, name, length, init.std, first);
  return 'value' in init
    ? new Float64Array(length).fill(init.value)
    : Float64Array.from({ length }, (_, k) => init.at(first + k));
}

/** What reads a parameter: the product of a linear layer, that of a head, or an embedding that takes rows of it. */
export type Use = 'linear' | 'head' | 'rows';

/** A parameter before it has memory. */
export interface ParameterSpec {
  readonly name: string;
  readonly role: Role;
  readonly shape: readonly number[];
  readonly init: Init;
  /** All its readers; empty if kernels read its values. */
  readonly uses: readonly Use[];
  /** The number of columns of each matrix, if several lie side by side in one. */
  readonly columns?: readonly number[];
}

/** Rows of a matrix that is not in the engine's memory. */
export interface Rows extends Disposable {
  /** Copies row `id` (C) to `into`. Throws CheckpointError if the row can not be read. */
  copy(id: number, into: Float32Array): void;
}

/** A parameter of a module: read `value` once the model is allocated. */
export class ParameterSlot {
  /** The source of an embedding's rows; null for the value itself. */
  table: Rows | null = null;
  private parameter: Parameter | null = null;
  private rows: Parameter[] = [];

  constructor(readonly spec: ParameterSpec) {}

  get name(): string {
    return this.spec.name;
  }

  get value(): Parameter {
    if (!this.parameter) throw new Error(`${this.name}: used before the model was allocated`);
    return this.parameter;
  }

  set value(parameter: Parameter) {
    this.parameter = parameter;
    this.rows = [];
  }

  /** Row `i` of the value, for gates stacked in one matrix. */
  row(i: number): Parameter {
    this.rows[i] ??= this.value.row(i);
    return this.rows[i];
  }

  /** Row `i`, or the last row if `i` is beyond it: loops beyond the trained count reuse the last row. */
  rowUpTo(i: number): Parameter {
    return this.row(Math.min(i, this.spec.shape[0] - 1));
  }
}

/** Where a module declares its parameters: a prefix of names, as in `transformer.h.0.attn`. */
export class ParameterScope {
  constructor(
    readonly slots: ParameterSlot[] = [],
    readonly prefix = '',
  ) {}

  /** The scope of a submodule. */
  child(name: string): ParameterScope {
    return new ParameterScope(this.slots, this.prefix === '' ? name : `${this.prefix}.${name}`);
  }

  declare(
    name: string,
    role: Role,
    shape: readonly number[],
    init: Init,
    uses: readonly Use[] = [],
    columns?: readonly number[],
  ): ParameterSlot {
    const spec = { name: this.child(name).prefix, role, shape, init, uses };
    const slot = new ParameterSlot(columns ? { ...spec, columns } : spec);
    this.slots.push(slot);
    return slot;
  }
}

/** Order of the roles in the flat storage: parameters that AdamW treats alike lie side by side. */
const ROLE_ORDER: readonly Role[] = [
  'embedding',
  'position',
  'matrix',
  'gate',
  'coefficient',
  'norm',
  'bias',
];
/** Every parameter starts at a multiple of this many elements (256 bytes). */
const ALIGNMENT = 64;

const aligned = (length: number): number => Math.ceil(length / ALIGNMENT) * ALIGNMENT;

/** Initial values that are drawn at once: about 60 ms. */
const PIECE = 1 << 20;

/** A run of the flat storage whose parameters share a role. */
export interface RoleRange {
  readonly role: Role;
  readonly offset: number;
  readonly length: number;
}

/** The parameters of one model in memory. */
export class Parameters {
  /** In order of declaration. */
  readonly all: readonly Parameter[];
  readonly ranges: readonly RoleRange[];
  readonly storage: Storage;
  readonly gradient: Storage | null;
  /** The offset of each parameter, by name; parameters whose values are not kept have none. */
  private readonly offsets = new Map<string, number>();
  private readonly packings: Storage[] = [];

  /**
   * Allocates the declared slots; with `train`, gradients too. Values are zero until `initialise` or a checkpoint. With
   * `packed`, an engine that packs weights keeps only the packings of parameters that products and embeddings alone
   * read: these must come from a checkpoint (see train/packed-weights.ts), and can not be read.
   */
  constructor(
    readonly runtime: Runtime,
    readonly slots: readonly ParameterSlot[],
    train: boolean,
    packed = false,
  ) {
    const { backend } = runtime;
    const packer = packed ? backend.packer : null;
    const kept = packer ? slots.filter(({ spec }) => spec.uses.length === 0) : slots;
    const ranges: RoleRange[] = [];
    let end = 0;
    for (const role of ROLE_ORDER) {
      const offset = end;
      for (const slot of kept.filter((s) => s.spec.role === role)) {
        this.offsets.set(slot.name, end);
        end += aligned(size(slot.spec.shape));
      }
      if (end > offset) ranges.push({ role, offset, length: end - offset });
    }
    this.ranges = ranges;
    const storage = backend.allocate(backend.dtype, end);
    const gradient = train ? backend.allocate(backend.dtype, end) : null;
    this.storage = storage;
    this.gradient = gradient;
    this.all = slots.map((slot) => {
      const { name, role, shape } = slot.spec;
      const offset = this.offsets.get(name);
      if (offset === undefined) {
        slot.value = new Parameter(runtime, name, role, shape, this.packing(slot, packer!), null);
      } else {
        const part = (whole: Storage) => backend.slice(whole, offset, size(shape));
        slot.value = new Parameter(runtime, name, role, shape, part(storage), gradient && part(gradient));
      }
      return slot.value;
    });
  }

  /** The packing of a parameter that products read; empty if only rows of it are read. */
  private packing({ spec: { shape, uses } }: ParameterSlot, packer: WeightPacker): Storage {
    const [rows, columns] = shape;
    if (uses.includes('linear')) this.packings.push(packer.allocate(rows, columns, false));
    else if (uses.includes('head')) this.packings.push(packer.allocate(columns, rows, true));
    else return this.runtime.backend.slice(this.storage, 0, 0);
    return this.packings.at(-1)!;
  }

  /** Whether a parameter's values are kept. */
  keeps({ name }: ParameterSlot): boolean {
    return this.offsets.has(name);
  }

  /** Sets every parameter to its initial value; each is a function of the seed and its name. */
  initialise(seed: number): void {
    for (const _ of this.initialising(seed));
  }

  /** The same, piece by piece, for callers with other work between the pieces. */
  *initialising(seed: number): Generator<void> {
    const { backend } = this.runtime;
    for (const { spec, value } of this.slots) {
      const { name, init } = spec;
      if ('value' in init) {
        backend.fill(value.storage, init.value);
        continue;
      }
      for (let first = 0; first < value.size; first += PIECE) {
        const length = Math.min(PIECE, value.size - first);
        const piece = backend.slice(value.storage, first, length);
        backend.write(piece, initialValues(init, seed, name, length, first));
        yield;
      }
    }
  }

  /** Where a parameter begins in the flat storage, and in others that are laid out like it. */
  offsetOf(parameter: Parameter): number {
    return this.offsets.get(parameter.name)!;
  }

  /** A parameter's part of the flat storage, up to the next parameter. */
  placeOf(parameter: Parameter): { readonly offset: number; readonly length: number } {
    return { offset: this.offsetOf(parameter), length: aligned(parameter.size) };
  }

  zeroGradients(): void {
    if (this.gradient) this.runtime.backend.fill(this.gradient, 0);
  }

  /** Gives the memory back at once. */
  dispose(): void {
    const { backend } = this.runtime;
    backend.free(this.storage);
    if (this.gradient) backend.free(this.gradient);
    for (const packing of this.packings) backend.free(packing);
    for (const slot of this.slots) slot.table?.[Symbol.dispose]();
  }
}

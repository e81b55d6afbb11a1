/**
 * Tensor: a shape over a buffer; Parameter: a tensor with a name, a role and a gradient that outlive a step;
 * Runtime: the environment of tensors. The arithmetic is in `ops.ts`, the order of gradients in `tape.ts`.
 *
 * Ownership: a function borrows the tensors it is given, and its caller owns the one it returns. Owned tensors are
 * declared with `using`, so that their memory returns to the pool at the end of the block, unless the tape still needs
 * it.
 */
import type { Backend, DType, HostArray, Storage } from '../backend/backend.js';
import { ShapeError } from '../errors.js';
import { Buffer, Pool } from './pool.js';
import type { Tape } from './tape.js';

/** The environment of tensors: a backend, its memory pool, and the tape that records while gradients are needed. */
export class Runtime {
  readonly pool: Pool;
  /** Records the ops for the backward pass; null outside training. */
  tape: Tape | null = null;
  /**
   * Receives the output of every module with its name, in order of execution (see `train/diagnose.ts`); usually null.
   */
  observe: ((where: string, x: Tensor) => void) | null = null;
  /** Receives each parameter before an op adds to its gradient (see `train/gradient-schedule.ts`); usually null. */
  learns: ((parameter: Parameter) => void) | null = null;
  /**
   * The replacement for an embedding's gradient, and the row of it that each token reads (see `train/touched-rows.ts`).
   */
  rowGradient: { readonly of: Parameter; readonly gradient: Storage; readonly tokens: Storage } | null = null;

  constructor(readonly backend: Backend) {
    this.pool = new Pool(backend);
  }

  /** A tensor whose contents are not set yet. */
  empty(shape: readonly number[], dtype: DType = this.backend.dtype): Tensor {
    return new Tensor(this, shape, this.pool.take(dtype, size(shape)));
  }

  /**
   * A tensor with the given values. Throws ShapeError if their number does not match the shape, or if whole numbers lie
   * outside the range that kernels require: an engine need not check them again.
   */
  from(values: HostArray, shape: readonly number[], range?: IdRange): Tensor {
    if (values.length !== size(shape)) {
      throw new ShapeError(
        'tensor',
        `must hold ${size(shape)} values for shape (${shape.join(', ')})`,
        values.length,
      );
    }
    if (range) requireRange(values, range);
    const x = this.empty(shape, values instanceof Int32Array ? 'i32' : this.backend.dtype);
    this.backend.write(x.storage, values);
    return x;
  }

  /** Runs `body` with `tape` recording (or with none), and restores the former tape. */
  recording<Result>(tape: Tape | null, body: () => Result): Result {
    const former = this.tape;
    this.tape = tape;
    try {
      return body();
    } finally {
      this.tape = former;
    }
  }
}

/** The range of whole numbers: at least `least` (0 by default), and below `below`. */
export interface IdRange {
  readonly what: string;
  readonly below: number;
  readonly least?: number;
}

function requireRange(values: HostArray, { what, below, least = 0 }: IdRange): void {
  const wrong = values.findIndex((value) => !(value >= least && value < below));
  if (wrong < 0) return;
  throw new ShapeError(what, `must lie from ${least} to ${below - 1} (element ${wrong})`, values[wrong]);
}

/** A dense row-major array that an op made or the host wrote. */
export class Tensor {
  /**
   * The gradient of the loss with respect to this tensor, while the backward pass holds it; a leaf keeps its gradient.
   */
  grad: Buffer | null = null;
  private disposed = false;

  constructor(
    readonly runtime: Runtime,
    readonly shape: readonly number[],
    readonly buffer: Buffer,
  ) {}

  /** A tensor over a storage that the pool does not own. */
  static over(runtime: Runtime, shape: readonly number[], storage: Storage): Tensor {
    return new Tensor(runtime, shape, new Buffer(storage, null));
  }

  get storage(): Storage {
    return this.buffer.storage;
  }

  get size(): number {
    return size(this.shape);
  }

  /** A copy of the values, once the backend has computed them. */
  read(): Promise<HostArray> {
    return this.runtime.backend.read(this.storage);
  }

  /** Releases the owner's hold on the memory; further calls do nothing. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.buffer.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Number of elements of a shape. */
export function size(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/**
 * What a parameter is for. AdamW's weight decay and the parameter counts depend on the role, never on the number of
 * dimensions. A `gate` weights what a loop adds. A `coefficient` belongs to a recipe that mixes the loops' states; its
 * neutral value is seldom 0, so no setting decays it.
 */
export type Role = 'matrix' | 'embedding' | 'position' | 'norm' | 'bias' | 'gate' | 'coefficient';

/** A trained tensor; its gradient is added to until the optimizer clears it. */
export class Parameter extends Tensor {
  constructor(
    runtime: Runtime,
    readonly name: string,
    readonly role: Role,
    shape: readonly number[],
    storage: Storage,
    readonly gradient: Storage | null,
    /** The parameter of which this one is a row; null if it is not a row. */
    readonly matrix: Parameter | null = null,
  ) {
    super(runtime, shape, new Buffer(storage, null));
  }

  /** Row `i` of a matrix of gates as a separate parameter that shares memory. */
  row(i: number): Parameter {
    const width = this.shape[1];
    const { backend } = this.runtime;
    const part = (whole: Storage) => backend.slice(whole, i * width, width);
    return new Parameter(
      this.runtime,
      `${this.name}[${i}]`,
      this.role,
      [width],
      part(this.storage),
      this.gradient && part(this.gradient),
      this,
    );
  }
}

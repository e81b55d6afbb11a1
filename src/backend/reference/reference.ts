/**
 * The reference backend: every kernel in plain TypeScript, summing in double precision. It is the oracle of the tests
 * and the fallback if the native addon cannot load; it favours clarity over speed.
 */
import { ShapeError } from '../../errors.js';
import type { Backend, DType, HostArray, Kernels, Storage } from '../backend.js';
import { ALL_KERNELS } from '../kernel-table.js';
import { overStorages } from '../memory/arguments.js';
import { compact, exitKernels } from '../memory/exit-kernels.js';
import { classWith } from '../methods.js';
import { ArrayStorage, copyOf, HostStorage, receiveInto } from '../memory/storage.js';
import { activation } from './activation.js';
import { attention } from './attention.js';
import { cache, cachePageLength } from './cache.js';
import { elementwise } from './elementwise.js';
import { embedding } from './embedding.js';
import { exits } from './exits.js';
import { head } from './head.js';
import { heads } from './heads.js';
import { injection } from './injection.js';
import { INT8_TABLE, int8 } from './int8.js';
import { linear } from './linear.js';
import { norm } from './norm.js';
import { optimizer } from './optimizer.js';
import { residual } from './residual.js';
import { rows } from './rows.js';
import { streams } from './streams.js';

const FAMILIES = {
  ...elementwise,
  ...activation,
  ...residual,
  ...injection,
  ...streams,
  ...rows,
  ...exits,
  ...embedding,
  ...norm,
  ...heads,
  ...linear,
  ...attention,
  ...cache,
  ...head,
  ...optimizer,
  ...exitKernels,
};
const METHODS: Kernels = overStorages(ALL_KERNELS, FAMILIES, cachePageLength);
const INT8_METHODS = overStorages(INT8_TABLE, int8, cachePageLength);

/** Kernels over Float32Array, or over Float64Array for finite differences, which need doubles. */
export class ReferenceBackend extends classWith(METHODS) implements Backend {
  readonly name = 'reference';
  readonly precision = 'f32';
  readonly limits = null;
  readonly packer = null;
  readonly synchronous = true;
  readonly description: string;

  /** With `int8Weights`, products of inference use weights rounded to 8 bits. */
  constructor(
    readonly dtype: 'f32' | 'f64' = 'f32',
    int8Weights = false,
  ) {
    super();
    if (int8Weights) Object.assign(this, INT8_METHODS);
    this.description = `reference (plain TypeScript, ${dtype}${int8Weights ? ', int8 weights' : ''}, 1 thread)`;
  }

  allocate(dtype: DType, length: number): ArrayStorage {
    if (dtype === 'i32') return new ArrayStorage(dtype, new Int32Array(length));
    return new ArrayStorage(dtype, dtype === 'f32' ? new Float32Array(length) : new Float64Array(length));
  }

  free(_storage: Storage): void {}

  slice(storage: Storage, offset: number, length: number): Storage {
    return host(storage).slice(offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    if (values.length > dst.length) {
      throw new ShapeError('write', `must fit into ${dst.length} elements`, values.length);
    }
    host(dst).data.set(values);
  }

  receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    return receiveInto(host(dst).data, fill);
  }

  async read(src: Storage, into?: HostArray): Promise<HostArray> {
    return copyOf(host(src).data, into);
  }

  fill(dst: Storage, value: number): void {
    host(dst).data.fill(value);
  }

  copy(dst: Storage, src: Storage): void {
    if (src.length !== dst.length) {
      throw new ShapeError('copy', `argument 'src' must hold ${dst.length} elements`, src.length);
    }
    host(dst).data.set(host(src).data);
  }

  copyWithin(storage: Storage, to: number, from: number, length: number): void {
    host(storage).copyWithin(to, from, length);
  }

  readonly cachePageLength = cachePageLength;
  readonly compact: Backend['compact'] = compact;
}

function host(storage: Storage): HostStorage {
  if (storage instanceof HostStorage) return storage;
  throw new ShapeError('storage', 'must be that of this backend', typeof storage);
}

/**
 * The WebGPU engine: every kernel in WGSL, recorded when it is called and run by the GPU when the host's turn ends or
 * something is read. Sums are in float32, always in one order: the bits of a run repeat on one device.
 */
import { ShapeError } from '../../errors.js';
import type { Backend, DType, HostArray, Kernels, Limits, Storage } from '../backend.js';
import { ALL_KERNELS } from '../kernel-table.js';
import { checkShapes } from '../memory/arguments.js';
import { copyOf } from '../memory/storage.js';
import { classWith } from '../methods.js';
import { type Signature, signaturesOf } from '../signature.js';
import { activation } from './activation.wgsl.js';
import { attention } from './attention.wgsl.js';
import { cache, cachePageLength } from './cache.wgsl.js';
import { elementwise, FILL } from './elementwise.wgsl.js';
import { embedding } from './embedding.wgsl.js';
import type { Engine } from './engine.js';
import { exitKernels } from './exit-kernels.wgsl.js';
import { exits } from './exits.wgsl.js';
import { head } from './head.wgsl.js';
import { heads } from './heads.wgsl.js';
import { injection } from './injection.wgsl.js';
import { gpuLimits } from './limits.js';
import type { GpuKernels } from './kernels.js';
import { linear } from './linear.wgsl.js';
import { norm } from './norm.wgsl.js';
import { optimizer } from './optimizer.wgsl.js';
import { residual } from './residual.wgsl.js';
import { rows } from './rows.wgsl.js';
import { ELEMENT, type GpuStorage, gpuStorage } from './storage.js';
import { streams } from './streams.wgsl.js';

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
} as unknown as GpuKernels;

type Values = Readonly<Record<string, unknown>>;

/** Whether a kernel treats every element alike, so that its arrays may be cut anywhere: all have n elements, or one. */
function isElementwise({ arrays, dims }: Signature): boolean {
  return (
    dims.length === 0 &&
    arrays.every(({ shape: [d, ...more] }) => more.length === 0 && (d === 'n' || d === 1))
  );
}

const METHODS = Object.fromEntries(
  Object.entries(signaturesOf(ALL_KERNELS)).map(([name, signature]) => {
    const kernel = FAMILIES[name as keyof Kernels] as (engine: Engine, args: Values) => void;
    const long = signature.arrays.filter(({ shape }) => shape[0] === 'n').map((field) => field.name);
    const cut = isElementwise(signature) && !['sum', 'sumSquares'].includes(name);
    return [
      name,
      function (this: WebGpuBackend, args: Values) {
        checkShapes(signature, args, cachePageLength);
        this.engine.recorder.kernel = name;
        if (!cut) kernel(this.engine, args);
        else for (const part of cutArrays(name, args, long)) kernel(this.engine, part);
      },
    ];
  }),
) as unknown as Kernels;

/** The arguments of calls in which every array lies in one buffer. */
function* cutArrays(where: string, args: Values, names: readonly string[]): Generator<Values> {
  const given = names.filter((name) => args[name] !== null);
  const storages = given.map((name) => gpuStorage(where, args[name] as Storage));
  if (storages.every(({ whole }) => whole)) {
    yield args;
    return;
  }
  for (let at = 0; at < storages[0].length; ) {
    const rest = storages.map((storage) => storage.slice(at, storage.length - at));
    const length = Math.min(...rest.map(({ first }) => first));
    yield { ...args, ...Object.fromEntries(given.map((name, i) => [name, rest[i].slice(0, length)])) };
    at += length;
  }
}

/** Kernels on a GPU. Tensors are float32; `precision` says how products read their operands. */
export class WebGpuBackend extends classWith(METHODS) implements Backend {
  readonly name = 'webgpu';
  readonly dtype = 'f32';
  readonly limits: Limits;
  readonly packer = null;
  readonly synchronous = false;

  /** `description` names the adapter. */
  constructor(
    /** @internal */
    readonly engine: Engine,
    readonly description: string,
    /** What must live as long as the device; see node/webgpu.ts. */
    readonly owner: unknown = null,
  ) {
    super();
    this.limits = gpuLimits(engine);
  }

  get precision(): Backend['precision'] {
    return this.engine.operands.half ? 'f16' : 'f32';
  }

  // ---- storage ---------------------------------------------------------------------------------------------

  allocate(dtype: DType, length: number): Storage {
    if (dtype === 'f64') throw new ShapeError('allocate', 'must be of f32 or i32 on a GPU', dtype);
    return this.engine.allocate(dtype, length);
  }

  free(storage: Storage): void {
    this.engine.free(gpuStorage('free', storage));
  }

  slice(storage: Storage, offset: number, length: number): Storage {
    return gpuStorage('slice', storage).slice(offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    const storage = this.about('write', dst);
    if (values.length > storage.length) {
      throw new ShapeError('write', `must fit into ${storage.length} elements`, values.length);
    }
    const { recorder } = this.engine;
    const own = values instanceof Float64Array ? Float32Array.from(values) : values;
    const fresh = storage.allocation.lastUse !== recorder.submission;
    let at = 0;
    for (const { buffer, offset, length } of storage.slice(0, values.length).pieces()) {
      recorder.write(buffer, offset * ELEMENT, own.subarray(at, at + length), fresh);
      at += length;
    }
    if (!fresh) storage.allocation.lastUse = recorder.submission;
  }

  async receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    const values = new Float32Array(dst.length);
    await fill(values);
    this.write(dst, values);
  }

  async read(src: Storage, into?: HostArray): Promise<HostArray> {
    const storage = gpuStorage('read', src);
    const values = storage.dtype === 'i32' ? new Int32Array(src.length) : new Float32Array(src.length);
    if (into && (into.constructor !== values.constructor || into.length < values.length)) {
      return copyOf(values, into); // throws
    }
    const out = into ? into.subarray(0, values.length) : values;
    let at = 0;
    for (const { buffer, offset, length } of storage.pieces()) {
      const bytes = new Uint8Array(
        out.buffer as ArrayBuffer,
        out.byteOffset + at * ELEMENT,
        length * ELEMENT,
      );
      await this.engine.recorder.read(buffer, offset * ELEMENT, bytes);
      at += length;
    }
    return out;
  }

  fill(dst: Storage, value: number): void {
    const storage = this.about('fill', dst);
    this.engine.recorder.kernel = 'fill';
    storage.allocation.lastUse = this.engine.recorder.submission;
    for (const { buffer, offset, length } of storage.pieces()) {
      if (Object.is(value, 0)) this.engine.recorder.clear(buffer, offset * ELEMENT, length * ELEMENT);
    }
    if (Object.is(value, 0)) return;
    for (const { dst: part } of cutArrays('fill', { dst: storage }, ['dst'])) {
      this.engine.run(FILL[storage.dtype], {
        arrays: { dst: part as GpuStorage },
        numbers: { value },
        count: (part as GpuStorage).length,
      });
    }
  }

  copy(dst: Storage, src: Storage): void {
    const [to, from] = [gpuStorage('copy', dst), gpuStorage('copy', src)];
    if (to.length !== from.length) {
      throw new ShapeError('copy', `argument 'src' must hold ${to.length} elements`, from.length);
    }
    this.engine.copy(to, from);
  }

  copyWithin(storage: Storage, to: number, from: number, length: number): void {
    const own = gpuStorage('copyWithin', storage);
    if (to < from + length && from < to + length) {
      const rule = `must be of runs of ${length} elements that do not overlap`;
      throw new ShapeError('copyWithin', rule, [to, from]);
    }
    this.engine.copy(own.slice(to, length), own.slice(from, length));
  }

  cachePageLength(KV: number, HS: number): number {
    return cachePageLength(KV, HS);
  }

  /** Which rows run is not known before the kernels have. */
  compact(_running: Storage): null {
    return null;
  }

  /** The storage, which is about to change. */
  private about(where: string, storage: Storage): GpuStorage {
    const own = gpuStorage(where, storage);
    own.allocation.version++;
    return own;
  }
}

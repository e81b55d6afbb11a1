/**
 * The `native` backend: the C++ addon's kernels over typed arrays that the addon allocates. Speaks to the addon and
 * nothing more: every argument is checked there, and a refusal comes back as a ShapeError or NativeError.
 */
import { constants } from 'node:buffer';
import { accessSync, constants as fsConstants } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { ConfigError, NativeError, ShapeError } from '../errors.js';
import type {
  AdamWOptions,
  AttentionDims,
  Backend,
  DType,
  Dropout,
  GateDims,
  HeadDims,
  HostArray,
  LinearDims,
  LoopForm,
  RowDims,
  Storage,
} from './backend.js';
import { HostStorage } from './host.js';

/** What `loopnn doctor` tells about the addon. */
export interface NativeInfo {
  /** The instruction set in use. */
  readonly isa: string;
  /** The sets that this machine could use, best first. */
  readonly isas: readonly string[];
  readonly threads: number;
  /** The compiler that the addon was built with. */
  readonly compiler: string;
}

/** What a kernel of the addon takes: outputs, inputs, then dimensions and options spread into numbers and flags. */
type Argument = HostArray | number | boolean | null;
type Kernel = (...args: Argument[]) => void;
/** The kernels have the names of the Backend's methods. */
type KernelName = Exclude<
  { [K in keyof Backend]: Backend[K] extends (...args: never[]) => void ? K : never }[keyof Backend],
  'allocate' | 'free' | 'slice' | 'write' | 'read'
>;

/** The addon's exports. */
export type NativeAddon = Record<KernelName, Kernel> & {
  info(): NativeInfo;
  setThreads(threads: number): void;
  setIsa(isa: string): void;
  setErrorFactory(factory: (kind: string, where: string, rule: string, got: unknown) => Error): void;
  allocate(bytes: number): ArrayBuffer;
  free(buffer: ArrayBufferLike): void;
};

const REMEDY = 'run `npm run build`';
let loaded: NativeAddon | undefined;

/** The addon, loaded at the first call. Throws NativeError that says why it cannot be, and the remedy. */
export function loadAddon(): NativeAddon {
  if (loaded) return loaded;
  const file =
    process.env.LOOPNN_NATIVE_PATH || fileURLToPath(new URL('../../native/loopnn.node', import.meta.url));
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(file) as NativeAddon;
    addon.setErrorFactory((kind, where, rule, got) =>
      kind === 'ShapeError' ? new ShapeError(where, rule, got) : new NativeError(where, rule, got),
    );
    addon.info(); // settles the instruction set: LOOPNN_ISA may be wrong
  } catch (error) {
    // Environment variables that ask for the impossible are the user's to mend, not a reason to fall back.
    if (error instanceof NativeError) {
      throw new ConfigError('LOOPNN_ISA, LOOPNN_NUM_THREADS', error.message.replace(/^info: /, ''));
    }
    throw new NativeError('native addon', reasonNotLoaded(file, error), undefined, REMEDY);
  }
  loaded = addon;
  return addon;
}

/** One line without the file's path: the loader's own messages begin with it. */
function reasonNotLoaded(file: string, error: unknown): string {
  try {
    accessSync(file, fsConstants.R_OK);
  } catch {
    return 'must have been built, but its file is missing or unreadable';
  }
  const message = error instanceof Error ? error.message : String(error);
  const reason = message
    .split('\n')[0]
    .replaceAll(file, 'the file')
    .replace(/^the file: /, '');
  return `must fit this machine and Node ${process.versions.node}, but did not load (${reason.slice(0, 160)})`;
}

/** The machine as the addon sees it. Throws NativeError when the addon cannot load. */
export function nativeInfo(): NativeInfo {
  return loadAddon().info();
}

const host = (where: string, storage: Storage): HostArray => {
  if (storage instanceof HostStorage) return storage.data;
  throw new NativeError(where, 'must be given storage of this backend');
};

/** Kernels in C++, float32. */
export class NativeBackend implements Backend {
  readonly name = 'native';
  readonly dtype = 'f32';
  private readonly addon: NativeAddon;

  /** Throws NativeError when the addon is missing or does not fit the machine. */
  constructor() {
    this.addon = loadAddon();
  }

  get description(): string {
    const { isa, threads } = this.addon.info();
    return `native (${isa}, f32, ${threads} thread${threads === 1 ? '' : 's'})`;
  }

  // ---- storage ---------------------------------------------------------------------------------------------

  allocate(dtype: DType, length: number): HostStorage {
    if (length * 4 > constants.MAX_LENGTH) {
      throw new NativeError(
        'allocate',
        `must stay within the runtime's ${constants.MAX_LENGTH} bytes`,
        length * 4,
      );
    }
    if (dtype === 'f64') {
      throw new NativeError('allocate', 'dtype must be f32 or i32', dtype, 'the reference backend has f64');
    }
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new ShapeError('allocate', 'length must be a whole number', length);
    }
    const ArrayType = dtype === 'f32' ? Float32Array : Int32Array;
    if (length === 0) return new HostStorage(dtype, new ArrayType(0));
    try {
      return new HostStorage(dtype, new ArrayType(this.addon.allocate(length * 4)));
    } catch (error) {
      if (error instanceof NativeError) throw error;
      throw new NativeError('allocate', 'length must be one that a typed array can have', length);
    }
  }

  free(storage: Storage): void {
    const { buffer, byteOffset, byteLength } = host('free', storage);
    if (byteOffset !== 0 || byteLength !== buffer.byteLength) {
      throw new NativeError('free', 'must be given a whole storage, not a slice of one');
    }
    if (byteLength > 0) this.addon.free(buffer);
  }

  slice(storage: Storage, offset: number, length: number): Storage {
    if (!(storage instanceof HostStorage))
      throw new NativeError('slice', 'must be given storage of this backend');
    return storage.slice(offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    const data = host('write', dst);
    if (values.length > data.length) {
      throw new ShapeError('write', `must fit into ${data.length} elements`, values.length);
    }
    data.set(values);
  }

  async read(src: Storage): Promise<HostArray> {
    return host('read', src).slice();
  }

  fill(dst: Storage, value: number): void {
    const data = host('fill', dst);
    if (data instanceof Int32Array) {
      data.fill(value);
    } else {
      this.addon.fill(data, value);
    }
  }

  copy(dst: Storage, src: Storage): void {
    const to = host('copy', dst);
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

  /** Hands typed arrays and numbers to a kernel, which checks them all. */
  private run(
    kernel: KernelName,
    storages: readonly (Storage | null)[],
    ...rest: (number | boolean | null)[]
  ): void {
    this.addon[kernel](...storages.map((storage) => storage && host(kernel, storage)), ...rest);
  }

  // ---- element-wise ----------------------------------------------------------------------------------------

  add(out: Storage, a: Storage, b: Storage): void {
    this.run('add', [out, a, b]);
  }

  geluForward(out: Storage, inp: Storage): void {
    this.run('geluForward', [out, inp]);
  }

  geluBackward(dinp: Storage, dout: Storage, inp: Storage, accumulate: boolean): void {
    this.run('geluBackward', [dinp, dout, inp], accumulate);
  }

  dropout(
    out: Storage,
    inp: Storage,
    { R, C, T }: RowDims & { readonly T: number },
    dropout: Dropout,
    accumulate: boolean,
  ): void {
    this.run('dropout', [out, inp], R, C, T, ...spread(dropout), accumulate);
  }

  gatedResidualForward(
    out: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    { R, C, G }: GateDims,
    form: LoopForm,
  ): void {
    this.run('gatedResidualForward', [out, x, f, gate], R, C, G, form === 'correction');
  }

  gatedResidualBackward(
    dx: Storage,
    df: Storage,
    dgate: Storage,
    dout: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    { R, C, G }: GateDims,
    form: LoopForm,
    accumulateX: boolean,
    accumulateF: boolean,
  ): void {
    this.run(
      'gatedResidualBackward',
      [dx, df, dgate, dout, x, f, gate],
      R,
      C,
      G,
      form === 'correction',
      accumulateX,
      accumulateF,
    );
  }

  // ---- layers ----------------------------------------------------------------------------------------------

  embeddingForward(
    out: Storage,
    tokens: Storage,
    positions: Storage,
    wte: Storage,
    wpe: Storage,
    { R, C }: RowDims,
  ): void {
    this.run('embeddingForward', [out, tokens, positions, wte, wpe], R, C);
  }

  embeddingBackward(
    dwte: Storage,
    dwpe: Storage,
    dout: Storage,
    tokens: Storage,
    positions: Storage,
    { R, C }: RowDims,
  ): void {
    this.run('embeddingBackward', [dwte, dwpe, dout, tokens, positions], R, C);
  }

  layernormForward(
    out: Storage,
    mean: Storage,
    rstd: Storage,
    inp: Storage,
    weight: Storage,
    bias: Storage | null,
    { R, C }: RowDims,
  ): void {
    this.run('layernormForward', [out, mean, rstd, inp, weight, bias], R, C);
  }

  layernormBackward(
    dinp: Storage,
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    weight: Storage,
    mean: Storage,
    rstd: Storage,
    { R, C }: RowDims,
    accumulate: boolean,
  ): void {
    this.run('layernormBackward', [dinp, dweight, dbias, dout, inp, weight, mean, rstd], R, C, accumulate);
  }

  linearForward(out: Storage, inp: Storage, weight: Storage, bias: Storage | null, dims: LinearDims): void {
    const { R, K, N } = dims;
    this.run('linearForward', [out, inp, weight, bias], R, K, N);
  }

  linearBackwardInput(
    dinp: Storage,
    dout: Storage,
    weight: Storage,
    { R, K, N }: LinearDims,
    accumulate: boolean,
  ): void {
    this.run('linearBackwardInput', [dinp, dout, weight], R, K, N, accumulate);
  }

  linearBackwardWeight(
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    { R, K, N }: LinearDims,
  ): void {
    this.run('linearBackwardWeight', [dweight, dbias, dout, inp], R, K, N);
  }

  attentionForward(
    out: Storage,
    lse: Storage,
    qkv: Storage,
    { B, T, NH, HS }: AttentionDims,
    dropout: Dropout | null,
  ): void {
    this.run('attentionForward', [out, lse, qkv], B, T, NH, HS, ...spread(dropout));
  }

  attentionBackward(
    dqkv: Storage,
    dout: Storage,
    out: Storage,
    lse: Storage,
    qkv: Storage,
    { B, T, NH, HS }: AttentionDims,
    dropout: Dropout | null,
    accumulate: boolean,
  ): void {
    this.run('attentionBackward', [dqkv, dout, out, lse, qkv], B, T, NH, HS, ...spread(dropout), accumulate);
  }

  // ---- head ------------------------------------------------------------------------------------------------

  logits(out: Storage, inp: Storage, weight: Storage, { R, C, V }: HeadDims): void {
    this.run('logits', [out, inp, weight], R, C, V);
  }

  headForward(
    loss: Storage,
    argmax: Storage | null,
    maxProb: Storage | null,
    inp: Storage,
    weight: Storage,
    targets: Storage,
    { R, C, V }: HeadDims,
  ): void {
    this.run('headForward', [loss, argmax, maxProb, inp, weight, targets], R, C, V);
  }

  headForwardBackward(
    loss: Storage,
    argmax: Storage | null,
    maxProb: Storage | null,
    dinp: Storage,
    dweight: Storage,
    inp: Storage,
    weight: Storage,
    targets: Storage,
    rowWeights: Storage,
    { R, C, V }: HeadDims,
  ): void {
    this.run(
      'headForwardBackward',
      [loss, argmax, maxProb, dinp, dweight, inp, weight, targets, rowWeights],
      R,
      C,
      V,
    );
  }

  // ---- optimizer -------------------------------------------------------------------------------------------

  adamw(param: Storage, grad: Storage, m: Storage, v: Storage, options: AdamWOptions): void {
    const { lr, beta1, beta2, eps, weightDecay, step, gradScale } = options;
    this.run('adamw', [param, grad, m, v], lr, beta1, beta2, eps, weightDecay, step, gradScale);
  }

  sumSquares(out: Storage, inp: Storage): void {
    this.run('sumSquares', [out, inp]);
  }
}

/** Dropout as the addon takes it; a null probability means none. */
function spread(dropout: Dropout | null): (number | null)[] {
  return dropout ? [dropout.p, dropout.key[0], dropout.key[1], dropout.firstSample] : [null, 0, 0, 0];
}

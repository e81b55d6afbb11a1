/**
 * The `native` backend: the C++ addon's kernels over typed arrays that the addon allocates. Every argument is checked
 * in the addon, and a refusal comes back as a ShapeError or NativeError.
 *
 * A weight is packed for the products that read it, and stays packed until something is written to its memory: every
 * storage counts the writes. So a loop network packs its weights once an update, however often it meets them.
 */
import { constants } from 'node:buffer';
import { NativeError, ShapeError } from '../errors.js';
import { type Int8Kernel, isaInUse, type KernelName, loadAddon, type NativeAddon, REMEDY } from './addon.js';
import { ACTIVATIONS, type Activation } from './backend.js';
import type {
  AdamWOptions,
  AttentionDims,
  Backend,
  ColumnDims,
  CachedAttentionDims,
  DType,
  Dropout,
  GateDims,
  HeadDims,
  HostArray,
  Limits,
  LinearDims,
  LoopForm,
  Precision,
  RowDims,
  Storage,
} from './backend.js';
import { copyOf, HostStorage, receiveInto } from './host.js';
import { hostRows } from './rows.js';

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
  throw new NativeError(where, 'must be given storage of this backend');
};

/** Kernels in C++. Tensors are float32; `precision` says how products read their operands. */
export class NativeBackend implements Backend {
  readonly name = 'native';
  readonly dtype = 'f32';
  readonly precision: Precision;
  private readonly addon: NativeAddon;
  private readonly bf16: boolean;

  /**
   * `precision` is bf16 by default where the machine has instructions for it, f32 elsewhere; with `int8`, forward products
   * read weights that were rounded to 8 bits (see native/int8.h), and their inputs as floats.
   * Throws NativeError when the addon is missing or does not fit the machine.
   */
  constructor(
    precision?: Precision,
    private readonly int8 = false,
  ) {
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
    if (length === 0) return new NativeStorage(dtype, new ArrayType(0));
    try {
      return new NativeStorage(dtype, new ArrayType(this.addon.allocate(length * 4)));
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
    if (storage instanceof NativeStorage) {
      for (const { data } of storage.memory.packings.values()) this.addon.free(data.buffer);
      storage.memory.packings.clear();
    }
  }

  slice(storage: Storage, offset: number, length: number): Storage {
    if (!(storage instanceof HostStorage))
      throw new NativeError('slice', 'must be given storage of this backend');
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

  /** Hands typed arrays and numbers to a kernel, which checks them all. */
  private run(
    kernel: KernelName | Int8Kernel,
    outputs: readonly (Storage | null)[],
    inputs: readonly (Storage | Float32Array | null)[],
    ...rest: (number | boolean | null)[]
  ): void {
    const run = this.addon[kernel];
    if (!run)
      throw new NativeError('native addon', 'must be that of this version', `none with ${kernel}`, REMEDY);
    run(
      ...outputs.map((storage) => storage && written(kernel, storage)),
      ...inputs.map((input) => (input instanceof Float32Array ? input : input && host(kernel, input))),
      ...rest,
    );
  }

  /** `weight` as B (K, N) of a product, or its transpose (N, K) as that B; packed anew if it was written to. */
  private packed(
    kernel: KernelName,
    weight: Storage,
    K: number,
    N: number,
    transposed: boolean,
    int8 = false,
  ): Float32Array {
    const data = host(kernel, weight);
    if (data.length !== K * N) {
      throw new ShapeError(kernel, `argument 'weight' must hold ${K * N} elements`, data.length);
    }
    if (!(weight instanceof NativeStorage))
      throw new NativeError(kernel, 'must be given storage of this backend');
    const { packings, version } = weight.memory;
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

  // ---- element-wise ----------------------------------------------------------------------------------------

  add(out: Storage, a: Storage, b: Storage): void {
    this.run('add', [out], [a, b]);
  }

  activationForward(out: Storage, inp: Storage, kind: Activation): void {
    this.run('activationForward', [out], [inp], ACTIVATIONS.indexOf(kind));
  }

  activationBackward(
    dinp: Storage,
    dout: Storage,
    inp: Storage,
    kind: Activation,
    accumulate: boolean,
  ): void {
    this.run('activationBackward', [dinp], [dout, inp], ACTIVATIONS.indexOf(kind), accumulate);
  }

  dropout(
    out: Storage,
    inp: Storage,
    { R, C, T }: RowDims & { readonly T: number },
    dropout: Dropout,
    accumulate: boolean,
  ): void {
    this.run('dropout', [out], [inp], R, C, T, ...spread(dropout), accumulate);
  }

  gatedResidualForward(
    out: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    { R, C, G }: GateDims,
    form: LoopForm,
  ): void {
    this.run('gatedResidualForward', [out], [x, f, gate], R, C, G, form === 'correction');
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
      [dx, df, dgate],
      [dout, x, f, gate],
      R,
      C,
      G,
      form === 'correction',
      accumulateX,
      accumulateF,
    );
  }

  // ---- rows ------------------------------------------------------------------------------------------------

  readonly rows = hostRows;

  selectRows(
    out: Storage,
    mask: Storage,
    a: Storage | null,
    b: Storage | null,
    { R, C }: RowDims,
    accumulate: boolean,
  ): void {
    this.run('selectRows', [out], [mask, a, b], R, C, accumulate);
  }

  scaleRowsForward(out: Storage, inp: Storage, scale: Storage, { R, C }: RowDims, accumulate: boolean): void {
    this.run('scaleRowsForward', [out], [inp, scale], R, C, accumulate);
  }

  scaleRowsBackward(
    dinp: Storage | null,
    dscale: Storage | null,
    dout: Storage,
    inp: Storage,
    scale: Storage,
    { R, C }: RowDims,
    accumulate: boolean,
  ): void {
    this.run('scaleRowsBackward', [dinp, dscale], [dout, inp, scale], R, C, accumulate);
  }

  copyColumns(out: Storage, inp: Storage, { R, C, first, count }: ColumnDims, accumulate: boolean): void {
    this.run('copyColumns', [out], [inp], R, C, first, count, accumulate);
  }

  gatherRows(out: Storage, inp: Storage, index: Storage, { R, C }: RowDims): void {
    this.run('gatherRows', [out], [inp, index], index.length, R, C);
  }

  scatterRows(out: Storage, inp: Storage, index: Storage, { R, C }: RowDims): void {
    this.run('scatterRows', [out], [inp, index], index.length, R, C);
  }

  // ---- exits -----------------------------------------------------------------------------------------------

  rowChange(out: Storage, x: Storage, former: Storage, before: Storage | null, { R, C }: RowDims): void {
    this.run('rowChange', [out], [x, former, before], R, C);
  }

  rowEntropy(out: Storage, logits: Storage, { R, V }: Pick<HeadDims, 'R' | 'V'>): void {
    this.run('rowEntropy', [out], [logits], R, V);
  }

  rowDivergence(
    out: Storage,
    logits: Storage,
    former: Storage,
    rows: Storage | null,
    { R, V }: Pick<HeadDims, 'R' | 'V'>,
  ): void {
    this.run('rowDivergence', [out], [logits, former, rows], rows?.length ?? 0, R, V);
  }

  // ---- layers ----------------------------------------------------------------------------------------------

  embeddingForward(
    out: Storage,
    tokens: Storage,
    positions: Storage,
    wte: Storage,
    wpe: Storage | null,
    { R, C }: RowDims,
  ): void {
    this.run('embeddingForward', [out], [tokens, positions, wte, wpe], R, C);
  }

  embeddingBackward(
    dwte: Storage,
    dwpe: Storage | null,
    dout: Storage,
    tokens: Storage,
    positions: Storage,
    { R, C }: RowDims,
  ): void {
    this.run('embeddingBackward', [dwte, dwpe], [dout, tokens, positions], R, C);
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
    this.run('layernormForward', [out, mean, rstd], [inp, weight, bias], R, C);
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
    this.run('layernormBackward', [dinp, dweight, dbias], [dout, inp, weight, mean, rstd], R, C, accumulate);
  }

  linearForward(out: Storage, inp: Storage, weight: Storage, bias: Storage | null, dims: LinearDims): void {
    const { R, K, N } = dims;
    if (this.int8) {
      const packed = this.packed('linearForward', weight, K, N, false, true);
      this.run('linearInt8', [out], [inp, packed, bias], R, K, N);
      return;
    }
    const packed = this.packed('linearForward', weight, K, N, false);
    this.run('linearForward', [out], [inp, packed, bias], R, K, N, this.bf16);
  }

  linearBackwardInput(
    dinp: Storage,
    dout: Storage,
    weight: Storage,
    { R, K, N }: LinearDims,
    accumulate: boolean,
  ): void {
    const packed = this.packed('linearBackwardInput', weight, N, K, true);
    this.run('linearBackwardInput', [dinp], [dout, packed], R, K, N, accumulate, this.bf16);
  }

  linearBackwardWeight(
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    { R, K, N }: LinearDims,
  ): void {
    this.run('linearBackwardWeight', [dweight, dbias], [dout, inp], R, K, N, this.bf16);
  }

  attentionForward(
    out: Storage,
    lse: Storage,
    qkv: Storage,
    { B, T, NH, HS }: AttentionDims,
    dropout: Dropout | null,
    rows: Storage | null,
  ): void {
    const count = rows?.length ?? 0;
    this.run('attentionForward', [out, lse], [qkv, rows], count, B, T, NH, HS, ...spread(dropout), this.bf16);
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
    this.run(
      'attentionBackward',
      [dqkv],
      [dout, out, lse, qkv],
      B,
      T,
      NH,
      HS,
      ...spread(dropout),
      accumulate,
      this.bf16,
    );
  }

  cachePageLength(NH: number, HS: number): number {
    return this.addon.cachePageLength(NH, HS, this.bf16);
  }

  cachedAttention(
    out: Storage,
    cache: Storage,
    qkv: Storage,
    table: Storage,
    { R, NH, HS, S, width }: CachedAttentionDims,
    rows: Storage | null,
  ): void {
    const count = rows?.length ?? 0;
    this.run('cachedAttention', [out, cache], [qkv, table, rows], count, R, S, width, NH, HS, this.bf16);
  }

  // ---- head ------------------------------------------------------------------------------------------------

  logits(out: Storage, inp: Storage, weight: Storage, { R, C, V }: HeadDims): void {
    if (this.int8) {
      const packed = this.packed('logits', weight, C, V, true, true);
      this.run('linearInt8', [out], [inp, packed, null], R, C, V);
      return;
    }
    const packed = this.packed('logits', weight, C, V, true);
    this.run('logits', [out], [inp, packed], R, C, V, this.bf16);
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
    if (this.int8) {
      const packed = this.packed('headForward', weight, C, V, true, true);
      this.run('headInt8', [loss, argmax, maxProb], [inp, packed, targets], R, C, V);
      return;
    }
    const packed = this.packed('headForward', weight, C, V, true);
    this.run('headForward', [loss, argmax, maxProb], [inp, packed, targets], R, C, V, this.bf16);
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
    const packed = this.packed('headForwardBackward', weight, C, V, true);
    const packedTransposed = this.packed('headForwardBackward', weight, V, C, false);
    this.run(
      'headForwardBackward',
      [loss, argmax, maxProb, dinp, dweight],
      [inp, packed, packedTransposed, targets, rowWeights],
      R,
      C,
      V,
      this.bf16,
    );
  }

  // ---- optimizer -------------------------------------------------------------------------------------------

  adamw(param: Storage, grad: Storage, m: Storage, v: Storage, options: AdamWOptions): void {
    const { lr, beta1, beta2, eps, weightDecay, step, gradScale } = options;
    this.run('adamw', [param, m, v], [grad], lr, beta1, beta2, eps, weightDecay, step, gradScale);
  }

  sumSquares(out: Storage, inp: Storage): void {
    this.run('sumSquares', [out], [inp]);
  }
}

/** Dropout as the addon takes it; a null probability means none. */
function spread(dropout: Dropout | null): (number | null)[] {
  return dropout ? [dropout.p, dropout.key[0], dropout.key[1], dropout.firstSample] : [null, 0, 0, 0];
}

/**
 * A backend that computes nothing: each inference kernel appends ONNX nodes to a graph, whose activations are
 * (batch, time, C) with symbolic sizes. A storage holds the name of its value, or what the host wrote. Attention emits
 * its key/value cache itself, so one graph serves prefill and decoding. The passes of a loop may become one ONNX Loop.
 * It lies above both `backend` and `formats`, whose graph it fills. It must not import models or files.
 */
import { ConfigError } from '../errors.js';
import { ONNX_TYPES, type OnnxInitializer, type OnnxNode, type OnnxValue } from '../formats/onnx.js';
import type { StoredWeights } from '../formats/onnx-weights.js';
import type { Activation, Backend, DType, HostArray, Kernels, Storage } from '../backend/backend.js';
import { ALL_KERNELS } from '../backend/kernel-table.js';
import { classWith } from '../backend/methods.js';
import { LoopPass, loopBody, STATE } from './loop-body.js';

/** Stands for a run of elements: the name of its value in the graph, or the values that the host gave. */
class RecordedStorage implements Storage {
  value: string | null = null;
  host: HostArray | null = null;
  /** The value to which `fill` set every element. */
  filled: number | null = null;
  /** The shape of the named tensor that this storage is. */
  shape: readonly number[] | null = null;
  /** The part of that tensor for the file, until a kernel reads it. */
  weights: StoredWeights | null = null;

  constructor(
    readonly dtype: DType,
    readonly length: number,
  ) {}
}

/** A kernel that training or halting needs. */
function refused(name: string): () => never {
  return () => {
    throw new ConfigError('ONNX', 'must be of a pass that only kernels for inference take part in', name);
  };
}

const REFUSED = Object.fromEntries(Object.keys(ALL_KERNELS).map((name) => [name, refused(name)]));

const INPUT = 'input_ids';
/** 1 for every token of the past and of the input that counts, 0 for padding (batch, total). */
const MASK = 'attention_mask';
/** The input that says how many passes a loop has, and the dimension of its caches that counts them. */
const LOOPS = 'loops';
const GELU_SCALE = Math.sqrt(2 / Math.PI);
const GELU_CUBIC = 0.044715;
const QUICK_GELU_SCALE = 1.702;
/** LayerNormalization's default. */
const ONNX_EPSILON = 1e-5;

export class RecordingBackend extends classWith(REFUSED as unknown as Kernels) implements Backend {
  readonly name = 'recording';
  readonly dtype = 'f32';
  readonly precision = 'f32';
  readonly description = 'recording (an ONNX graph)';
  readonly limits = null;
  readonly packer = null;
  readonly synchronous = false;
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxInitializer[] = [];
  readonly inputs: OnnxValue[] = [
    { name: INPUT, type: 'int64', shape: ['batch', 'time'] },
    { name: MASK, type: 'int64', shape: ['batch', 'total'] },
  ];
  readonly outputs: OnnxValue[] = [];
  private readonly constants = new Map<string, string>();
  private readonly caches: OnnxValue[] = [];
  private names = 0;
  private applications = 0;
  /** The pass of a loop that is being recorded; null outside. */
  private pass: LoopPass | null = null;
  private positions: { ids: string; mask: string } | null = null;

  /** `tokens` is the array that stands for the graph's input wherever it is written. */
  constructor(private readonly tokens: Int32Array) {
    super();
  }

  // ---- storage ---------------------------------------------------------------------------------------------

  allocate(dtype: DType, length: number): Storage {
    return new RecordedStorage(dtype, length);
  }

  free(_storage: Storage): void {}

  /** A part has its own value, except for rows of a named tensor. */
  slice(storage: Storage, offset: number, length: number): Storage {
    const part = new RecordedStorage(storage.dtype, length);
    const { shape } = recorded(storage);
    if (shape?.length === 2 && length === shape[1]) {
      // Outside of a loop that may be recorded: each of its passes takes its own rows.
      const row = {
        inputs: [this.valueIn(storage), this.integers([offset / length], [])],
        outputs: [this.fresh()],
      };
      this.nodes.push({ op: 'Gather', ...row, attributes: {} });
      part.value = row.outputs[0];
      part.shape = [length];
    }
    return part;
  }

  write(dst: Storage, values: HostArray): void {
    const to = recorded(dst);
    to.host = values;
    to.value = (values as unknown) === this.tokens ? INPUT : null;
    to.filled = null;
  }

  async receive(): Promise<void> {
    refused('receive')();
  }

  async read(_src: Storage): Promise<HostArray> {
    return refused('read')();
  }

  fill(dst: Storage, value: number): void {
    const to = recorded(dst);
    to.filled = value;
    to.value = this.scalar(value);
  }

  copy(dst: Storage, src: Storage): void {
    this.set(dst, this.valueIn(src));
  }

  readonly copyWithin = refused('copyWithin');
  readonly cachePageLength = refused('cachePageLength');
  readonly compact = refused('compact');

  /** Says which tensor of the file a storage is; one that no kernel reads is left out. */
  declare(storage: Storage, weights: StoredWeights, shape: readonly number[]): void {
    const named = recorded(storage);
    named.weights = weights;
    named.shape = shape;
  }

  /** Makes the value of a storage an output of the graph. */
  output(storage: Storage, name: string, shape: readonly (number | string)[]): void {
    this.nodes.push({ op: 'Identity', inputs: [this.valueIn(storage)], outputs: [name], attributes: {} });
    this.outputs.push({ name, type: 'float32', shape }, ...this.caches);
  }

  // ---- element-wise ----------------------------------------------------------------------------------------

  override readonly add: Kernels['add'] = ({ out, a, b }) => {
    this.set(out, this.node('Add', [this.valueIn(a), this.valueIn(b)]));
  };

  override readonly activationForward: Kernels['activationForward'] = ({ out, inp, kind }) => {
    const x = this.valueIn(inp);
    this.set(out, this.activation(x, kind));
  };

  override readonly gatedActivationForward: Kernels['gatedActivationForward'] = ({ out, inp, kind }) => {
    const [gate, other] = this.emit('Split', [this.valueIn(inp)], 2, { axis: 2 });
    this.set(out, this.node('Mul', [this.activation(gate, kind), other]));
  };

  private activation(x: string, kind: Activation): string {
    switch (kind) {
      case 'gelu_new':
        return this.geluNew(x);
      case 'gelu': {
        const erf = this.node('Erf', [this.node('Mul', [x, this.scalar(Math.SQRT1_2)])]);
        const half = this.node('Mul', [x, this.scalar(0.5)]);
        return this.node('Mul', [half, this.node('Add', [erf, this.scalar(1)])]);
      }
      case 'silu':
        return this.node('Mul', [x, this.node('Sigmoid', [x])]);
      case 'quick_gelu': {
        const scaled = this.node('Mul', [x, this.scalar(QUICK_GELU_SCALE)]);
        return this.node('Mul', [x, this.node('Sigmoid', [scaled])]);
      }
      case 'relu':
        return this.node('Relu', [x]);
      case 'relu2': {
        const positive = this.node('Relu', [x]);
        return this.node('Mul', [positive, positive]);
      }
      case 'tanh':
        return this.node('Tanh', [x]);
      case 'sigmoid':
        return this.node('Sigmoid', [x]);
    }
  }

  private geluNew(x: string): string {
    const cube = this.node('Mul', [this.node('Mul', [x, x]), x]);
    const sum = this.node('Add', [x, this.node('Mul', [cube, this.scalar(GELU_CUBIC)])]);
    const t = this.node('Tanh', [this.node('Mul', [sum, this.scalar(GELU_SCALE)])]);
    const half = this.node('Mul', [x, this.scalar(0.5)]);
    return this.node('Mul', [half, this.node('Add', [t, this.scalar(1)])]);
  }

  override readonly gatedResidualForward: Kernels['gatedResidualForward'] = ({ out, x, f, gate, form }) => {
    const from = this.valueIn(x);
    const step = form === 'output' ? this.valueIn(f) : this.node('Sub', [this.valueIn(f), from]);
    this.set(out, this.node('Add', [from, this.node('Mul', [step, this.valueIn(gate)])]));
  };

  override readonly stableInjectionForward: Kernels['stableInjectionForward'] = (args) => {
    const rate = this.node('Exp', [this.valueIn(args.a)]);
    const delta = this.node('Softplus', [this.valueIn(args.b)]);
    const keep = this.node('Exp', [this.node('Neg', [this.node('Mul', [delta, rate])])]);
    const gain = args.exact ? this.node('Div', [this.node('Sub', [this.scalar(1), keep]), rate]) : delta;
    const kept = this.node('Mul', [this.valueIn(args.x), keep]);
    this.set(args.out, this.node('Add', [kept, this.node('Mul', [this.valueIn(args.u), gain])]));
  };

  // ---- streams ---------------------------------------------------------------------------------------------

  override readonly readStreamsForward: Kernels['readStreamsForward'] = (args) => {
    const { out, streams, coefficients, C, M } = args;
    const read = this.node('MatMul', [this.readingOf(coefficients, M), this.apart(streams, M, C)]);
    this.set(out, this.node('Reshape', [read, this.integers([0, 0, C])]));
  };

  /** Streams that are copies: the backward pass of reading with ones. */
  override readonly readStreamsBackward: Kernels['readStreamsBackward'] = (args) => {
    const { dstreams, dout, coefficients, M } = args;
    if (recorded(coefficients).filled !== 1) refused('readStreamsBackward')();
    const x = this.valueIn(dout);
    this.set(dstreams, this.node('Concat', new Array<string>(M).fill(x), { axis: 2 }));
  };

  override readonly writeStreamsForward: Kernels['writeStreamsForward'] = (args) => {
    const { out, streams, y, coefficients, C, M } = args;
    const s = this.apart(streams, M, C);
    const mix = this.pick(coefficients, M, M, (i, j) => i * (M + 2) + j);
    const write = this.pick(coefficients, M, 1, (i) => i * (M + 2) + M + 1);
    const was = this.node('MatMul', [this.readingOf(coefficients, M), s]);
    const change = this.node('Sub', [this.node('Unsqueeze', [this.valueIn(y), this.integers([2])]), was]);
    const next = this.node('Add', [this.node('MatMul', [mix, s]), this.node('Mul', [write, change])]);
    this.set(out, this.node('Reshape', [next, this.integers([0, 0, M * C])]));
  };

  /** Streams side by side as (batch, time, M, C). */
  private apart(streams: Storage, M: number, C: number): string {
    return this.node('Reshape', [this.valueIn(streams), this.integers([0, 0, M, C])]);
  }

  /** The reading coefficients of the streams, (…, 1, M). */
  private readingOf(coefficients: Storage, M: number): string {
    const { filled } = recorded(coefficients);
    if (filled === null) return this.pick(coefficients, 1, M, (_, j) => j * (M + 2) + M);
    return this.shared(`streams ${filled} of ${M}`, () =>
      this.constant('float32', new Float32Array(M).fill(filled), [1, M]),
    );
  }

  /** Coefficients as a matrix (…, rows, columns): those of all rows alike have no dimensions before. */
  private pick(
    coefficients: Storage,
    rows: number,
    columns: number,
    at: (i: number, j: number) => number,
  ): string {
    const places = Array.from({ length: rows * columns }, (_, k) => at(Math.floor(k / columns), k % columns));
    const inputs = [this.valueIn(coefficients), this.integers(places, [rows, columns])];
    return this.node('Gather', inputs, { axis: -1 });
  }

  override readonly scaleRowsForward: Kernels['scaleRowsForward'] = ({ out, inp, scale, accumulate }) => {
    if (recorded(scale).filled === null) refused('scaleRowsForward by row')();
    const scaled = this.node('Mul', [this.valueIn(inp), this.valueIn(scale)]);
    this.set(out, accumulate ? this.node('Add', [this.valueIn(out), scaled]) : scaled);
  };

  // ---- layers ----------------------------------------------------------------------------------------------

  /**
   * Rows of one number are that row of the table; other rows are the graph's input, or its positions. Positions are
   * always the graph's.
   */
  override readonly embeddingForward: Kernels['embeddingForward'] = (args) => {
    const { out, tokens, positions, wte, wpe, C } = args;
    const { value, host } = recorded(tokens);
    const constant = host?.every((id) => id === host[0]) ?? false;
    if (value === null && !constant && tokens !== positions) refused('embeddingForward of constants')();
    const row = () => (constant ? this.integers([(host as Int32Array)[0]], []) : this.placed().ids);
    const rows = this.node('Gather', [this.table(wte, C), value ?? row()]);
    if (!wpe) {
      this.set(out, rows);
      return;
    }
    const places = this.node('Gather', [this.table(wpe, C), this.placed().ids]);
    this.set(out, this.node('Add', [rows, places]));
  };

  override readonly layernormForward: Kernels['layernormForward'] = ({ out, inp, weight, bias, eps }) => {
    const inputs = [inp, weight, ...(bias ? [bias] : [])].map((s) => this.valueIn(s));
    const epsilon = eps === ONNX_EPSILON ? {} : { epsilon: { float: eps } };
    this.set(out, this.node('LayerNormalization', inputs, { axis: 2, ...epsilon }));
  };

  /** As runtimes know it by its nodes: the operator of its own came with opset 23. */
  override readonly rmsnormForward: Kernels['rmsnormForward'] = ({ out, inp, weight, eps }) => {
    const x = this.valueIn(inp);
    const squares = this.node('Pow', [x, this.scalar(2)]);
    const mean = this.node('ReduceMean', [squares], { axes: [2], keepdims: 1 });
    const root = this.node('Sqrt', [this.node('Add', [mean, this.scalar(eps)])]);
    this.set(out, this.node('Mul', [this.node('Div', [x, root]), this.valueIn(weight)]));
  };

  override readonly linearForward: Kernels['linearForward'] = ({ out, inp, weight, bias }) => {
    const y = this.node('MatMul', [this.valueIn(inp), this.valueIn(weight)]);
    this.set(out, bias ? this.node('Add', [y, this.valueIn(bias)]) : y);
  };

  /** Norm, then rotation by the graph's positions, of the heads before the values. */
  override readonly headsForward: Kernels['headsForward'] = ({ qkv, rstd, rotation, NH, KV, HS, eps }) => {
    const split = (x: string, widths: readonly number[], axis: number) =>
      this.emit('Split', [x, this.integers(widths)], widths.length, { axis });
    const [placed, values] = split(this.valueIn(qkv), [(NH + KV) * HS, KV * HS], 2);
    let heads = this.node('Reshape', [placed, this.integers([0, 0, NH + KV, HS])]);
    if (rstd) {
      const squares = this.node('ReduceMean', [this.node('Mul', [heads, heads])], { axes: [3], keepdims: 1 });
      heads = this.node('Div', [heads, this.node('Sqrt', [this.node('Add', [squares, this.scalar(eps)])])]);
    }
    if (rotation) {
      const turns = this.node('Gather', [this.table(rotation, HS), this.placed().ids]);
      const halves = [HS / 2, HS / 2];
      const [cos, sin] = split(this.node('Unsqueeze', [turns, this.integers([2])]), halves, 3);
      const [a, b] = split(heads, halves, 3);
      const times = (x: string, y: string) => this.node('Mul', [x, y]);
      const turned = [
        this.node('Sub', [times(a, cos), times(b, sin)]),
        this.node('Add', [times(b, cos), times(a, sin)]),
      ];
      heads = this.node('Concat', turned, { axis: 3 });
    }
    const rows = this.node('Reshape', [heads, this.integers([0, 0, (NH + KV) * HS])]);
    this.set(qkv, this.node('Concat', [rows, values], { axis: 2 }));
  };

  /** With the cache: keys and values of the past come first, and what is attended to goes out again. */
  override readonly attentionForward: Kernels['attentionForward'] = ({ out, qkv, rows, NH, KV, HS }) => {
    if (rows) refused('attentionForward of rows')();
    const a = this.applications++;
    const widths = KV === NH ? [] : [this.integers([NH * HS, KV * HS, KV * HS])];
    const parts = this.emit('Split', [this.valueIn(qkv), ...widths], 3, { axis: 2 });
    const [q, k, v] = parts.map((part, i) => {
      const heads = this.node('Reshape', [part, this.integers([0, 0, i === 0 ? NH : KV, HS])]);
      return this.node('Transpose', [heads], { perm: [0, 2, 1, 3] });
    });
    const cached = (part: string, now: string) => {
      const past = `past_key_values.${a}.${part}`;
      const present = `present.${a}.${part}`;
      const { pass } = this;
      const passes = pass ? [LOOPS] : [];
      this.inputs.push({ name: past, type: 'float32', shape: [...passes, 'batch', KV, 'past', HS] });
      this.caches.push({ name: present, type: 'float32', shape: [...passes, 'batch', KV, 'total', HS] });
      if (!pass) {
        this.nodes.push({ op: 'Concat', inputs: [past, now], outputs: [present], attributes: { axis: 2 } });
        return present;
      }
      const all = this.node('Concat', [pass.own(past), now], { axis: 2 });
      pass.caches.push({ name: all, type: 'float32', shape: ['batch', KV, 'total', HS] });
      return all;
    };
    // Each key head as often as its group has queries.
    const repeated = (heads: string) => {
      if (KV === NH) return heads;
      const column = this.node('Unsqueeze', [heads, this.integers([2])]);
      const group = this.node('Expand', [column, this.integers([1, 1, NH / KV, 1, 1])]);
      return this.node('Reshape', [group, this.integers([0, NH, -1, HS])]);
    };
    const keys = this.node('Transpose', [repeated(cached('key', k))], { perm: [0, 1, 3, 2] });
    const values = repeated(cached('value', v));
    const scaled = this.node('Mul', [q, this.scalar(1 / Math.sqrt(HS))]);
    const scores = this.node('MatMul', [scaled, keys]);
    const masked = this.node('Where', [this.placed().mask, scores, this.scalar(-3.4e38)]);
    const mixed = this.node('MatMul', [this.node('Softmax', [masked], { axis: 3 }), values]);
    const rowsOf = this.node('Transpose', [mixed], { perm: [0, 2, 1, 3] });
    this.set(out, this.node('Reshape', [rowsOf, this.integers([0, 0, NH * HS])]));
  };

  // ---- head ------------------------------------------------------------------------------------------------

  override readonly logits: Kernels['logits'] = ({ out, inp, weight }) => {
    const transposed = this.node('Transpose', [this.valueIn(weight)], { perm: [1, 0] });
    this.set(out, this.node('MatMul', [this.valueIn(inp), transposed]));
  };

  // ---- loops -----------------------------------------------------------------------------------------------

  /**
   * Records `pass(state, next, n)` for n from 0 to count − 1 as one ONNX Loop over the state, whose own count is the
   * graph's input `loops`. Passes may differ only in rows of parameters and in constants; see `loopBody`.
   */
  loop(
    out: Storage,
    from: Storage,
    count: number,
    pass: (state: Storage, next: Storage, n: number) => void,
  ): void {
    this.placed();
    const start = { applications: this.applications, inputs: this.inputs.length, caches: this.caches.length };
    const passes = Array.from({ length: count }, (_, n) => {
      this.applications = start.applications;
      this.inputs.length = start.inputs;
      this.caches.length = start.caches;
      const [state, next] = [0, 1].map(() => new RecordedStorage(from.dtype, from.length));
      state.value = STATE;
      const recording = new LoopPass();
      this.pass = recording;
      pass(state, next, n);
      this.pass = null;
      recording.end = this.valueIn(next);
      return recording;
    });
    const body = loopBody(passes, {
      stack: (names) => {
        const rows = names.map((name) => this.node('Unsqueeze', [name, this.integers([0])]));
        return this.node('Concat', rows, { axis: 0 });
      },
      integer: (n) => this.integers([n], []),
    });
    this.inputs.splice(2, 0, { name: LOOPS, type: 'int64', shape: [] });
    const result = this.fresh();
    this.nodes.push({
      op: 'Loop',
      inputs: [LOOPS, '', this.valueIn(from)],
      outputs: [result, ...this.caches.slice(start.caches).map(({ name }) => name)],
      attributes: { body },
    });
    this.set(out, result);
  }

  // ---- the graph -------------------------------------------------------------------------------------------

  /**
   * Positions (batch, time) of the tokens, padding not counted, and which keys each may see (batch, 1, time, total):
   * what came no later, and no padding.
   */
  private placed(): { ids: string; mask: string } {
    if (this.positions) return this.positions;
    const [zero, one] = [this.integers([0], []), this.integers([1], [])];
    const sizes = this.node('Shape', [MASK]);
    const total = this.node('Gather', [sizes, one]);
    const past = this.node('Sub', [total, this.node('Gather', [this.node('Shape', [INPUT]), one])]);
    const counted = this.node('CumSum', [MASK, one]);
    const places = this.node('Max', [this.node('Sub', [counted, one]), zero]);
    const start = this.node('Unsqueeze', [past, this.integers([0])]);
    const end = this.node('Unsqueeze', [total, this.integers([0])]);
    const ids = this.node('Slice', [places, start, end, this.integers([1])]);
    const column = this.node('Unsqueeze', [this.node('Range', [past, total, one]), this.integers([1])]);
    const causal = this.node('LessOrEqual', [this.node('Range', [zero, total, one]), column]);
    const kept = this.node('Cast', [MASK], { to: ONNX_TYPES.bool });
    const keys = this.node('Unsqueeze', [kept, this.integers([1, 2])]);
    this.positions = { ids, mask: this.node('And', [causal, keys]) };
    return this.positions;
  }

  private fresh(): string {
    return `value.${this.names++}`;
  }

  private node(op: string, inputs: readonly string[], attributes: OnnxNode['attributes'] = {}): string {
    return this.emit(op, inputs, 1, attributes)[0];
  }

  /** Appends a node at the current place: to the pass of a loop, or to the graph. */
  private emit(
    op: string,
    inputs: readonly string[],
    count: number,
    attributes: OnnxNode['attributes'],
  ): string[] {
    const { pass } = this;
    const outputs = Array.from({ length: count }, () => pass?.fresh() ?? this.fresh());
    (pass ?? this).nodes.push({ op, inputs, outputs, attributes });
    return outputs;
  }

  private set(storage: Storage, value: string): void {
    const to = recorded(storage);
    to.value = value;
    to.host = null;
    to.filled = null;
  }

  private valueIn(storage: Storage): string {
    const from = recorded(storage);
    if (from.weights) {
      this.initializers.push(...from.weights.initializers);
      this.nodes.push(...from.weights.nodes);
      from.value = from.weights.value;
      from.weights = null;
    }
    const { value } = from;
    if (value === null) throw new Error('recording: a kernel read a storage that nothing wrote');
    return value;
  }

  /** The named tensor, or what the host wrote as a constant (rows, C). */
  private table(storage: Storage, C: number): string {
    const { value, host } = recorded(storage);
    if (value !== null || !host) return this.valueIn(storage);
    const made = this.constant('float32', Float32Array.from(host), [host.length / C, C]);
    this.set(storage, made);
    return made;
  }

  private scalar(value: number): string {
    return this.shared(`float ${value}`, () => this.constant('float32', Float32Array.of(value), []));
  }

  private integers(values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.shared(`integers ${values} of ${shape}`, () =>
      this.constant('int64', BigInt64Array.from(values, BigInt), shape),
    );
  }

  private shared(key: string, make: () => string): string {
    const name = this.constants.get(key) ?? make();
    this.constants.set(key, name);
    return name;
  }

  private constant(
    type: 'float32' | 'int64',
    data: Float32Array | BigInt64Array,
    shape: readonly number[],
  ): string {
    const name = `constant.${this.initializers.length}`;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.initializers.push({ name, type, shape, read: async () => bytes });
    return name;
  }
}

function recorded(storage: Storage): RecordedStorage {
  if (storage instanceof RecordedStorage) return storage;
  throw new Error('recording: a storage of another backend');
}

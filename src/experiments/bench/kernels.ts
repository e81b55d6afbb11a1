/**
 * The kernels one by one, at the sizes that a model gives them: each is checked against the reference backend on a few
 * rows, then timed in turns with the limit that binds it. Knows no terminal.
 */
import type { Backend, HostArray, Storage } from '../../backend/backend.js';
import { ReferenceBackend } from '../../backend/reference.js';
import type { ModelConfig } from '../../models/config.js';
import type { Clock } from '../../train/clock.js';
import { median, type Spread, spread } from '../../statistics.js';
import type { Limit, LimitMeter } from './limits.js';

export interface KernelResult {
  readonly kernel: string;
  readonly size: string;
  readonly ms: Spread;
  /** FLOPs or bytes a second, from the median. */
  readonly rate: number;
  readonly limit: Limit;
  /** Share of the limit measured beside it, median of the pairs; null where limits cannot be measured. */
  readonly share: number | null;
}

/** The sizes that a kernel is run with. */
interface Sizes {
  readonly B: number;
  readonly T: number;
  readonly R: number;
  readonly C: number;
  readonly NH: number;
  readonly V: number;
}

/** Arrays by name: how many elements, and for whole numbers the end of their range. */
type Arrays = Readonly<Record<string, number | { readonly length: number; readonly below: number }>>;

interface Kernel {
  readonly name: string;
  readonly arrays: (sizes: Sizes) => Arrays;
  readonly outputs: readonly string[];
  readonly call: (backend: Backend, at: Record<string, Storage>, sizes: Sizes) => void;
  /** FLOPs of a kernel that products bind; otherwise the bytes of its arrays count, each once or as often as told. */
  readonly flops?: (sizes: Sizes) => number;
  readonly touched?: Readonly<Record<string, number>>;
  readonly size?: (sizes: Sizes) => string;
}

/** Products of a linear layer from `from`·C to `to`·C channels. */
function linear(from: number, to: number): Kernel[] {
  const dims = ({ R, C }: Sizes) => ({ R, K: from * C, N: to * C });
  const shared = {
    flops: (s: Sizes) => 2 * s.R * from * s.C * to * s.C,
    size: (s: Sizes) => `${s.R}×${from * s.C}×${to * s.C}`,
    arrays: (s: Sizes) => {
      const { R, K, N } = dims(s);
      return { out: R * N, inp: R * K, weight: K * N, bias: N, dinp: R * K, dweight: K * N, dbias: N };
    },
  };
  return [
    {
      ...shared,
      name: 'linearForward',
      outputs: ['out'],
      call: (b, at, s) => b.linearForward(at.out, at.inp, at.weight, at.bias, dims(s)),
    },
    {
      ...shared,
      name: 'linearBackwardInput',
      outputs: ['dinp'],
      call: (b, at, s) => b.linearBackwardInput(at.dinp, at.out, at.weight, dims(s), false),
    },
    {
      ...shared,
      name: 'linearBackwardWeight',
      outputs: ['dweight', 'dbias'],
      call: (b, at, s) => b.linearBackwardWeight(at.dweight, at.dbias, at.out, at.inp, dims(s)),
    },
  ];
}

const rows = ({ R, C }: Sizes) => R * C;
const attentionDims = ({ B, T, C, NH }: Sizes) => ({ B, T, NH, HS: C / NH });
/** Two products over the (T + 1)/2 keys that a position sees on average. */
const attentionFlops = ({ R, T, C }: Sizes) => 2 * R * C * (T + 1);
const attentionSize = ({ B, T, C, NH }: Sizes) => `B${B} T${T} NH${NH} HS${C / NH}`;
const wideSize = ({ R, C }: Sizes) => `${R}×${4 * C}`;
const headSize = ({ R, C, V }: Sizes) => `${R}×${C}×${V}`;

const KERNELS: readonly Kernel[] = [
  ...linear(1, 3),
  ...linear(1, 1),
  ...linear(1, 4),
  ...linear(4, 1),
  {
    name: 'attentionForward',
    arrays: (s) => ({ out: rows(s), lse: s.R * s.NH, qkv: 3 * rows(s) }),
    outputs: ['out', 'lse'],
    call: (b, at, s) => b.attentionForward(at.out, at.lse, at.qkv, attentionDims(s), null, null),
    flops: attentionFlops,
    size: attentionSize,
  },
  {
    name: 'attentionBackward',
    arrays: (s) => ({ dqkv: 3 * rows(s), dout: rows(s), out: rows(s), lse: s.R * s.NH, qkv: 3 * rows(s) }),
    outputs: ['dqkv'],
    call: (b, at, s) => {
      b.attentionForward(at.out, at.lse, at.qkv, attentionDims(s), null, null);
      b.attentionBackward(at.dqkv, at.dout, at.out, at.lse, at.qkv, attentionDims(s), null, false);
    },
    flops: (s) => 3.5 * attentionFlops(s), // the forward pass that it needs is timed with it
    size: attentionSize,
  },
  {
    name: 'headForward',
    arrays: (s) => ({ loss: s.R, inp: rows(s), weight: s.V * s.C, targets: { length: s.R, below: s.V } }),
    outputs: ['loss'],
    call: (b, at, { R, C, V }) =>
      b.headForward(at.loss, null, null, at.inp, at.weight, at.targets, { R, C, V }),
    flops: (s) => 2 * rows(s) * s.V,
    size: headSize,
  },
  {
    name: 'headForwardBackward',
    arrays: (s) => ({
      loss: s.R,
      dinp: rows(s),
      dweight: s.V * s.C,
      inp: rows(s),
      weight: s.V * s.C,
      targets: { length: s.R, below: s.V },
      rowWeights: s.R,
    }),
    outputs: ['loss', 'dinp', 'dweight'],
    call: (b, at, { R, C, V }) =>
      b.headForwardBackward(
        at.loss,
        null,
        null,
        at.dinp,
        at.dweight,
        at.inp,
        at.weight,
        at.targets,
        at.rowWeights,
        { R, C, V },
      ),
    flops: (s) => 6 * rows(s) * s.V,
    size: headSize,
  },
  {
    name: 'layernormForward',
    arrays: (s) => ({ out: rows(s), mean: s.R, rstd: s.R, inp: rows(s), weight: s.C, bias: s.C }),
    outputs: ['out', 'mean', 'rstd'],
    call: (b, at, { R, C }) =>
      b.layernormForward(at.out, at.mean, at.rstd, at.inp, at.weight, at.bias, { R, C }),
  },
  {
    name: 'layernormBackward',
    arrays: (s) => ({
      ...{ dinp: rows(s), dweight: s.C, dbias: s.C, dout: rows(s), inp: rows(s), weight: s.C },
      ...{ mean: s.R, rstd: s.R },
    }),
    outputs: ['dinp', 'dweight', 'dbias'],
    call: (b, at, { R, C }) =>
      b.layernormBackward(
        at.dinp,
        at.dweight,
        at.dbias,
        at.dout,
        at.inp,
        at.weight,
        at.mean,
        at.rstd,
        { R, C },
        false,
      ),
  },
  {
    name: 'activationForward',
    arrays: (s) => ({ out: 4 * rows(s), inp: 4 * rows(s) }),
    outputs: ['out'],
    call: (b, at) => b.activationForward(at.out, at.inp, 'gelu'),
    size: wideSize,
  },
  {
    name: 'activationBackward',
    arrays: (s) => ({ dinp: 4 * rows(s), dout: 4 * rows(s), inp: 4 * rows(s) }),
    outputs: ['dinp'],
    call: (b, at) => b.activationBackward(at.dinp, at.dout, at.inp, 'gelu', false),
    size: wideSize,
  },
  {
    name: 'add',
    arrays: (s) => ({ out: rows(s), a: rows(s), b: rows(s) }),
    outputs: ['out'],
    call: (b, at) => b.add(at.out, at.a, at.b),
  },
  {
    name: 'gatedResidualForward',
    arrays: (s) => ({ out: rows(s), x: rows(s), f: rows(s), gate: s.C }),
    outputs: ['out'],
    call: (b, at, { R, C }) =>
      b.gatedResidualForward(at.out, at.x, at.f, at.gate, { R, C, G: C }, 'correction'),
  },
  {
    name: 'gatedResidualBackward',
    arrays: (s) => ({
      ...{ dx: rows(s), df: rows(s), dgate: s.C, dout: rows(s), x: rows(s), f: rows(s), gate: s.C },
    }),
    outputs: ['dx', 'df', 'dgate'],
    call: (b, at, { R, C }) => {
      const dims = { R, C, G: C };
      b.gatedResidualBackward(
        at.dx,
        at.df,
        at.dgate,
        at.dout,
        at.x,
        at.f,
        at.gate,
        dims,
        'correction',
        false,
        false,
      );
    },
  },
  {
    name: 'dropout',
    arrays: (s) => ({ out: rows(s), inp: rows(s) }),
    outputs: ['out'],
    call: (b, at, { R, C, T }) =>
      b.dropout(at.out, at.inp, { R, C, T }, { p: 0.1, key: [1, 2], firstSample: 0 }, false),
  },
  {
    name: 'embeddingForward',
    arrays: (s) => ({
      ...{ out: rows(s), tokens: { length: s.R, below: s.V }, positions: { length: s.R, below: s.T } },
      ...{ wte: s.V * s.C, wpe: s.T * s.C },
    }),
    outputs: ['out'],
    call: (b, at, { R, C }) => b.embeddingForward(at.out, at.tokens, at.positions, at.wte, at.wpe, { R, C }),
    touched: { wte: 0, wpe: 1, out: 2 }, // a row of wte for each row of out
  },
  {
    name: 'embeddingBackward',
    arrays: (s) => ({
      ...{ dwte: s.V * s.C, dwpe: s.T * s.C, dout: rows(s) },
      ...{ tokens: { length: s.R, below: s.V }, positions: { length: s.R, below: s.T } },
    }),
    outputs: ['dwte', 'dwpe'],
    call: (b, at, { R, C }) =>
      b.embeddingBackward(at.dwte, at.dwpe, at.dout, at.tokens, at.positions, { R, C }),
    touched: { dwte: 0, dwpe: 2, dout: 3 }, // each row of dout is added to a row of dwte
  },
  {
    name: 'adamw',
    arrays: (s) => ({ param: s.V * s.C, grad: s.V * s.C, m: s.V * s.C, v: s.V * s.C }),
    outputs: ['param', 'm', 'v'],
    call: (b, at) => {
      const options = { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, gradScale: 1 };
      b.adamw(at.param, at.grad, at.m, at.v, { ...options, step: 1 });
    },
    touched: { param: 2, m: 2, v: 2 },
    size: (s) => String(s.V * s.C),
  },
  {
    name: 'sumSquares',
    arrays: (s) => ({ out: 1, inp: s.V * s.C }),
    outputs: ['out'],
    call: (b, at) => b.sumSquares(at.out, at.inp),
    size: (s) => String(s.V * s.C),
  },
];

/** Rows that a check runs with: a reference in plain TypeScript is slow. */
const CHECKED = { B: 1, T: 5, R: 5 };
/** Timed calls of each kernel, and the least milliseconds of one timing. */
const SAMPLES = 7;
const LEAST_MS = 5;

/**
 * Checks and times every kernel at the sizes of B sequences of a model. Throws Error where a result is wrong.
 * `onKernel` hears how many are done.
 */
export async function benchmarkKernels(
  model: ModelConfig,
  B: number,
  backend: Backend,
  meter: LimitMeter | null,
  clock: Clock,
  onKernel: (done: number, of: number) => void,
): Promise<KernelResult[]> {
  const { blockSize: T, nEmbd: C, nHead: NH, vocabSize: V } = model;
  const sizes = { B, T, R: B * T, C, NH, V };
  const results: KernelResult[] = [];
  for (const kernel of KERNELS) {
    await check(kernel, { ...sizes, ...CHECKED }, backend);
    results.push(time(kernel, sizes, backend, meter, clock));
    onKernel(results.length, KERNELS.length);
    await clock.yield();
  }
  return results;
}

/** Values in [−1, 1) that bf16 holds exactly, or whole numbers below `below`; what must not be negative is in [0, 1). */
function contents(name: string, length: number, below: number | null): HostArray {
  const byte = (i: number) => Math.imul(i + name.length, 0x9e3779b1) >>> 24;
  if (below !== null) return Int32Array.from({ length }, (_, i) => (byte(i) * 7919 + i) % below);
  const values = new Float32Array(length);
  const positive = name === 'v' || name === 'rstd';
  for (let i = 0; i < length; i++) values[i] = positive ? byte(i) / 256 : byte(i) / 128 - 1;
  return values;
}

function fill(
  kernel: Kernel,
  sizes: Sizes,
  backend: Backend,
): { at: Record<string, Storage>; free: () => void } {
  const at: Record<string, Storage> = {};
  for (const [name, array] of Object.entries(kernel.arrays(sizes))) {
    const [length, below] = typeof array === 'number' ? [array, null] : [array.length, array.below];
    at[name] = backend.allocate(below === null ? backend.dtype : 'i32', length);
    backend.write(at[name], contents(name, length, below));
  }
  return {
    at,
    free: () => {
      for (const storage of Object.values(at)) backend.free(storage);
    },
  };
}

async function check(kernel: Kernel, sizes: Sizes, backend: Backend): Promise<void> {
  const outputs = async (b: Backend) => {
    const { at, free } = fill(kernel, sizes, b);
    kernel.call(b, at, sizes);
    const values = await Promise.all(kernel.outputs.map((name) => b.read(at[name])));
    free();
    return values;
  };
  const [got, want] = [await outputs(backend), await outputs(new ReferenceBackend('f64'))];
  // bf16 rounds what is multiplied on the way: softmax weights and gradients of logits.
  const tolerance = backend.precision === 'bf16' && kernel.flops ? 2 ** -7 : 1e-5;
  for (const [o, name] of kernel.outputs.entries()) {
    let largest = 0.1;
    for (const x of want[o]) largest = Math.max(largest, Math.abs(x));
    const wrong = want[o].findIndex((x, i) => !(Math.abs(got[o][i] - x) <= tolerance * largest));
    if (wrong >= 0) {
      throw new Error(`${kernel.name}: ${name}[${wrong}] is ${got[o][wrong]}, must be ${want[o][wrong]}`);
    }
  }
}

function time(
  kernel: Kernel,
  sizes: Sizes,
  backend: Backend,
  meter: LimitMeter | null,
  clock: Clock,
): KernelResult {
  const { at, free } = fill(kernel, sizes, backend);
  const run = (times: number) => {
    const start = clock.now();
    for (let i = 0; i < times; i++) kernel.call(backend, at, sizes);
    return (clock.now() - start) / times;
  };
  const work = kernel.flops?.(sizes) ?? bytes(kernel, sizes);
  const limit = kernel.flops ? backend.precision : 'read';
  run(1);
  const times = Math.max(1, Math.ceil(LEAST_MS / run(1)));
  const ms: number[] = [];
  const shares: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    const before = meter?.sample(limit);
    ms.push(run(times));
    const after = meter?.sample(limit);
    if (before && after) shares.push((work * 1000) / ms[i] / ((before + after) / 2));
  }
  free();
  return {
    kernel: kernel.name,
    size: kernel.size?.(sizes) ?? `${sizes.R}×${sizes.C}`,
    ms: spread(ms),
    rate: (work * 1000) / median(ms),
    limit,
    share: shares.length > 0 ? median(shares) : null,
  };
}

/** Bytes of a kernel's arrays, each counted as often as it passes between memory and processor. */
function bytes(kernel: Kernel, sizes: Sizes): number {
  return Object.entries(kernel.arrays(sizes)).reduce((sum, [name, array]) => {
    const length = typeof array === 'number' ? array : array.length;
    return sum + 4 * length * (kernel.touched?.[name] ?? 1);
  }, 0);
}

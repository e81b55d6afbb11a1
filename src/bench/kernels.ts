/**
 * Times the kernels one by one, at the sizes that a model gives them: each kernel is checked against the reference
 * backend on a few rows, then timed in turns with the limit that binds it.
 */
import type { Backend, HostArray, Precision, Storage } from '../backend/backend.js';
import { KERNELS, type OptionTypes } from '../backend/kernel-table.js';
import { ReferenceBackend } from '../backend/reference/reference.js';
import { type ArrayField, type Signature, signaturesOf } from '../backend/signature.js';
import { headsOf, type ModelConfig } from '../models/config.js';
import type { Clock } from '../platform.js';
import { median, type Spread, spread } from '../statistics.js';
import type { Limit, LimitMeter } from './limits.js';
import { settle } from './settle.js';
import type { TimedBackend } from './timed.js';

/** Relative tolerance of a product, whose operands may be rounded: also softmax weights and gradients of logits. */
const ROUNDED: Readonly<Record<Precision, number>> = { f32: 1e-5, f16: 2 ** -10, bf16: 2 ** -7 };

/** Tolerance between two engines that sum thousands of numbers in float32, each in its own order. */
const FLOAT_SUMS = 1e-4;

export interface KernelResult {
  readonly kernel: string;
  readonly size: string;
  readonly ms: Spread;
  /** FLOPs or bytes a second, from the median. */
  readonly rate: number;
  readonly limit: Limit;
  /** Share of the limit measured beside the kernel, median of the pairs; null if limits cannot be measured. */
  readonly share: number | null;
}

/** The sizes that a model gives its kernels. */
interface Sizes {
  readonly B: number;
  readonly T: number;
  readonly R: number;
  readonly C: number;
  readonly NH: number;
  readonly KV: number;
  readonly HS: number;
  readonly V: number;
}

/** One kernel and how it is run. */
interface Entry {
  readonly name: keyof typeof KERNELS;
  /** Dimensions that differ from the model's, or that the model does not have. */
  readonly dims?: (sizes: Sizes) => Readonly<Record<string, number>>;
  /** Options that differ from the usual ones. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Arrays that are null. */
  readonly without?: readonly string[];
  /** A kernel that makes what this kernel reads; the two are timed together. */
  readonly after?: keyof typeof KERNELS;
  /** FLOPs of a kernel that products bind; else the bytes of its arrays count, once or as often as `touched` says. */
  readonly flops?: (sizes: Sizes) => number;
  readonly touched?: Readonly<Record<string, number>>;
  readonly size?: (sizes: Sizes) => string;
}

const SIGNATURES = signaturesOf(KERNELS);
/** Default values of options, by kind. */
const USUAL: Readonly<Record<keyof OptionTypes, unknown>> = {
  flag: false,
  float: 1,
  number: 1e-3,
  nonNegative: 0,
  fraction: 0.9,
  count: 1,
  index: 0,
  activation: 'gelu_new',
  loopForm: 'correction',
  dropout: { p: 0.1, key: [1, 2], firstSample: 0 },
  'dropout?': null,
};

/** Products of a linear layer from `from`·C to `to`·C channels. */
function linear(from: number, to: number): Entry[] {
  const shared = {
    dims: ({ C }: Sizes) => ({ K: from * C, N: to * C }),
    flops: (s: Sizes) => 2 * s.R * from * s.C * to * s.C,
    size: (s: Sizes) => `${s.R}×${from * s.C}×${to * s.C}`,
  };
  return [
    { ...shared, name: 'linearForward' },
    { ...shared, name: 'linearBackwardInput' },
    { ...shared, name: 'linearBackwardWeight' },
  ];
}

const rows = ({ R, C }: Sizes) => R * C;
/** Two products over the (T + 1)/2 keys that a position sees on average. */
const attentionFlops = ({ R, T, C }: Sizes) => 2 * R * C * (T + 1);
const heads = ({ NH, KV, HS }: Sizes) => `NH${NH}${KV === NH ? '' : ` KV${KV}`} HS${HS}`;
const attention = { without: ['rows'], size: (s: Sizes) => `B${s.B} T${s.T} ${heads(s)}` };
const placing = { size: (s: Sizes) => `${s.R} ${heads(s)}` };
const head = { without: ['argmax', 'maxProb'], size: ({ R, C, V }: Sizes) => `${R}×${C}×${V}` };
const wide = { dims: (s: Sizes) => ({ n: 4 * rows(s) }), size: ({ R, C }: Sizes) => `${R}×${4 * C}` };
const halves = {
  dims: ({ C }: Sizes) => ({ I: 4 * C }),
  size: ({ R, C }: Sizes) => `${R}×2×${4 * C}`,
};
const gate = { dims: ({ C }: Sizes) => ({ G: C }) };
const weights = { dims: (s: Sizes) => ({ n: s.V * s.C }), size: (s: Sizes) => String(s.V * s.C) };

const ENTRIES: readonly Entry[] = [
  ...linear(1, 3),
  ...linear(1, 1),
  ...linear(1, 4),
  ...linear(4, 1),
  { name: 'attentionForward', ...attention, flops: attentionFlops },
  {
    name: 'attentionBackward',
    ...attention,
    after: 'attentionForward',
    flops: (s) => 3.5 * attentionFlops(s), // the forward pass that it needs is timed with it
  },
  { name: 'headsForward', ...placing, touched: { qkv: 2 } },
  { name: 'headsBackward', ...placing, touched: { dqkv: 2 } },
  { name: 'headForward', ...head, flops: (s) => 2 * rows(s) * s.V },
  { name: 'headForwardBackward', ...head, flops: (s) => 6 * rows(s) * s.V },
  { name: 'layernormForward' },
  { name: 'layernormBackward' },
  { name: 'rmsnormForward' },
  { name: 'rmsnormBackward' },
  { name: 'activationForward', ...wide },
  { name: 'activationBackward', ...wide },
  { name: 'gatedActivationForward', ...halves },
  { name: 'gatedActivationBackward', ...halves },
  { name: 'add', dims: (s) => ({ n: rows(s) }) },
  { name: 'gatedResidualForward', ...gate },
  { name: 'gatedResidualBackward', ...gate },
  { name: 'dropout' },
  // A row of wte is read for each row of out, and each row of dout is added to a row of dwte.
  { name: 'embeddingForward', touched: { wte: 0, wpe: 1, out: 2 } },
  { name: 'embeddingBackward', touched: { dwte: 0, dwpe: 2, dout: 3 } },
  { name: 'adamw', ...weights, touched: { param: 2, m: 2, v: 2 } },
  { name: 'sumSquares', ...weights },
];

/** Sizes of a check, small because the reference in plain TypeScript is slow. */
const CHECKED = { B: 1, T: 5, R: 5 };
/** Timed calls of each kernel, and the least milliseconds of one timing and of the untimed calls before. */
const SAMPLES = 7;
const LEAST_MS = 5;
const WARM_MS = 50;

/**
 * Checks and times every kernel at the sizes of B sequences of a model. Throws Error if a result is wrong.
 * `onKernel` receives the number done.
 */
export async function benchmarkKernels(
  model: ModelConfig,
  B: number,
  on: TimedBackend,
  meter: LimitMeter | null,
  clock: Clock,
  onKernel: (done: number, of: number) => void,
): Promise<KernelResult[]> {
  const { blockSize: T, nEmbd: C, vocabSize: V } = model;
  const sizes = { B, T, R: B * T, C, ...headsOf(model), V };
  const results: KernelResult[] = [];
  for (const entry of ENTRIES) {
    const oracle = new ReferenceBackend('f64', on.weights === 'int8');
    await check(entry, { ...sizes, ...CHECKED }, on.backend, oracle);
    results.push(await time(entry, sizes, on.backend, meter, clock));
    onKernel(results.length, ENTRIES.length);
    await clock.yield();
  }
  return results;
}

/**
 * Values in [−1, 1) that bf16 holds exactly, or whole numbers below `below`. Arrays that must not be negative have
 * values in [0, 1), and `nonFinite` has zeros.
 */
function contents(name: string, length: number, below: number | null): HostArray {
  const byte = (i: number) => Math.imul(i + name.length, 0x9e3779b1) >>> 24;
  if (below !== null) return Int32Array.from({ length }, (_, i) => (byte(i) * 7919 + i) % below);
  const values = new Float32Array(length);
  if (name === 'nonFinite') return values;
  const positive = name === 'v' || name === 'rstd';
  for (let i = 0; i < length; i++) values[i] = positive ? byte(i) / 256 : byte(i) / 128 - 1;
  return values;
}

/** The arguments of a kernel at a model's sizes, its arrays by name, and what frees them. */
function fill(
  entry: Entry,
  sizes: Sizes,
  backend: Backend,
): { args: Record<string, unknown>; at: Record<string, Storage>; free: () => void } {
  const at: Record<string, Storage> = {};
  const args: Record<string, unknown> = {};
  for (const name of [entry.after, entry.name]) {
    if (!name) continue;
    const signature = SIGNATURES[name];
    const dims = dimensions(entry, signature, sizes);
    for (const dim of signature.dims) args[dim] = dims[dim];
    for (const [option, kind] of signature.options) args[option] = USUAL[kind];
    for (const field of signature.arrays) {
      args[field.name] ??= null;
      if (entry.without?.includes(field.name) || args[field.name]) continue;
      const storage = backend.allocate(field.integers ? 'i32' : backend.dtype, length(field, dims));
      backend.write(
        storage,
        contents(field.name, storage.length, field.below === null ? null : dims[field.below]),
      );
      at[field.name] = storage;
      args[field.name] = storage;
    }
  }
  const free = () => {
    for (const storage of Object.values(at)) backend.free(storage);
  };
  return { args: { ...args, ...entry.options }, at, free };
}

/** The dimensions of a kernel by name, including those that a model does not have. */
function dimensions(entry: Entry, signature: Signature, sizes: Sizes): Record<string, number> {
  const dims: Record<string, number> = { ...sizes, P: sizes.T, ...entry.dims?.(sizes) };
  const { NH, KV } = dims;
  Object.assign(dims, { H: NH + 2 * KV, QK: NH + KV });
  // Attention computes all queries.
  if ('N' in signature.sizes) dims.N = sizes.R;
  return dims;
}

function length({ shape }: ArrayField, dims: Readonly<Record<string, number>>): number {
  return shape.reduce<number>((product, dim) => product * (typeof dim === 'number' ? dim : dims[dim]), 1);
}

function run(entry: Entry, backend: Backend, args: Record<string, unknown>): void {
  if (entry.after) backend[entry.after](args as never);
  backend[entry.name](args as never);
}

/**
 * Checks every kernel at the full sizes of B sequences of a model against another engine, whose sums are in float32
 * too. Throws Error if a result is wrong; returns how many kernels were checked.
 */
export async function checkKernels(
  model: ModelConfig,
  B: number,
  backend: Backend,
  oracle: Backend,
): Promise<number> {
  const { blockSize: T, nEmbd: C, vocabSize: V } = model;
  const sizes = { B, T, R: B * T, C, ...headsOf(model), V };
  const tolerance = { ...ROUNDED, f32: FLOAT_SUMS };
  for (const entry of ENTRIES) await check(entry, sizes, backend, oracle, tolerance);
  return ENTRIES.length;
}

async function check(
  entry: Entry,
  sizes: Sizes,
  backend: Backend,
  oracle: Backend,
  tolerances = ROUNDED,
): Promise<void> {
  const written = SIGNATURES[entry.name].arrays.filter(
    ({ role, name }) => role !== 'in' && !entry.without?.includes(name),
  );
  const outputs = async (b: Backend) => {
    const { args, at, free } = fill(entry, sizes, b);
    const read = () => Promise.all(written.map(({ name }) => b.read(at[name])));
    const before = await read();
    run(entry, b, args);
    const values = await read();
    free();
    if (values.every((array, o) => array.every((x, i) => x === before[o][i]))) {
      throw new Error(`${entry.name}: changes none of its outputs, so there is nothing to time`);
    }
    return values;
  };
  const [got, want] = [await outputs(backend), await outputs(oracle)];
  const tolerance = tolerances[entry.flops ? backend.precision : 'f32'];
  for (const [o, { name }] of written.entries()) {
    let largest = 0.1;
    for (const x of want[o]) largest = Math.max(largest, Math.abs(x));
    const wrong = want[o].findIndex((x, i) => !(Math.abs(got[o][i] - x) <= tolerance * largest));
    if (wrong >= 0) {
      throw new Error(`${entry.name}: ${name}[${wrong}] is ${got[o][wrong]}, must be ${want[o][wrong]}`);
    }
  }
}

async function time(
  entry: Entry,
  sizes: Sizes,
  backend: Backend,
  meter: LimitMeter | null,
  clock: Clock,
): Promise<KernelResult> {
  const { args, at, free } = fill(entry, sizes, backend);
  const [some] = Object.values(at);
  const repeat = async (times: number) => {
    const start = clock.now();
    for (let i = 0; i < times; i++) run(entry, backend, args);
    if (!backend.synchronous) await backend.read(backend.slice(some, 0, 1));
    return (clock.now() - start) / times;
  };
  const work = entry.flops?.(sizes) ?? bytes(entry, at);
  const limit = entry.flops ? backend.precision : 'read';
  await settle(clock, WARM_MS, () => repeat(1));
  const times = Math.max(1, Math.ceil(LEAST_MS / (await repeat(1))));
  const ms: number[] = [];
  const shares: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    const before = await meter?.sample(limit);
    ms.push(await repeat(times));
    const after = await meter?.sample(limit);
    if (before && after) shares.push((work * 1000) / ms[i] / ((before + after) / 2));
  }
  free();
  return {
    kernel: entry.name,
    size: entry.size?.(sizes) ?? `${sizes.R}×${sizes.C}`,
    ms: spread(ms),
    rate: (work * 1000) / median(ms),
    limit,
    share: shares.length > 0 ? median(shares) : null,
  };
}

/** Bytes of a kernel's arrays, each counted as often as it passes between memory and processor. */
function bytes({ touched }: Entry, at: Readonly<Record<string, Storage>>): number {
  return Object.entries(at).reduce((sum, [name, { length }]) => sum + 4 * length * (touched?.[name] ?? 1), 0);
}

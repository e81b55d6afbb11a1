/**
 * The interface of a backend: storage and every kernel's signature. Models and ops call nothing else.
 *
 * Dimensions: B batch, T time, R = B·T rows, C channels, NH heads, HS head size (C = NH·HS), V vocabulary,
 * K and N the input and output width of a linear layer. All arrays are dense and row-major.
 *
 * Conventions of every kernel:
 * - outputs come first, inputs after them, dimensions last;
 * - the gradient of an activation (`dinp`, `dx`, `df`, `dqkv`) is overwritten when `accumulate` is false and
 *   added to when it is true; the gradient of a parameter (`dweight`, `dbias`, `dgate`, …) is always added to;
 * - an output never overlaps an input, except where a kernel says that it works in place;
 * - results do not depend on the number of threads, and in forward kernels the bits of a row do not depend on
 *   the other rows;
 * - a wrong length, type or dimension throws ShapeError or NativeError before anything is written.
 *
 * A backend runs kernels in the order they are called. Only `read` waits for them.
 */
import type { RowKernels } from './rows.js';

/** Element type of a storage. `f64` exists in the reference backend only, for finite differences. */
export type DType = 'f32' | 'f64' | 'i32';

/**
 * How matrix products read their operands: as they are, or rounded to bfloat16 (to the nearest, ties to even). Sums are
 * kept in float32 either way, and so is everything in memory.
 */
export type Precision = 'f32' | 'bf16';

/** A run of elements that a backend owns; where they lie is the backend's own affair. */
export interface Storage {
  readonly dtype: DType;
  /** Number of elements. */
  readonly length: number;
}

/** Values as they travel between the host and a storage. */
export type HostArray = Float32Array | Float64Array | Int32Array;

/** Rows of channels: an activation `x (R, C)`. */
export interface RowDims {
  readonly R: number;
  readonly C: number;
}

/** Columns [first, first + count) of matrices (R, C). */
export interface ColumnDims extends RowDims {
  readonly first: number;
  readonly count: number;
}

/** A linear layer `inp (R, K) → out (R, N)`, `weight (K, N)`. */
export interface LinearDims {
  readonly R: number;
  readonly K: number;
  readonly N: number;
}

/** Self-attention over B sequences of T positions: `qkv (B, T, 3·C)`, each third split into NH heads of HS. */
export interface AttentionDims {
  readonly B: number;
  readonly T: number;
  readonly NH: number;
  readonly HS: number;
}

/** Positions in a page of a key/value cache. */
export const PAGE_POSITIONS = 128;

/** Self-attention of R new rows over a key/value cache: `qkv (R, 3·C)`, each third split into NH heads of HS. */
export interface CachedAttentionDims {
  readonly R: number;
  readonly NH: number;
  readonly HS: number;
  /** Sequences, and the numbers that the table holds for each. */
  readonly S: number;
  readonly width: number;
}

/** The head: `inp (R, C)` against `weight (V, C)`. */
export interface HeadDims {
  readonly R: number;
  readonly C: number;
  readonly V: number;
}

/** A gated residual: `x, f (R, C)`; the gate has G elements, C for a vector gate and 1 for a scalar one. */
export interface GateDims {
  readonly R: number;
  readonly C: number;
  readonly G: number;
}

/**
 * Which reading of the loop update a gated residual computes (arXiv 2409.14199, Eq. 1).
 * - `output`: x + gate ⊙ f
 * - `correction`: x + gate ⊙ (f − x)
 */
export type LoopForm = 'output' | 'correction';

/**
 * Functions of one element.
 * - `gelu`: GPT-2's tanh form, ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
 * - `relu`: max(0, x)
 * - `tanh`
 * - `sigmoid`: 1/(1 + e^−x)
 */
export const ACTIVATIONS = ['gelu', 'relu', 'tanh', 'sigmoid'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/**
 * Counter-based dropout: whether an element is kept is a pure function of the key, the sample and the element's
 * place in it (see `dropoutKeep` in `host.ts`), so that a recomputed or resumed step repeats it.
 */
export interface Dropout {
  /** Probability of dropping an element, 0 < p < 1; kept ones are scaled by 1/(1 − p). */
  readonly p: number;
  /** Two unsigned 32-bit words that name the seed, step, micro-step, application and site. */
  readonly key: readonly [number, number];
  /** Number of the first sample of this call within the step's micro-batch. */
  readonly firstSample: number;
}

/** Hyper-parameters of one AdamW update (Loshchilov & Hutter 2019, arXiv 1711.05101). */
export interface AdamWOptions {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Number of this update, counted from 1, for the bias correction. */
  readonly step: number;
  /** Factor on every gradient before it is used (gradient clipping). */
  readonly gradScale: number;
}

/** Work that runs into nothing but the machine's limits; for benchmarks. */
export interface Limits {
  /** Multiply-adds that wait for no memory; returns the FLOPs done, a multiply-add being two. */
  multiplyAdds(precision: Precision, iterations: number): number;
  /** Reads `src`, in whole cache lines. */
  read(src: Storage): void;
}

/** The kernels and the storage they work on. */
export interface Backend {
  /** Short name: `native`, `reference`. */
  readonly name: string;
  /** Element type of activations and parameters. */
  readonly dtype: 'f32' | 'f64';
  readonly precision: Precision;
  /** Instruction set, threads and whatever else a benchmark report should quote. */
  readonly description: string;
  /** Null where the backend's speed is nobody's concern. */
  readonly limits: Limits | null;

  // ---- storage ---------------------------------------------------------------------------------------------

  /** A new storage of `length` zeros. Throws NativeError when memory is short. */
  allocate(dtype: DType, length: number): Storage;
  /** Gives a storage from `allocate` back at once; it and its slices must not be used again. */
  free(storage: Storage): void;
  /** A view of `length` elements from `offset`; shares memory with `storage`. */
  slice(storage: Storage, offset: number, length: number): Storage;
  /** Copies host values into `dst` from element 0; `values.length` must not exceed `dst.length`. */
  write(dst: Storage, values: HostArray): void;
  /** Fills `dst` with the float32 values that `fill` puts into an array, which is its own memory where the host has that. */
  receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void>;
  /**
   * A copy of the elements, after all kernels called so far. Where `into` is given, an array of the same type and at least
   * that long, the copy is its beginning.
   */
  read(src: Storage, into?: HostArray): Promise<HostArray>;
  /** Sets every element to `value`. */
  fill(dst: Storage, value: number): void;
  /** dst = src, equal lengths. */
  copy(dst: Storage, src: Storage): void;

  // ---- element-wise ----------------------------------------------------------------------------------------

  /** out = a + b, equal lengths; `out` may be `a` or `b`. */
  add(out: Storage, a: Storage, b: Storage): void;
  /** out = kind(inp); see Activation. */
  activationForward(out: Storage, inp: Storage, kind: Activation): void;
  activationBackward(dinp: Storage, dout: Storage, inp: Storage, kind: Activation, accumulate: boolean): void;
  /** out[r, c] (+)= keep ? inp[r, c] / (1 − p) : 0, where sample = firstSample + ⌊r / T⌋ and element = (r mod T)·C + c. Its own backward. */
  dropout(
    out: Storage,
    inp: Storage,
    dims: RowDims & { readonly T: number },
    dropout: Dropout,
    accumulate: boolean,
  ): void;
  /** out = x + gate ⊙ f, or x + gate ⊙ (f − x); see LoopForm. `gate (G)`. */
  gatedResidualForward(
    out: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    dims: GateDims,
    form: LoopForm,
  ): void;
  /** dx (+)= dout ⊙ (1 or 1 − gate); df (+)= gate ⊙ dout; dgate += Σ_r dout ⊙ (f or f − x), summed over C too when G = 1. */
  gatedResidualBackward(
    dx: Storage,
    df: Storage,
    dgate: Storage,
    dout: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    dims: GateDims,
    form: LoopForm,
    accumulateX: boolean,
    accumulateF: boolean,
  ): void;

  // ---- rows ------------------------------------------------------------------------------------------------

  /** What decides about rows; cheap next to everything else. */
  readonly rows: RowKernels;
  /** out[r] (+)= mask[r] ? a[r] : b[r]; `mask (R)` i32, `a, b (R, C)`, null standing for zeros. */
  selectRows(
    out: Storage,
    mask: Storage,
    a: Storage | null,
    b: Storage | null,
    dims: RowDims,
    accumulate: boolean,
  ): void;
  /** out[r] (+)= scale[r]·inp[r]; `scale (R)`. */
  scaleRowsForward(out: Storage, inp: Storage, scale: Storage, dims: RowDims, accumulate: boolean): void;
  /** dinp[r] (+)= scale[r]·dout[r]; dscale[r] += Σ_c dout·inp; either may be null where not wanted. */
  scaleRowsBackward(
    dinp: Storage | null,
    dscale: Storage | null,
    dout: Storage,
    inp: Storage,
    scale: Storage,
    dims: RowDims,
    accumulate: boolean,
  ): void;
  /** Columns [first, first + count) of `out` become those of `inp`, or grow by them; `out, inp (R, C)`. */
  copyColumns(out: Storage, inp: Storage, dims: ColumnDims, accumulate: boolean): void;
  /** out[i] = inp[index[i]]; `inp (R, C)`, `index` ascending. */
  gatherRows(out: Storage, inp: Storage, index: Storage, dims: RowDims): void;
  /** out[index[i]] = inp[i], other rows as they are; `out (R, C)`, `index` ascending. */
  scatterRows(out: Storage, inp: Storage, index: Storage, dims: RowDims): void;

  // ---- exits -----------------------------------------------------------------------------------------------

  /**
   * How far states moved: out[r] = ‖x − former‖ / ‖former‖; with `before`, how far from where they were heading,
   * ‖(x − former) − (former − before)‖ / ‖former‖. `out (R)`, the states (R, C).
   */
  rowChange(out: Storage, x: Storage, former: Storage, before: Storage | null, dims: RowDims): void;
  /** out[r] = the entropy of softmax(logits[r]) in nats; `out (R)`, `logits (R, V)`. */
  rowEntropy(out: Storage, logits: Storage, dims: Pick<HeadDims, 'R' | 'V'>): void;
  /**
   * out[r] = KL(softmax(logits[r]) ‖ softmax(former[r])) in nats, to about 1e-6; `out (R)`, `logits, former (R, V)`. With
   * `rows`, ascending, these of `former` are compared: `out (rows)`, `logits (rows, V)`.
   */
  rowDivergence(
    out: Storage,
    logits: Storage,
    former: Storage,
    rows: Storage | null,
    dims: Pick<HeadDims, 'R' | 'V'>,
  ): void;

  // ---- layers ----------------------------------------------------------------------------------------------

  /** out[r] = wte[tokens[r]] + wpe[positions[r]]; `wte (V, C)`, `wpe (P, C)` or null for none. Throws ShapeError on an id outside its table. */
  embeddingForward(
    out: Storage,
    tokens: Storage,
    positions: Storage,
    wte: Storage,
    wpe: Storage | null,
    dims: RowDims,
  ): void;
  embeddingBackward(
    dwte: Storage,
    dwpe: Storage | null,
    dout: Storage,
    tokens: Storage,
    positions: Storage,
    dims: RowDims,
  ): void;
  /** out = (inp − mean)·rstd·weight + bias over the channels of each row; mean, rstd `(R)`; rstd = 1/√(var + 1e-5). */
  layernormForward(
    out: Storage,
    mean: Storage,
    rstd: Storage,
    inp: Storage,
    weight: Storage,
    bias: Storage | null,
    dims: RowDims,
  ): void;
  layernormBackward(
    dinp: Storage,
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    weight: Storage,
    mean: Storage,
    rstd: Storage,
    dims: RowDims,
    accumulate: boolean,
  ): void;
  /** out = inp · weight + bias; `inp (R, K)`, `weight (K, N)`, `bias (N)`. */
  linearForward(out: Storage, inp: Storage, weight: Storage, bias: Storage | null, dims: LinearDims): void;
  /** dinp (+)= dout · weightᵀ. */
  linearBackwardInput(
    dinp: Storage,
    dout: Storage,
    weight: Storage,
    dims: LinearDims,
    accumulate: boolean,
  ): void;
  /** dweight += inpᵀ · dout; dbias += Σ_r dout. */
  linearBackwardWeight(
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    dims: LinearDims,
  ): void;
  /**
   * Causal self-attention: out = softmax(q·kᵀ/√HS + causal mask)·v for each head; `qkv (B, T, 3·C)`, `out (B, T, C)`.
   * `lse (B, NH, T)` receives the log-sum-exp of each scaled score row, all that the backward pass needs.
   * With `rows`, ascending numbers b·T + t, only these queries are computed: `out (rows, C)`, and their places of `lse`.
   * Dropout acts on the attention weights with sample = (firstSample + b)·NH + h and element = query·65536 + key.
   */
  attentionForward(
    out: Storage,
    lse: Storage,
    qkv: Storage,
    dims: AttentionDims,
    dropout: Dropout | null,
    rows: Storage | null,
  ): void;
  attentionBackward(
    dqkv: Storage,
    dout: Storage,
    out: Storage,
    lse: Storage,
    qkv: Storage,
    dims: AttentionDims,
    dropout: Dropout | null,
    accumulate: boolean,
  ): void;

  /** Elements of one page of a key/value cache, of type `dtype`: the keys and values of PAGE_POSITIONS positions. */
  cachePageLength(NH: number, HS: number): number;
  /**
   * Causal self-attention of new rows over the past of their sequences: appends their keys and values to the cache, a
   * whole number of pages whose content is the backend's own affair, and attends to all up to the row's own. `table
   * (S, width)` i32 holds, for each sequence in the order of its rows: the number of its rows, the number of its
   * positions in the cache, and its pages. What a page holds from a sequence's end on counts for nothing, so that a
   * sequence is cut by giving a smaller number. A row's bits are those that `attentionForward` gives it.
   * With `rows`, ascending, only these queries are computed: `out (rows, C)`; all keys and values are appended.
   */
  cachedAttention(
    out: Storage,
    cache: Storage,
    qkv: Storage,
    table: Storage,
    dims: CachedAttentionDims,
    rows: Storage | null,
  ): void;

  // ---- head ------------------------------------------------------------------------------------------------

  /** out (R, V) = inp · weightᵀ; for sampling, where few rows are wanted. */
  logits(out: Storage, inp: Storage, weight: Storage, dims: HeadDims): void;
  /**
   * Softmax cross-entropy of inp · weightᵀ against `targets (R)`, without storing the logits of all rows.
   * loss[r] = −log p(targets[r]) in nats, 0 where targets[r] = −1; argmax[r] (i32) and maxProb[r] are the most
   * probable token and its probability, computed for every row; null where not wanted.
   */
  headForward(
    loss: Storage,
    argmax: Storage | null,
    maxProb: Storage | null,
    inp: Storage,
    weight: Storage,
    targets: Storage,
    dims: HeadDims,
  ): void;
  /**
   * `headForward` and, while the logits are at hand, its gradients for the total Σ_r rowWeights[r]·loss[r]:
   * dinp is overwritten, dweight is added to.
   */
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
    dims: HeadDims,
  ): void;

  // ---- optimizer -------------------------------------------------------------------------------------------

  /**
   * One AdamW update of a run of parameters, in place, all of equal length:
   * g = gradScale·grad; m = β1·m + (1 − β1)·g; v = β2·v + (1 − β2)·g²;
   * param −= lr·(m̂/(√v̂ + eps) + weightDecay·param), m̂ and v̂ being bias-corrected.
   */
  adamw(param: Storage, grad: Storage, m: Storage, v: Storage, options: AdamWOptions): void;
  /** out[0] = Σ inp², summed in double precision; not finite exactly when an element is not, or the sum overflows. */
  sumSquares(out: Storage, inp: Storage): void;
}

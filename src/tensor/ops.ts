/**
 * The ops: each calls its forward kernel and records its backward kernel beside it. They know kernels and tapes,
 * not modules. Inputs are borrowed; the caller owns the result.
 *
 * Dimensions: R = B·T rows, C channels, NH heads, V vocabulary.
 */
import type { Activation, ColumnDims, Dropout, LoopForm, Storage } from '../backend/backend.js';
import type { ActOptions } from '../backend/rows.js';
import { ShapeError } from '../errors.js';
import { parameterGradient, Tape } from './tape.js';
import { type Parameter, type Runtime, Tensor } from './tensor.js';

/** wte[tokens] + wpe[positions], or wte[tokens] alone; `tokens, positions (R)` → (R, C). */
export function embedding(tokens: Tensor, positions: Tensor, wte: Parameter, wpe: Parameter | null): Tensor {
  const { runtime } = wte;
  const { backend, tape } = runtime;
  const dims = { R: tokens.size, C: wte.shape[1] };
  const out = produce(runtime, [dims.R, dims.C], (y) =>
    backend.embeddingForward(y, tokens.storage, positions.storage, wte.storage, wpe?.storage ?? null, dims),
  );
  tape?.record(out, [tokens, positions], (dout) => {
    const [dwte, dwpe] = [parameterGradient(wte), wpe && parameterGradient(wpe)];
    backend.embeddingBackward(dwte, dwpe, dout.storage, tokens.storage, positions.storage, dims);
  });
  return out;
}

/** Layer normalisation over the channels; `x (R, C)` → (R, C). */
export function layerNorm(x: Tensor, weight: Parameter, bias: Parameter | null): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = rows(x);
  using mean = runtime.empty([dims.R]);
  using rstd = runtime.empty([dims.R]);
  const out = produce(runtime, x.shape, (y) =>
    backend.layernormForward(
      y,
      mean.storage,
      rstd.storage,
      x.storage,
      weight.storage,
      bias?.storage ?? null,
      dims,
    ),
  );
  tape?.record(out, [x, mean, rstd], (dout) => {
    const dx = tape.target(x);
    backend.layernormBackward(
      dx.storage,
      parameterGradient(weight),
      bias && parameterGradient(bias),
      dout.storage,
      x.storage,
      weight.storage,
      mean.storage,
      rstd.storage,
      dims,
      dx.accumulate,
    );
  });
  return out;
}

/** x · weight + bias; `x (R, K)`, `weight (K, N)` → (R, N). */
export function linear(x: Tensor, weight: Parameter, bias: Parameter | null): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const [K, N] = [weight.shape[0], weight.shape[1]];
  if (x.shape[1] !== K) throw new ShapeError(weight.name, `input must have ${K} channels`, x.shape);
  const dims = { R: x.shape[0], K, N };
  const out = produce(runtime, [dims.R, N], (y) =>
    backend.linearForward(y, x.storage, weight.storage, bias?.storage ?? null, dims),
  );
  tape?.record(out, [x], (dout) => {
    const dweight = parameterGradient(weight);
    backend.linearBackwardWeight(dweight, bias && parameterGradient(bias), dout.storage, x.storage, dims);
    const dx = tape.target(x);
    backend.linearBackwardInput(dx.storage, dout.storage, weight.storage, dims, dx.accumulate);
  });
  return out;
}

/** A function of each element; see Activation. */
export function activation(x: Tensor, kind: Activation): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const out = produce(runtime, x.shape, (y) => backend.activationForward(y, x.storage, kind));
  tape?.record(out, [x], (dout) => {
    const dx = tape.target(x);
    backend.activationBackward(dx.storage, dout.storage, x.storage, kind, dx.accumulate);
  });
  return out;
}

/**
 * Causal multi-head self-attention of B sequences; `qkv (B·T, 3·C)` → (B·T, C). With `rows`, ascending, only these queries
 * are computed, (rows, C); that records no gradient.
 */
export function attention(
  qkv: Tensor,
  B: number,
  T: number,
  NH: number,
  dropout: Dropout | null,
  rows: Tensor | null = null,
): Tensor {
  const { runtime } = qkv;
  const { backend, tape } = runtime;
  const C = qkv.shape[1] / 3;
  const dims = { B, T, NH, HS: C / NH };
  using lse = runtime.empty([B, NH, T]);
  const out = produce(runtime, [rows ? rows.size : B * T, C], (y) =>
    backend.attentionForward(y, lse.storage, qkv.storage, dims, dropout, rows?.storage ?? null),
  );
  if (rows) return out;
  tape?.record(out, [qkv, out, lse], (dout) => {
    const d = tape.target(qkv);
    backend.attentionBackward(
      d.storage,
      dout.storage,
      out.storage,
      lse.storage,
      qkv.storage,
      dims,
      dropout,
      d.accumulate,
    );
  });
  return out;
}

/**
 * Causal multi-head self-attention of new rows over a key/value cache, to which it appends theirs (see
 * Backend.cachedAttention); `qkv (R, 3·C)`, `table (S, width)` → (R, C), or (rows, C). It records no gradient.
 */
export function cachedAttention(
  qkv: Tensor,
  cache: Storage,
  table: Tensor,
  NH: number,
  rows: Tensor | null,
): Tensor {
  const { runtime } = qkv;
  const [R, C] = [qkv.shape[0], qkv.shape[1] / 3];
  const [S, width] = table.shape;
  const dims = { R, NH, HS: C / NH, S, width };
  return produce(runtime, [rows ? rows.size : R, C], (y) =>
    runtime.backend.cachedAttention(y, cache, qkv.storage, table.storage, dims, rows?.storage ?? null),
  );
}

/**
 * The queries of `qkv` with the keys and values of `from`; both (R, 3·C). With `learns`, the gradient of keys and values
 * goes to `from`; otherwise to nobody.
 */
export function withKeysOf(qkv: Tensor, from: Tensor, learns: boolean): Tensor {
  const { runtime } = qkv;
  const { backend, tape } = runtime;
  const dims = rows(qkv);
  const C = dims.C / 3;
  const queries = { ...dims, first: 0, count: C };
  const keys = { ...dims, first: C, count: 2 * C };
  const out = produce(runtime, qkv.shape, (y) => {
    backend.copyColumns(y, qkv.storage, queries, false);
    backend.copyColumns(y, from.storage, keys, false);
  });
  tape?.record(out, [], (dout) => {
    const back = (x: Tensor, columns: ColumnDims) => {
      const { storage, accumulate } = tape.target(x);
      if (!accumulate) backend.fill(storage, 0);
      backend.copyColumns(storage, dout.storage, columns, accumulate);
    };
    back(qkv, queries);
    if (learns) back(from, keys);
  });
  return out;
}

/** Counter-based dropout over sequences of T rows; without one, `x` itself under a new owner. */
export function dropout(x: Tensor, T: number, mask: Dropout | null): Tensor {
  if (!mask) return alias(x);
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = { ...rows(x), T };
  const out = produce(runtime, x.shape, (y) => backend.dropout(y, x.storage, dims, mask, false));
  tape?.record(out, [], (dout) => {
    const dx = tape.target(x);
    backend.dropout(dx.storage, dout.storage, dims, mask, dx.accumulate);
  });
  return out;
}

/** a + b, equal shapes. */
export function add(a: Tensor, b: Tensor): Tensor {
  const { runtime } = a;
  const { backend, tape } = runtime;
  const out = produce(runtime, a.shape, (y) => backend.add(y, a.storage, b.storage));
  tape?.record(out, [], (dout) => {
    tape.pass(a, dout);
    tape.pass(b, dout);
  });
  return out;
}

/** The same value under a new owner. */
export function alias(x: Tensor): Tensor {
  const out = new Tensor(x.runtime, x.shape, x.buffer.retain());
  const { tape } = x.runtime;
  tape?.record(out, [], (dout) => tape.pass(x, dout));
  return out;
}

/** The loop update x + gate ⊙ f, or x + gate ⊙ (f − x); `x, f (R, C)`, `gate (C)` or `(1)`. */
export function gatedResidual(x: Tensor, f: Tensor, gate: Parameter, form: LoopForm): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = { ...rows(x), G: gate.size };
  const out = produce(runtime, x.shape, (y) =>
    backend.gatedResidualForward(y, x.storage, f.storage, gate.storage, dims, form),
  );
  tape?.record(out, [x, f], (dout) => {
    const dx = tape.target(x);
    const df = tape.target(f);
    backend.gatedResidualBackward(
      dx.storage,
      df.storage,
      parameterGradient(gate),
      dout.storage,
      x.storage,
      f.storage,
      gate.storage,
      dims,
      form,
      dx.accumulate,
      df.accumulate,
    );
  });
  return out;
}

/** mask ? a : b, row by row; `mask (R)`, `a, b (R, C)`. */
export function selectRows(mask: Tensor, a: Tensor, b: Tensor): Tensor {
  const { runtime } = a;
  const { backend, tape } = runtime;
  const dims = rows(a);
  const out = produce(runtime, a.shape, (y) =>
    backend.selectRows(y, mask.storage, a.storage, b.storage, dims, false),
  );
  tape?.record(out, [mask], (dout) => {
    const da = tape.target(a);
    backend.selectRows(da.storage, mask.storage, dout.storage, null, dims, da.accumulate);
    const db = tape.target(b);
    backend.selectRows(db.storage, mask.storage, null, dout.storage, dims, db.accumulate);
  });
  return out;
}

/** scale ⊙ x, each row by its own factor, added to `to` where given; `x, to (R, C)`, `scale (R)` or (R, 1). */
export function scaleRows(x: Tensor, scale: Tensor, to: Tensor | null = null): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = rows(x);
  const out = produce(runtime, x.shape, (y) => {
    if (to) backend.copy(y, to.storage);
    backend.scaleRowsForward(y, x.storage, scale.storage, dims, to !== null);
  });
  tape?.record(out, [x, scale], (dout) => {
    if (to) tape.pass(to, dout);
    const dscale = tape.target(scale);
    if (!dscale.accumulate) backend.fill(dscale.storage, 0);
    const dx = tape.target(x);
    backend.scaleRowsBackward(
      dx.storage,
      dscale.storage,
      dout.storage,
      x.storage,
      scale.storage,
      dims,
      dx.accumulate,
    );
  });
  return out;
}

/** The rows of x that `index` lists in ascending order; records no gradient. */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  const { backend } = x.runtime;
  const out = x.runtime.empty([index.size, x.shape[1]]);
  backend.gatherRows(out.storage, x.storage, index.storage, rows(x));
  return out;
}

/** x with the rows that `index` lists replaced by those of `values`; records no gradient. */
export function scatterRows(x: Tensor, values: Tensor, index: Tensor): Tensor {
  const { backend } = x.runtime;
  const out = x.runtime.empty(x.shape);
  backend.copy(out.storage, x.storage);
  backend.scatterRows(out.storage, values.storage, index.storage, rows(x));
  return out;
}

/**
 * One step of adaptive computation time: the weight p of this step's state, the sum of halting probabilities so far, and
 * which rows go on; all (R), `h` may be (R, 1). See RowKernels.actForward.
 */
export function actStep(
  h: Tensor,
  sum: Tensor,
  running: Tensor,
  options: ActOptions,
): { p: Tensor; nextSum: Tensor; goingOn: Tensor } {
  const { runtime } = h;
  const { backend, tape } = runtime;
  const R = h.size;
  const p = runtime.empty([R]);
  const nextSum = runtime.empty([R]);
  const goingOn = runtime.empty([R], 'i32');
  const step = {
    h: h.storage,
    sum: sum.storage,
    running: running.storage,
    p: p.storage,
    nextSum: nextSum.storage,
    goingOn: goingOn.storage,
  };
  backend.rows.actForward(step, options);
  // A node has one output: this one's has nothing to do, but holds the gradient until the one of p, walked before it, takes it.
  tape?.record(nextSum, [], () => {});
  tape?.record(p, [running, goingOn], (dp) => {
    const [dh, dsum] = [tape.target(h), tape.target(sum)];
    for (const { storage, accumulate } of [dh, dsum]) if (!accumulate) backend.fill(storage, 0);
    const dnextSum = nextSum.grad;
    nextSum.grad = null;
    backend.rows.actBackward(dh.storage, dsum.storage, dp.storage, dnextSum?.storage ?? null, step);
    dnextSum?.release();
  });
  return { p, nextSum, goingOn };
}

/** The same value, through which no gradient passes. */
export function detach(x: Tensor): Tensor {
  const out = new Tensor(x.runtime, x.shape, x.buffer.retain());
  x.runtime.tape?.record(out, [], () => {});
  return out;
}

/** The value of `x` with the gradient going to `origin` instead: x counts as origin plus a constant. */
export function constantOffset(x: Tensor, origin: Tensor): Tensor {
  const out = new Tensor(x.runtime, x.shape, x.buffer.retain());
  const { tape } = x.runtime;
  tape?.record(out, [], (dout) => tape.pass(origin, dout));
  return out;
}

/** Adds Σ weights ⊙ x to what the tape differentiates; equal sizes. */
export function addToLoss(x: Tensor, weights: Tensor): void {
  const { tape } = x.runtime;
  tape?.recordLoss(weights, () => tape.pass(x, weights.buffer));
}

/** x · weightᵀ; `x (R, C)`, `weight (V, C)` → (R, V). For sampling: it records no gradient. */
export function logits(x: Tensor, weight: Parameter): Tensor {
  const { runtime } = x;
  const [V, C] = [weight.shape[0], weight.shape[1]];
  const out = runtime.empty([x.shape[0], V]);
  runtime.backend.logits(out.storage, x.storage, weight.storage, { R: x.shape[0], C, V });
  return out;
}

/**
 * Cross-entropy of each row in nats; `x (R, C)`, `weight (V, C)`, `targets (R)` → (R). Rows with target −1 give 0. Where
 * given, `argmax (R)` and `maxProb (R)` receive the most probable token and its probability.
 *
 * While a tape records, the total Σ_r rowWeights[r]·loss[r] is the end of the tape: the logits exist only here, so the
 * gradient by `weight` is added at once and the one by `x` is kept for the walk.
 */
export function headLoss(
  x: Tensor,
  weight: Parameter,
  targets: Tensor,
  rowWeights: Tensor,
  argmax: Tensor | null = null,
  maxProb: Tensor | null = null,
): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = { ...rows(x), V: weight.shape[0] };
  if (!tape) {
    return produce(runtime, [dims.R], (loss) =>
      backend.headForward(
        loss,
        argmax?.storage ?? null,
        maxProb?.storage ?? null,
        x.storage,
        weight.storage,
        targets.storage,
        dims,
      ),
    );
  }
  using dx = runtime.empty(x.shape);
  const loss = produce(runtime, [dims.R], (y) =>
    backend.headForwardBackward(
      y,
      argmax?.storage ?? null,
      maxProb?.storage ?? null,
      dx.storage,
      parameterGradient(weight),
      x.storage,
      weight.storage,
      targets.storage,
      rowWeights.storage,
      dims,
    ),
  );
  tape.recordLoss(dx, () => tape.pass(x, dx.buffer));
  return loss;
}

/**
 * Activation checkpointing: `body(x)` with only `x`, and the constants it reads, kept for the backward pass, which runs
 * `body` a second time. `body` must compute the same bits again (dropout does, being counter-based).
 */
export function checkpoint(
  x: Tensor,
  body: (x: Tensor) => Tensor,
  constants: readonly Tensor[] = [],
): Tensor {
  const { runtime } = x;
  const { tape } = runtime;
  if (!tape) return body(x);
  const out = runtime.recording(null, () => body(x));
  tape.record(out, [x, ...constants], (dout) => {
    using input = new Tensor(runtime, x.shape, x.buffer.retain());
    // The repeated ops go on adding where x's gradient stands, in the order of a run without checkpointing: the same bits.
    input.grad = x.grad;
    const inner = new Tape(runtime);
    try {
      using again = runtime.recording(inner, () => body(input));
      inner.pass(again, dout);
      inner.backward();
    } finally {
      inner.clear();
      x.grad = input.grad;
    }
  });
  return out;
}

/** A new tensor that `kernel` fills; given back at once if the kernel refuses. */
function produce(runtime: Runtime, shape: readonly number[], kernel: (out: Storage) => void): Tensor {
  const out = runtime.empty(shape);
  try {
    kernel(out.storage);
  } catch (error) {
    out.dispose();
    throw error;
  }
  return out;
}

function rows(x: Tensor): { R: number; C: number } {
  return { R: x.shape[0], C: x.shape[1] };
}

/**
 * The ops: each calls its forward kernel and records its backward kernel beside it. They must not import modules.
 * Inputs are borrowed; the caller owns the result. The ops of recipes for loops are in `loop-ops.ts`.
 *
 * Dimensions: R = B·T rows, C channels, NH query heads, KV key heads, HS head size, H = NH + 2·KV, V vocabulary.
 */
import type { Activation, Dropout, LoopForm, Storage } from '../backend/backend.js';
import { ShapeError } from '../errors.js';
import { parameterGradient, Tape } from './tape.js';
import { type Parameter, type Runtime, Tensor } from './tensor.js';

/** wte[tokens] + wpe[positions], or wte[tokens] alone; `tokens, positions (R)` → (R, C). */
export function embedding(tokens: Tensor, positions: Tensor, wte: Parameter, wpe: Parameter | null): Tensor {
  const { runtime } = wte;
  const { backend, tape } = runtime;
  const dims = { R: tokens.size, C: wte.shape[1] };
  const out = produce(runtime, [dims.R, dims.C], (y) =>
    backend.embeddingForward({
      out: y,
      tokens: tokens.storage,
      positions: positions.storage,
      wte: wte.storage,
      wpe: wpe?.storage ?? null,
      ...dims,
    }),
  );
  tape?.record(out, [tokens, positions], (dout) => {
    const rows = runtime.rowGradient?.of === wte ? runtime.rowGradient : null;
    backend.embeddingBackward({
      dwte: rows?.gradient ?? parameterGradient(wte),
      dwpe: wpe && parameterGradient(wpe),
      dout: dout.storage,
      tokens: rows?.tokens ?? tokens.storage,
      positions: positions.storage,
      ...dims,
    });
  });
  return out;
}

/** Layer normalisation over the channels; `eps` is added to the variance; `x (R, C)` → (R, C). */
export function layerNorm(x: Tensor, weight: Parameter, bias: Parameter | null, eps: number): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = rows(x);
  using mean = runtime.empty([dims.R]);
  using rstd = runtime.empty([dims.R]);
  const out = produce(runtime, x.shape, (y) =>
    backend.layernormForward({
      out: y,
      mean: mean.storage,
      rstd: rstd.storage,
      inp: x.storage,
      weight: weight.storage,
      bias: bias?.storage ?? null,
      ...dims,
      eps,
    }),
  );
  tape?.record(out, [x, mean, rstd], (dout) => {
    const dx = tape.target(x);
    backend.layernormBackward({
      dinp: dx.storage,
      dweight: parameterGradient(weight),
      dbias: bias && parameterGradient(bias),
      dout: dout.storage,
      inp: x.storage,
      weight: weight.storage,
      mean: mean.storage,
      rstd: rstd.storage,
      accumulate: dx.accumulate,
      ...dims,
    });
  });
  return out;
}

/** x divided by its root mean square over the channels, times `weight (C)`; `x (R, C)` → (R, C). */
export function rmsNorm(x: Tensor, weight: Parameter, eps: number): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = rows(x);
  using rstd = runtime.empty([dims.R]);
  const out = produce(runtime, x.shape, (y) =>
    backend.rmsnormForward({
      out: y,
      rstd: rstd.storage,
      inp: x.storage,
      weight: weight.storage,
      ...dims,
      eps,
    }),
  );
  tape?.record(out, [x, rstd], (dout) => {
    const dx = tape.target(x);
    backend.rmsnormBackward({
      dinp: dx.storage,
      dweight: parameterGradient(weight),
      dout: dout.storage,
      inp: x.storage,
      weight: weight.storage,
      rstd: rstd.storage,
      accumulate: dx.accumulate,
      ...dims,
    });
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
    backend.linearForward({
      out: y,
      inp: x.storage,
      weight: weight.storage,
      bias: bias?.storage ?? null,
      ...dims,
    }),
  );
  tape?.record(out, [x], (dout) => {
    backend.linearBackwardWeight({
      dweight: parameterGradient(weight),
      dbias: bias && parameterGradient(bias),
      dout: dout.storage,
      inp: x.storage,
      ...dims,
    });
    const dx = tape.target(x);
    backend.linearBackwardInput({
      dinp: dx.storage,
      dout: dout.storage,
      weight: weight.storage,
      accumulate: dx.accumulate,
      ...dims,
    });
  });
  return out;
}

/** A function of each element; see Activation. */
export function activation(x: Tensor, kind: Activation): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const out = produce(runtime, x.shape, (y) => backend.activationForward({ out: y, inp: x.storage, kind }));
  tape?.record(out, [x], (dout) => {
    const { storage: dinp, accumulate } = tape.target(x);
    backend.activationBackward({ dinp, dout: dout.storage, inp: x.storage, kind, accumulate });
  });
  return out;
}

/** kind(the first half of each row) ⊙ the second; `x (R, 2·I)` → (R, I). */
export function gatedActivation(x: Tensor, kind: Activation): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = { R: x.shape[0], I: x.shape[1] / 2 };
  const out = produce(runtime, [dims.R, dims.I], (y) =>
    backend.gatedActivationForward({ out: y, inp: x.storage, kind, ...dims }),
  );
  tape?.record(out, [x], (dout) => {
    const { storage: dinp, accumulate } = tape.target(x);
    backend.gatedActivationBackward({ dinp, dout: dout.storage, inp: x.storage, kind, accumulate, ...dims });
  });
  return out;
}

/** Counter-based dropout over sequences of T rows; without a mask, `x` itself under a new owner. */
export function dropout(x: Tensor, T: number, mask: Dropout | null): Tensor {
  if (!mask) return alias(x);
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = { ...rows(x), T };
  const out = produce(runtime, x.shape, (y) =>
    backend.dropout({ out: y, inp: x.storage, dropout: mask, accumulate: false, ...dims }),
  );
  tape?.record(out, [], (dout) => {
    const { storage: out, accumulate } = tape.target(x);
    backend.dropout({ out, inp: dout.storage, dropout: mask, accumulate, ...dims });
  });
  return out;
}

/** a + b, equal shapes. */
export function add(a: Tensor, b: Tensor): Tensor {
  const { runtime } = a;
  const { backend, tape } = runtime;
  const out = produce(runtime, a.shape, (y) => backend.add({ out: y, a: a.storage, b: b.storage }));
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
    backend.gatedResidualForward({
      out: y,
      x: x.storage,
      f: f.storage,
      gate: gate.storage,
      form,
      ...dims,
    }),
  );
  tape?.record(out, [x, f], (dout) => {
    const dx = tape.target(x);
    const df = tape.target(f);
    backend.gatedResidualBackward({
      dx: dx.storage,
      df: df.storage,
      dgate: parameterGradient(gate),
      dout: dout.storage,
      x: x.storage,
      f: f.storage,
      gate: gate.storage,
      form,
      accumulateX: dx.accumulate,
      accumulateF: df.accumulate,
      ...dims,
    });
  });
  return out;
}

/** mask ? a : b, row by row; `mask (R)`, `a, b (R, C)`. */
export function selectRows(mask: Tensor, a: Tensor, b: Tensor): Tensor {
  const { runtime } = a;
  const { backend, tape } = runtime;
  const dims = rows(a);
  const out = produce(runtime, a.shape, (y) =>
    backend.selectRows({
      out: y,
      mask: mask.storage,
      a: a.storage,
      b: b.storage,
      accumulate: false,
      ...dims,
    }),
  );
  tape?.record(out, [mask], (dout) => {
    const back = (x: Tensor, from: { a: Storage | null; b: Storage | null }) => {
      const { storage: out, accumulate } = tape.target(x);
      backend.selectRows({ out, mask: mask.storage, ...from, accumulate, ...dims });
    };
    back(a, { a: dout.storage, b: null });
    back(b, { a: null, b: dout.storage });
  });
  return out;
}

/** scale ⊙ x, each row by its own factor, added to `to` if given; `x, to (R, C)`, `scale (R)` or (R, 1). */
export function scaleRows(x: Tensor, scale: Tensor, to: Tensor | null = null): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = rows(x);
  const out = produce(runtime, x.shape, (y) => {
    if (to) backend.copy(y, to.storage);
    backend.scaleRowsForward({
      out: y,
      inp: x.storage,
      scale: scale.storage,
      accumulate: to !== null,
      ...dims,
    });
  });
  tape?.record(out, [x, scale], (dout) => {
    if (to) tape.pass(to, dout);
    const dscale = tape.target(scale);
    if (!dscale.accumulate) backend.fill(dscale.storage, 0);
    const dx = tape.target(x);
    backend.scaleRowsBackward({
      dinp: dx.storage,
      dscale: dscale.storage,
      dout: dout.storage,
      inp: x.storage,
      scale: scale.storage,
      accumulate: dx.accumulate,
      ...dims,
    });
  });
  return out;
}

/** The rows of x that `index` lists in ascending order; records no gradient. */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  const { backend } = x.runtime;
  const out = x.runtime.empty([index.size, x.shape[1]]);
  backend.gatherRows({ out: out.storage, inp: x.storage, index: index.storage, ...rows(x) });
  return out;
}

/** x with the rows that `index` lists replaced by those of `values`; records no gradient. */
export function scatterRows(x: Tensor, values: Tensor, index: Tensor): Tensor {
  const { backend } = x.runtime;
  const out = x.runtime.empty(x.shape);
  backend.copy(out.storage, x.storage);
  backend.scatterRows({ out: out.storage, inp: values.storage, index: index.storage, ...rows(x) });
  return out;
}

/**
 * One step of adaptive computation time: the weight p of this step's state, the sum of halting probabilities so far,
 * and which rows still run; all (R), `h` may be (R, 1). See the kernel actForward.
 */
export function actStep(
  h: Tensor,
  sum: Tensor,
  running: Tensor,
  options: { readonly epsilon: number; readonly last: boolean },
): { p: Tensor; nextSum: Tensor; goingOn: Tensor } {
  const { runtime } = h;
  const { backend, tape } = runtime;
  const R = h.size;
  const p = runtime.empty([R]);
  const nextSum = runtime.empty([R]);
  const goingOn = runtime.empty([R], 'i32');
  const rows = { running: running.storage, goingOn: goingOn.storage };
  backend.actForward({
    p: p.storage,
    nextSum: nextSum.storage,
    h: h.storage,
    sum: sum.storage,
    ...rows,
    ...options,
  });
  // A node has one output. This node does nothing; it holds the gradient until the node of p, walked earlier, takes it.
  tape?.record(nextSum, [], () => {});
  tape?.record(p, [running, goingOn], (dp) => {
    const [dh, dsum] = [tape.target(h), tape.target(sum)];
    for (const { storage, accumulate } of [dh, dsum]) if (!accumulate) backend.fill(storage, 0);
    const dnextSum = nextSum.grad;
    nextSum.grad = null;
    backend.actBackward({
      dh: dh.storage,
      dsum: dsum.storage,
      dp: dp.storage,
      dnextSum: dnextSum?.storage ?? null,
      ...rows,
    });
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

/** The value of `x` with the gradient passed to `origin` instead: x counts as origin plus a constant. */
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
  const { storage: inp } = x;
  runtime.backend.logits({ out: out.storage, inp, weight: weight.storage, R: x.shape[0], C, V });
  return out;
}

/**
 * Cross-entropy of each row in nats; `x (R, C)`, `weight (V, C)`, `targets (R)` → (R). Rows with target −1 have loss 0.
 * If given, `argmax (R)` and `maxProb (R)` receive the most probable token and its probability.
 *
 * While a tape records, the total Σ_r rowWeights[r]·loss[r] is the end of the tape: the logits exist only here, so the
 * gradient with respect to `weight` is added at once and the gradient with respect to `x` is kept for the walk.
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
  const found = { argmax: argmax?.storage ?? null, maxProb: maxProb?.storage ?? null };
  const given = { inp: x.storage, weight: weight.storage, targets: targets.storage };
  if (!tape) {
    return produce(runtime, [dims.R], (loss) => backend.headForward({ loss, ...found, ...given, ...dims }));
  }
  using dx = runtime.empty(x.shape);
  const loss = produce(runtime, [dims.R], (y) =>
    backend.headForwardBackward({
      loss: y,
      dinp: dx.storage,
      dweight: parameterGradient(weight),
      rowWeights: rowWeights.storage,
      ...found,
      ...given,
      ...dims,
    }),
  );
  tape.recordLoss(dx, () => tape.pass(x, dx.buffer));
  return loss;
}

/**
 * Activation checkpointing: `body(x)`, of which only `x` and the constants that it reads are kept for the backward
 * pass, which runs `body` again. `body` must compute the same bits again (dropout does, being counter-based).
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
    // The repeated ops add to x's current gradient, in the order of a run without checkpointing: the same bits.
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

/** A new tensor that `kernel` fills; released at once if the kernel throws. */
export function produce(runtime: Runtime, shape: readonly number[], kernel: (out: Storage) => void): Tensor {
  const out = runtime.empty(shape);
  try {
    kernel(out.storage);
  } catch (error) {
    out.dispose();
    throw error;
  }
  return out;
}

/** The dimensions of `x (R, C)`. */
export function rows(x: Tensor): { R: number; C: number } {
  return { R: x.shape[0], C: x.shape[1] };
}

/**
 * The head on a GPU: logits, softmax and cross-entropy. Logits of some rows at a time lie in scratch memory, where they
 * become their own gradients.
 */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import { MATH } from './math.wgsl.js';
import { product } from './product.wgsl.js';
import type { Program } from './program.js';
import { ELEMENT, type GpuStorage, gpuStorage } from './storage.js';
import type { GpuKernels } from './kernels.js';

/** Elements of the logits that are stored at once, unless a few rows have more. */
const STORED = 1 << 24;
const FEW_ROWS = 16;
/** What products like the number of rows to be a multiple of. */
const TILE = 64;
/** Tokens over which one float of `dinp` is added up at most. */
const PART = 4096;

/**
 * Softmax and loss of a row of logits, which with `gradients` become rowWeight·(softmax − 1 at the target). Where a
 * logit is not a number, or infinite, nothing of the row is a number.
 */
const CROSS_ENTROPY: Program = {
  name: 'crossEntropy',
  arrays: {
    logits: 'update f32',
    loss: 'update f32',
    argmax: 'update i32',
    maxProb: 'update f32',
    targets: 'i32',
    rowWeights: 'f32',
  },
  numbers: { V: 'u32' },
  runs: 'rows',
  code: `${MATH}
const LEAST = -3.4e38;
fn row(r: u32, lane: u32) {
  let first = r * p.V;
  let label = targets(r);
  var at_label = 0.0;
  if (label >= 0) { at_label = logits(first + u32(label)); }
  var best = LEAST;
  var least = 0u;
  var broken = 0.0;
  for (var v = lane; v < p.V; v += L) {
    let x = logits(first + v);
    let more = x > best && !is_nan(x);
    broken = select(broken, 1.0, is_nan(x));
    best = select(best, x, more);
    least = select(least, v, more);
  }
  let most = team_max(best, lane);
  let token = -team_max(select(-f32(p.V), -f32(least), best == most), lane);
  let lost = team_max(select(broken, 1.0, !is_finite(best)), lane) > 0.0;
  // All but the most probable token's, which is 1.
  var others = 0.0;
  for (var v = lane; v < p.V; v += L) {
    let e = exp_below_0(logits(first + v) - most);
    others += select(e, 0.0, v == u32(token));
    if (gradients) { set_logits(first + v, e); }
  }
  others = team_sum(others, lane);
  let nothing = float_of_bits(select(0u, 0x7fc00000u, lost));
  if (lane == 0u) {
    let nats = (most - at_label) + precise_log1p(others);
    set_loss(r, select(0.0, select(nats, nothing, lost), label >= 0));
    set_argmax(r, i32(token));
    set_maxProb(r, select(1.0 / (1.0 + others), nothing, lost));
  }
  if (!gradients) { return; }
  let weight = select(0.0, rowWeights(r), label >= 0);
  let scale = weight / (1.0 + others);
  for (var v = lane; v < p.V; v += L) {
    let d = scale * logits(first + v) - select(0.0, weight, i32(v) == label);
    set_logits(first + v, select(0.0, select(d, nothing, lost), label >= 0));
  }
}`,
};

interface Head {
  readonly loss: Storage;
  readonly argmax: Storage | null;
  readonly maxProb: Storage | null;
  readonly inp: Storage;
  readonly weight: Storage;
  readonly targets: Storage;
  readonly R: number;
  readonly C: number;
  readonly V: number;
}

/** The losses of some rows at a time; with `rowWeights`, `visit` is given the gradients of their logits. */
function forRows(
  engine: Engine,
  { loss, argmax, maxProb, inp, weight, targets, R, C, V }: Head,
  rowWeights: Storage | null,
  visit: (gradients: GpuStorage, inp: GpuStorage, first: number, count: number) => void,
): void {
  const most = rowsAtOnce(engine, R, V);
  for (let first = 0; first < R; first += most) {
    const count = Math.min(most, R - first);
    const rows = (storage: Storage, width = 1) =>
      gpuStorage('head', storage).slice(first * width, count * width);
    using logits = engine.scratch(count * V);
    product(engine, 'dots', { out: logits, a: rows(inp, C), b: weight, M: count, N: V, K: C, weight: true });
    engine.run(CROSS_ENTROPY, {
      arrays: {
        logits,
        loss: rows(loss),
        argmax: argmax && rows(argmax),
        maxProb: maxProb && rows(maxProb),
        targets: rows(targets),
        rowWeights: rowWeights && rows(rowWeights),
      },
      numbers: { V },
      constants: { gradients: rowWeights !== null },
      count,
    });
    visit(logits, rows(inp, C), first, count);
  }
}

/** Rows whose logits are stored at once: all, or a number that fits. */
function rowsAtOnce(engine: Engine, R: number, V: number): number {
  const wanted = Math.max(FEW_ROWS, Math.floor(STORED / V));
  const most = Math.max(1, Math.min(wanted, Math.floor(engine.largestBinding / ELEMENT / V)));
  return R <= most || most < TILE ? most : most - (most % TILE);
}

export const head = {
  logits: (engine, { out, inp, weight, R, C, V }) =>
    product(engine, 'dots', { out, a: inp, b: weight, M: R, N: V, K: C, weight: true }),

  headForward: (engine, args) => forRows(engine, args, null, () => {}),

  headForwardBackward(engine, { dinp, dweight, rowWeights, ...args }) {
    const { weight, C, V } = args;
    const gradient = { of: 'a', rows: args.R } as const;
    forRows(engine, args, rowWeights, (dlogits, inp, first, count) => {
      const out = gpuStorage('head', dinp).slice(first * C, count * C);
      const parts = Math.ceil(V / PART);
      product(engine, 'rows', {
        out,
        a: dlogits,
        b: weight,
        M: count,
        N: C,
        K: V,
        parts,
        weight: true,
        gradient,
      });
      product(engine, 'sums', {
        out: dweight,
        a: dlogits,
        b: inp,
        M: V,
        N: C,
        K: count,
        accumulate: true,
        gradient,
      });
    });
  },
} satisfies Partial<GpuKernels>;

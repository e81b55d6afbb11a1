/**
 * Criteria by which a row leaves any model with exits, without training. At exit n, with the state x_n (x_0 the first step's
 * input) and p_n = softmax of what the head reads of it, a row leaves where
 *
 * - change: ‖x_n − x_(n−1)‖ / ‖x_(n−1)‖ < τ
 * - second-difference, from exit 2 on: ‖(x_n − x_(n−1)) − (x_(n−1) − x_(n−2))‖ / ‖x_(n−1)‖ < τ (Pappone et al. 2025, arXiv
 *   2509.23314, who do not divide, and leave at the second time in a row)
 * - kl, from exit 2 on: KL(p_n ‖ p_(n−1)) < τ (Geiping et al. 2025, arXiv 2502.05171, the other way round)
 * - entropy: that of p_n, in nats, < τ
 * - confidence: max p_n > τ (Elbayad et al. 2019, arXiv 1910.10073)
 *
 * The last three cost a run of the head for each row that still goes on, and kl two: the former prediction is made again,
 * since those of all rows together may be larger than the model. They read a state without its coda, so that models with
 * one do not have them.
 */
import type { Storage } from '../../backend/backend.js';
import { alias, gatherRows, logits } from '../../tensor/ops.js';
import { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../config.js';
import type { ForwardContext, Running } from '../context.js';
import type { ExitHeads } from '../exit-heads.js';
import type { Criterion } from './exit-options.js';
import type { ExitDecision, ExitRule } from './halting.js';

/** The threshold of confidence where the caller names none. */
const CONFIDENCE = 0.9;
/** Logits that exist at a time, in numbers. */
const MOST_LOGITS = 1 << 24;

/** The value that a criterion compares, for the newest states x_n, x_(n−1), … (R, C): (R); the caller owns it. */
type Measure = (states: readonly Tensor[], n: number) => Tensor;

/** The criteria of a model, which share its classifiers. */
export function createCriteria(heads: ExitHeads, { vocabSize: V }: ModelConfig): Record<Criterion, ExitRule> {
  const reading = new HeadReader(heads, V);
  return {
    change: new MeasuredRule(moved, { states: 2, fromEntry: true }),
    'second-difference': new MeasuredRule(moved, { states: 3, fromEntry: true }),
    kl: new MeasuredRule((states, n) => reading.divergence(states, n), { states: 2 }),
    entropy: new MeasuredRule((states, n) => reading.entropy(states, n), { states: 1 }),
    confidence: new MeasuredRule((states, n) => reading.confidence(states, n), {
      states: 1,
      above: true,
      usual: CONFIDENCE,
    }),
  };
}

interface Compared {
  /** How many states the measure compares. */
  readonly states: number;
  /** Whether the state before the first step is one of them. */
  readonly fromEntry?: boolean;
  /** Whether a row leaves above the threshold, not below. */
  readonly above?: boolean;
  /** The threshold where the caller names none. */
  readonly usual?: number;
}

/** Rows leave where a measure of their last states passes the threshold. */
class MeasuredRule implements ExitRule {
  constructor(
    private readonly measure: Measure,
    private readonly compared: Compared,
  ) {}

  start(ctx: ForwardContext, entry: Tensor): ExitDecision {
    const { measure } = this;
    const { states, fromEntry, above, usual } = this.compared;
    const threshold = ctx.options.exit?.threshold ?? usual!;
    const seen: Tensor[] = fromEntry ? [alias(entry)] : [];
    return {
      decide: (mask, state, n) => {
        const { rows } = mask.runtime.backend;
        seen.unshift(alias(state));
        if (seen.length > states) seen.pop()!.dispose();
        if (seen.length < states) return;
        using values = ofRunning(seen, ctx.running, (some) => measure(some, n));
        if (above) rows.stopAbove(mask.storage, values.storage, threshold);
        else rows.stopBelow(mask.storage, values.storage, threshold);
      },
      [Symbol.dispose]() {
        for (const state of seen) state.dispose();
      },
    };
  }
}

/** A measure of the rows that still run, at their places among all (R); the others hold 0. */
function ofRunning(
  states: readonly Tensor[],
  running: Running | null,
  measure: (states: readonly Tensor[]) => Tensor,
): Tensor {
  const rows = running?.rows;
  if (!rows) return measure(states);
  const { runtime, shape } = states[0];
  const some = states.map((state) => gatherRows(state, rows));
  using values = measure(some);
  for (const state of some) state.dispose();
  const all = runtime.from(new Float64Array(shape[0]), [shape[0]]);
  runtime.backend.scatterRows(all.storage, values.storage, rows.storage, { R: shape[0], C: 1 });
  return all;
}

/** How far x moved from the state before it, or from the way that the two before it show. */
function moved([x, former, before]: readonly Tensor[]): Tensor {
  const { runtime, shape } = x;
  const out = runtime.empty([shape[0]]);
  const dims = { R: shape[0], C: shape[1] };
  runtime.backend.rowChange(out.storage, x.storage, former.storage, before?.storage ?? null, dims);
  return out;
}

/** What the classifiers make of states, each of its own exit. */
class HeadReader {
  constructor(
    private readonly heads: ExitHeads,
    private readonly V: number,
  ) {}

  /** The highest probability. */
  confidence([state]: readonly Tensor[], n: number): Tensor {
    const { runtime, shape } = state;
    const [R, C] = shape;
    using normal = this.heads.normalise(state, n);
    using none = runtime.from(new Int32Array(R).fill(-1), [R]);
    using loss = runtime.empty([R]);
    const highest = runtime.empty([R]);
    runtime.backend.headForward(
      loss.storage,
      null,
      highest.storage,
      normal.storage,
      this.heads.weight(n).storage,
      none.storage,
      { R, C, V: this.V },
    );
    return highest;
  }

  entropy(states: readonly Tensor[], n: number): Tensor {
    const { backend } = states[0].runtime;
    return this.ofLogits(states, n, (out, [now], dims) => backend.rowEntropy(out, now, dims));
  }

  /** KL of the newer prediction from the former. */
  divergence(states: readonly Tensor[], n: number): Tensor {
    const { backend } = states[0].runtime;
    return this.ofLogits(states, n, (out, [now, former], dims) =>
      backend.rowDivergence(out, now, former, dims),
    );
  }

  /** What `kernel` makes of the logits of states at exits n, n − 1, …, so many rows at a time. */
  private ofLogits(
    states: readonly Tensor[],
    n: number,
    kernel: (out: Storage, logits: readonly Storage[], dims: { R: number; V: number }) => void,
  ): Tensor {
    const { heads, V } = this;
    const { runtime, shape } = states[0];
    const { backend } = runtime;
    const [all, C] = shape;
    const out = runtime.empty([all]);
    const most = Math.max(1, Math.floor(MOST_LOGITS / (V * states.length)));
    for (let first = 0; first < all; first += most) {
      const R = Math.min(most, all - first);
      const read = states.map((state, back) => {
        using part = Tensor.over(runtime, [R, C], backend.slice(state.storage, first * C, R * C));
        using normal = heads.normalise(part, n - back);
        return logits(normal, heads.weight(n - back));
      });
      kernel(
        backend.slice(out.storage, first, R),
        read.map(({ storage }) => storage),
        { R, V },
      );
      for (const tensor of read) tensor.dispose();
    }
    return out;
  }
}

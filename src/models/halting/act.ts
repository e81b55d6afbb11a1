/**
 * Adaptive computation time (Graves 2016, arXiv 1603.08983), for each row: after step n a halting unit gives
 * h_n = σ(w·s_n + b); a row stops at the least n with Σ h ≥ 1 − ε, or at the step limit. Its output is Σ p_n s_n with p_n = h_n
 * before and the remainder R = 1 − Σ h at its last step N; it costs ρ = N + R, whose gradient flows through R alone.
 *
 * A halted row's state is copied onward and stays attended to (as in the Universal Transformer).
 */
import { Linear } from '../../nn/layers.js';
import type { ParameterScope } from '../../nn/parameters.js';
import { activation, actStep, addToLoss, alias, detach, scaleRows } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { DepthOutput, type Step, type Walker } from '../depth/depth.js';
import { isTruncated, RowsLeft, truncatedStep } from '../walker.js';

/** A row may stop once its halting probabilities reach 1 − ε, so that it can stop after one step. */
const EPSILON = 0.01;

export class ActWalker implements Walker {
  private readonly unit: Linear;

  constructor(scope: ParameterScope, C: number, std: number) {
    // Graves starts the bias at 1, for few steps at first.
    this.unit = new Linear(scope.child('halting'), C, 1, { bias: true, std, biasInit: 1 });
  }

  walk(x: Tensor, count: number, step: Step, ctx: ForwardContext): DepthOutput {
    const { runtime } = x;
    const { backend } = runtime;
    const R = x.shape[0];
    const scale = ctx.pass.auxScale;
    using rows = new RowsLeft(runtime, R);
    const ponder = runtime.from(new Float64Array(R), [R]);
    const exits: Tensor[] = [];
    if (ctx.pass.collectExits) ctx.entry = alias(x);
    using zeros = runtime.from(new Float64Array(R), [R]);
    let sum = detach(zeros);
    let output: Tensor | null = null;
    let h = x;
    for (let n = 0; n < count; n++) {
      rows.count();
      const former = h;
      h = truncatedStep(x, former, n, count, step, ctx);
      if (former !== x) former.dispose();
      if (ctx.pass.collectExits) exits.push(alias(h));
      using state = isTruncated(n, count, ctx) ? detach(h) : alias(h);
      using z = this.unit.forward(state);
      using probability = activation(z, 'sigmoid');
      const { mask } = rows.running;
      const last = n === count - 1;
      const act = actStep(probability, sum, mask, { epsilon: EPSILON, last });
      using p = act.p;
      sum.dispose();
      sum = act.nextSum;
      const mixed: Tensor = scaleRows(state, p, output);
      output?.dispose();
      output = mixed;
      backend.rows.ponder(ponder.storage, p.storage, mask.storage, act.goingOn.storage);
      if (runtime.tape) {
        using weights = runtime.empty([R]);
        const value = (scale * ctx.pass.ponderCost) / R;
        backend.rows.stopped(weights.storage, mask.storage, act.goingOn.storage, value);
        addToLoss(p, weights);
      }
      rows.replace(act.goingOn);
      ctx.running = rows.running;
      if (rows.none) break;
    }
    ctx.running = null;
    sum.dispose();
    if (h !== x) h.dispose();
    return new DepthOutput(output!, exits, ponder, rows.takeCounts());
  }
}

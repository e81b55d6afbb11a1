/**
 * Adaptive computation time (Graves 2016, arXiv 1603.08983), for each row: after step n a halting unit gives
 * h_n = σ(w·s_n + b); a row stops at the least n with Σ h ≥ 1 − ε, or at the step limit. Its output is Σ p_n s_n, where
 * p_n is h_n before the last step N, and the remainder R = 1 − Σ h at step N. It costs ρ = N + R, whose gradient flows
 * through R alone.
 *
 * A halted row's state is copied to later steps, and other rows still attend to it (as in the Universal Transformer).
 */
import { Linear } from '../../nn/layers.js';
import type { ParameterScope } from '../../nn/parameters.js';
import { activation, actStep, addToLoss, alias, detach, scaleRows } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { DepthOutput, type Step } from '../depth/depth.js';
import type { RunningRows } from '../running-rows.js';
import type { Pass } from './pass.js';
import { isTruncated, OwnedStates, RowsLeft, truncatedStep, type Walker } from './walker.js';

/** A row may stop once its halting probabilities reach 1 − ε, so that it can stop after one step. */
const EPSILON = 0.01;

export class ActWalker implements Walker {
  private readonly unit: Linear;

  constructor(scope: ParameterScope, C: number, std: number) {
    // Graves starts the bias at 1, so that training starts with few steps.
    this.unit = new Linear(scope.child('halting'), C, 1, { bias: true, std, biasInit: 1 });
  }

  walk(x: Tensor, count: number, step: Step, ctx: ForwardContext, pass: Pass): DepthOutput {
    const { runtime } = x;
    const { backend } = runtime;
    const R = x.shape[0];
    const { everyExit, objective, lossScale = 1 } = pass;
    using rows = new RowsLeft(runtime, R);
    using ponder = runtime.from(new Float64Array(R), [R]);
    using owned = new OwnedStates(x);
    using zeros = runtime.from(new Float64Array(R), [R]);
    using averaged = new OwnedStates(zeros); // zeros: the average before the first step
    using sums = new OwnedStates(zeros);
    sums.advance(detach(zeros));
    let running: RunningRows | null = null;
    for (let n = 0; n < count; n++) {
      rows.count();
      const h = owned.advance(truncatedStep(x, owned.state, n, count, step, ctx.among(running), pass));
      using state = isTruncated(n, count, pass) ? detach(h) : alias(h);
      using z = this.unit.forward(state);
      using probability = activation(z, 'sigmoid');
      const { mask } = rows.running;
      const last = n === count - 1;
      const act = actStep(probability, sums.state, mask, { epsilon: EPSILON, last });
      using p = act.p;
      if (everyExit) owned.exits.push(outputAt(n, state, probability, sums.state, mask, averaged.state));
      sums.advance(act.nextSum);
      averaged.advance(scaleRows(state, p, n === 0 ? null : averaged.state));
      const stopping = { running: mask.storage, goingOn: act.goingOn.storage };
      backend.ponder({ ponder: ponder.storage, p: p.storage, ...stopping });
      if (runtime.tape) {
        using weights = runtime.empty([R]);
        const value = (lossScale * (objective?.ponderCost ?? 0)) / R;
        backend.stopped({ out: weights.storage, ...stopping, value });
        addToLoss(p, weights);
      }
      rows.replace(act.goingOn);
      running = rows.running;
      if (rows.none && !ctx.batch.cached) break;
    }
    // Once no row runs, every further exit is the output.
    while (everyExit && owned.exits.length < count) owned.exits.push(alias(averaged.state));
    return new DepthOutput({
      x: alias(averaged.state),
      exits: owned.takeExits(),
      entry: everyExit ? alias(x) : null,
      auxLoss: alias(ponder),
      stepsPerRow: rows.takeCounts(),
    });
  }
}

/**
 * The model's output if step n were the last: Σ p_k s_k over earlier steps, plus the remainder on s_n for a row that
 * still runs.
 */
function outputAt(
  n: number,
  state: Tensor,
  probability: Tensor,
  sum: Tensor,
  mask: Tensor,
  averaged: Tensor,
): Tensor {
  const { p, nextSum, goingOn } = actStep(probability, sum, mask, { epsilon: EPSILON, last: true });
  const output = scaleRows(state, p, n === 0 ? null : averaged);
  for (const tensor of [p, nextSum, goingOn]) tensor.dispose();
  return output;
}

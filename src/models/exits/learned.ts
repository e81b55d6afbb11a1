/**
 * The Depth-Adaptive Transformer's halting rules that learn from an oracle (Elbayad et al. 2019, arXiv 1910.10073).
 * They read a state as the exit's classifier does, and pass no gradient back into the state. The paper's fourth rule,
 * confidence, is a criterion that needs no training (`criteria.ts`).
 *
 * - geometric: χ_n = σ(w_n·h_n + b_n); exit first where χ_n > ½
 * - multinomial: the exit with the largest softmax(W·h_1 + b), chosen at the first exit
 * - sequence: the same from the mean of h_1 over the positions so far
 */
import { Linear } from '../../nn/layers.js';
import type { ParameterScope } from '../../nn/parameters.js';
import { activation, addToLoss, detach } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import type { ExitHeads } from './heads.js';
import type { ExitDecision, LearnedRule } from './rule.js';

const HALF = 0.5;

export class GeometricRule implements LearnedRule {
  readonly perSequence = false;
  private readonly units: readonly Linear[];

  constructor(
    scope: ParameterScope,
    private readonly heads: ExitHeads,
    C: number,
    std: number,
  ) {
    this.units = Array.from(
      { length: heads.count - 1 },
      (_, n) => new Linear(scope.child(`halting.${n}`), C, 1, { bias: true, std }),
    );
  }

  start(_entry: Tensor, _ctx: ForwardContext, threshold = HALF): ExitDecision {
    return {
      decide: (mask, state, n) => {
        if (n >= this.units.length) return; // there is no learned unit beyond the trained exits
        using z = this.read(state, n);
        using chi = activation(z, 'sigmoid');
        mask.runtime.backend.stopAbove({ running: mask.storage, values: chi.storage, threshold });
      },
      [Symbol.dispose]() {},
    };
  }

  learn(states: readonly Tensor[], exits: Tensor, lossScale: number): Tensor {
    const { runtime, size: R } = exits;
    const loss = runtime.from(new Float64Array(R), [R]);
    for (const n of this.units.keys()) {
      using z = this.read(states[n], n);
      using dz = runtime.empty(z.shape);
      const weight = lossScale / R;
      runtime.backend.exitHereLoss({
        dz: dz.storage,
        loss: loss.storage,
        z: z.storage,
        exits: exits.storage,
        depth: n,
        weight,
      });
      addToLoss(z, dz);
    }
    return loss;
  }

  private read(state: Tensor, n: number): Tensor {
    using normal = withoutGradient(this.heads, state, n);
    return this.units[n].forward(normal);
  }
}

/** Chooses among all exits at the first one; `sequence` pools the positions so far. */
export class ChoiceRule implements LearnedRule {
  private readonly unit: Linear;

  constructor(
    scope: ParameterScope,
    private readonly heads: ExitHeads,
    C: number,
    std: number,
    readonly perSequence: boolean,
  ) {
    this.unit = new Linear(scope.child('halting'), C, heads.count, { bias: true, std });
  }

  start(_entry: Tensor, ctx: ForwardContext): ExitDecision {
    let chosen: Tensor | null = null;
    return {
      decide: (mask, state, n) => {
        const { backend } = mask.runtime;
        if (!chosen) {
          using z = this.read(state, ctx);
          chosen = mask.runtime.empty([mask.size], 'i32');
          backend.argmaxRows({ exits: chosen.storage, z: z.storage, N: this.heads.count });
        }
        backend.stopAt({ running: mask.storage, exits: chosen.storage, depth: n });
      },
      [Symbol.dispose]() {
        chosen?.dispose();
      },
    };
  }

  learn(states: readonly Tensor[], exits: Tensor, lossScale: number, ctx: ForwardContext): Tensor {
    const { runtime, size: R } = exits;
    const loss = runtime.from(new Float64Array(R), [R]);
    using z = this.read(states[0], ctx);
    using dz = runtime.empty(z.shape);
    const weight = lossScale / R;
    runtime.backend.exitChoiceLoss({
      dz: dz.storage,
      loss: loss.storage,
      z: z.storage,
      exits: exits.storage,
      N: this.heads.count,
      weight,
    });
    addToLoss(z, dz);
    return loss;
  }

  private read(state: Tensor, ctx: ForwardContext): Tensor {
    using normal = withoutGradient(this.heads, state, 0);
    if (!this.perSequence) return this.unit.forward(normal);
    using pooled = ctx.batch.causalMean(normal);
    using input = detach(pooled);
    return this.unit.forward(input);
  }
}

/** The input of the exit's classifier, without gradients to the state or the norm. */
function withoutGradient(heads: ExitHeads, state: Tensor, n: number): Tensor {
  using normal = state.runtime.recording(null, () => heads.normalise(state, n));
  return detach(normal);
}

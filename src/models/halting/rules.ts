/**
 * The Depth-Adaptive Transformer's halting rules (Elbayad et al. 2019, arXiv 1910.10073): confidence, and the three that learn
 * from an oracle. They read a state as the exit's classifier does, and pass no gradient back into it.
 *
 * - confidence: leave at the first exit whose most probable token has p > τ
 * - geometric: χ_n = σ(w_n·h_n + b_n); leave at the first exit with χ_n > ½
 * - multinomial: at the first exit, the exit of the largest softmax(W·h_1 + b)
 * - sequence: the same from the mean of h_1 over the positions so far
 */
import { Linear } from '../../nn/layers.js';
import type { ParameterScope } from '../../nn/parameters.js';
import { activation, addToLoss, detach, gatherRows } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../config.js';
import type { ForwardContext } from '../context.js';
import type { ExitHeads } from '../exit-heads.js';
import type { ExitDecision, ExitRule, LearnedRule } from './halting.js';

/** The threshold of confidence where the caller names none; a comparison's report shows what others would do. */
const CONFIDENCE = 0.9;
const HALF = 0.5;

export class ConfidenceRule implements ExitRule {
  constructor(
    private readonly heads: ExitHeads,
    private readonly config: ModelConfig,
  ) {}

  start(ctx: ForwardContext): ExitDecision {
    const threshold = ctx.options.exitThreshold ?? CONFIDENCE;
    return {
      decide: (mask, state, n) => {
        const { runtime } = mask;
        const { backend } = runtime;
        const R = mask.size;
        const rows = ctx.running?.rows ?? null;
        using read = rows ? gatherRows(state, rows) : null; // the head is dear: only for rows that run
        using normal = this.heads.normalise(read ?? state, n);
        const count = normal.shape[0];
        using none = runtime.from(new Int32Array(count).fill(-1), [count]);
        using loss = runtime.empty([count]);
        using highest = runtime.empty([count]);
        const dims = { R: count, C: this.config.nEmbd, V: this.config.vocabSize };
        backend.headForward(
          loss.storage,
          null,
          highest.storage,
          normal.storage,
          this.heads.weight(n).storage,
          none.storage,
          dims,
        );
        using all = runtime.from(new Float64Array(R), [R, 1]);
        if (rows) backend.scatterRows(all.storage, highest.storage, rows.storage, { R, C: 1 });
        backend.rows.stopAbove(mask.storage, (rows ? all : highest).storage, threshold);
      },
      [Symbol.dispose]() {},
    };
  }
}

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

  start(ctx: ForwardContext): ExitDecision {
    const threshold = ctx.options.exitThreshold ?? HALF;
    return {
      decide: (mask, state, n) => {
        if (n >= this.units.length) return; // beyond the trained exits nothing was learned
        using z = this.read(state, n);
        using chi = activation(z, 'sigmoid');
        mask.runtime.backend.rows.stopAbove(mask.storage, chi.storage, threshold);
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
      runtime.backend.rows.exitHereLoss(loss.storage, dz.storage, z.storage, exits.storage, n, weight);
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

  start(ctx: ForwardContext): ExitDecision {
    let chosen: Tensor | null = null;
    return {
      decide: (mask, state, n) => {
        const { rows } = mask.runtime.backend;
        if (!chosen) {
          using z = this.read(state, ctx);
          chosen = mask.runtime.empty([mask.size], 'i32');
          rows.argmax(chosen.storage, z.storage, this.heads.count);
        }
        rows.stopAt(mask.storage, chosen.storage, n);
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
    const { count } = this.heads;
    runtime.backend.rows.exitChoiceLoss(loss.storage, dz.storage, z.storage, exits.storage, count, weight);
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

/** What the exit's classifier reads, made and used without gradients to the state or the normalisation. */
function withoutGradient(heads: ExitHeads, state: Tensor, n: number): Tensor {
  using normal = state.runtime.recording(null, () => heads.normalise(state, n));
  return detach(normal);
}

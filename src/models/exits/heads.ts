/**
 * The classifiers at the exits: the final norm and the head, shared by all exits, or one pair for each early exit
 * (exitHead `separate`).
 */
import { createNorm, type Norm } from '../../nn/layers.js';
import type { ParameterScope, ParameterSlot } from '../../nn/parameters.js';
import { alias } from '../../tensor/ops.js';
import type { Parameter, Tensor } from '../../tensor/tensor.js';
import { exitCount, type ModelConfig } from '../config.js';

interface ExitHead {
  /** Null if the block itself ends with a norm. */
  readonly norm: Norm | null;
  readonly head: ParameterSlot;
}

export class ExitHeads {
  /** Number of exits; a state after more steps is read by the last exit's classifier. */
  readonly count: number;
  private readonly early: readonly ExitHead[];

  constructor(
    scope: ParameterScope,
    private readonly last: ExitHead,
    config: ModelConfig,
    std: number,
  ) {
    const { vocabSize: V, nEmbd: C, exitHead } = config;
    this.count = exitCount(config);
    this.early =
      exitHead === 'separate'
        ? Array.from({ length: this.count - 1 }, (_, n) => {
            const own = scope.child(`exits.${n}`);
            return {
              norm: last.norm && createNorm(own.child('ln_f'), C, config),
              head: own.declare('lm_head.weight', 'embedding', [V, C], { std }, ['head']),
            };
          })
        : [];
  }

  /** Whether exits have different classifiers. */
  get separate(): boolean {
    return this.early.length > 0;
  }

  /** A state as exit n's classifier reads it (R, C); the caller owns the result. */
  normalise(state: Tensor, n: number): Tensor {
    const { norm } = this.at(n);
    return norm ? norm.forward(state) : alias(state);
  }

  /** The classifier of exit n (V, C). */
  weight(n: number): Parameter {
    return this.at(n).head.value;
  }

  private at(n: number): ExitHead {
    return this.early[n] ?? this.last;
  }
}

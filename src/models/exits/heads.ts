/**
 * The classifiers at the exits: the final norm and the head, shared by all exits or (exitHead `separate`) one pair
 * of its own for each early exit. Knows no depth rule and no loss.
 */
import { createNorm, type Norm } from '../../nn/layers.js';
import type { ParameterScope, ParameterSlot } from '../../nn/parameters.js';
import { alias } from '../../tensor/ops.js';
import type { Parameter, Tensor } from '../../tensor/tensor.js';
import { exitCount, type ModelConfig } from '../config.js';

interface ExitHead {
  /** Null where the block's last act is to normalise. */
  readonly norm: Norm | null;
  readonly head: ParameterSlot;
}

export class ExitHeads {
  /** Exits that have a number of their own; a state after more steps is read as by the last one. */
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

  /** Whether it matters at which exit a state is read. */
  get separate(): boolean {
    return this.early.length > 0;
  }

  /** What exit n's classifier reads of a state (R, C); the caller owns the result. */
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

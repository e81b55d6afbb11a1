/**
 * Injection by scalars (nanochat's `resid_lambdas` and `x0_lambdas`, a pair for each loop): h = λ^(n)·x + μ^(n)·e
 * replaces x.
 *
 * λ starts at 1 and μ at 0, so that the network starts as one without injection. If the first state is random, μ starts
 * at 1. Loops beyond the trained count reuse the last pair.
 */
import type { ParameterScope, ParameterSlot } from '../../../nn/parameters.js';
import { constant } from '../../../tensor/loop-ops.js';
import { gatedResidual } from '../../../tensor/ops.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { ModelConfig } from '../../model-fields.js';
import type { Injection } from './injection.js';

export class ScalarInjection implements Injection {
  readonly replaces = true;
  private readonly stateScale: ParameterSlot;
  private readonly inputScale: ParameterSlot;

  constructor(scope: ParameterScope, { nLoop, initialState }: ModelConfig) {
    this.stateScale = scope.declare('state_scale', 'coefficient', [nLoop, 1], { value: 1 });
    this.inputScale = scope.declare('input_scale', 'coefficient', [nLoop, 1], {
      value: initialState === 'random' ? 1 : 0,
    });
  }

  into(x: Tensor, e: Tensor, n: number): Tensor {
    using zeros = constant(x.runtime, x.shape, 0);
    using carried = gatedResidual(zeros, x, this.stateScale.rowUpTo(n), 'output');
    return gatedResidual(carried, e, this.inputScale.rowUpTo(n), 'output');
  }
}

/** Linear injection: f reads x·A + e·B, and the gate adds to x. */
import { Linear } from '../../../nn/layers.js';
import type { ParameterScope } from '../../../nn/parameters.js';
import { add } from '../../../tensor/ops.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { ModelConfig } from '../../model-fields.js';
import type { Injection } from './injection.js';

export class LinearInjection implements Injection {
  readonly replaces = false;
  private readonly state: Linear;
  private readonly input: Linear;

  constructor(scope: ParameterScope, { nEmbd: C, bias }: ModelConfig) {
    const std = 1 / Math.sqrt(2 * C); // the output has the variance of the input
    this.state = new Linear(scope.child('state'), C, C, { bias, std });
    this.input = new Linear(scope.child('input'), C, C, { bias: false, std });
  }

  into(x: Tensor, e: Tensor): Tensor {
    using a = this.state.forward(x);
    using b = this.input.forward(e);
    return add(a, b);
  }
}

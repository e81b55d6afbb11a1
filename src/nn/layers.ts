/** The leaf modules: Linear, LayerNorm. Weights lie as in Hugging Face's GPT-2: (in, out). */
import { layerNorm, linear } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ParameterScope, ParameterSlot } from './parameters.js';

/** y = x · weight + bias; `x (R, K)`, `weight (K, N)`, `bias (N)`. */
export class Linear {
  private readonly weight: ParameterSlot;
  private readonly bias: ParameterSlot | null;

  constructor(
    private readonly scope: ParameterScope,
    K: number,
    N: number,
    options: { bias: boolean; std: number; biasInit?: number },
  ) {
    this.weight = scope.declare('weight', 'matrix', [K, N], { std: options.std }, ['linear']);
    this.bias = options.bias ? scope.declare('bias', 'bias', [N], { value: options.biasInit ?? 0 }) : null;
  }

  forward(x: Tensor): Tensor {
    const y = linear(x, this.weight.value, this.bias?.value ?? null);
    x.runtime.observe?.(this.scope.prefix, y);
    return y;
  }
}

/**
 * Layer normalisation with a gain and, if wanted, a bias (Ba et al. 2016, arXiv 1607.06450); `eps` is added to the
 * variance.
 */
export class LayerNorm {
  private readonly weight: ParameterSlot;
  private readonly bias: ParameterSlot | null;

  constructor(
    private readonly scope: ParameterScope,
    C: number,
    private readonly options: { readonly bias: boolean; readonly eps: number },
  ) {
    this.weight = scope.declare('weight', 'norm', [C], { value: 1 });
    this.bias = options.bias ? scope.declare('bias', 'bias', [C], { value: 0 }) : null;
  }

  forward(x: Tensor): Tensor {
    const y = layerNorm(x, this.weight.value, this.bias?.value ?? null, this.options.eps);
    x.runtime.observe?.(this.scope.prefix, y);
    return y;
  }
}

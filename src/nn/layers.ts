/** The leaf modules: Linear, LayerNorm, RMSNorm. Weights have the layout of Hugging Face's GPT-2: (in, out). */
import { layerNorm, linear, rmsNorm } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Init, ParameterScope, ParameterSlot } from './parameters.js';

/** y = x · weight + bias; `x (R, K)`, `weight (K, N)`, `bias (N)`. */
export class Linear {
  private readonly weight: ParameterSlot;
  private readonly bias: ParameterSlot | null;

  constructor(
    private readonly scope: ParameterScope,
    K: number,
    N: number,
    /** `columns`: the number of outputs of each layer, if several lie side by side in one. */
    options: ({ std: number } | { init: Init }) & {
      bias: boolean;
      biasInit?: number;
      columns?: readonly number[];
    },
  ) {
    const init = 'init' in options ? options.init : { std: options.std };
    this.weight = scope.declare('weight', 'matrix', [K, N], init, ['linear'], options.columns);
    this.bias = options.bias ? scope.declare('bias', 'bias', [N], { value: options.biasInit ?? 0 }) : null;
  }

  forward(x: Tensor): Tensor {
    const y = linear(x, this.weight.value, this.bias?.value ?? null);
    x.runtime.observe?.(this.scope.prefix, y);
    return y;
  }
}

/** Normalises the size of rows `x (R, C)`. */
export interface Norm {
  forward(x: Tensor): Tensor;
}

/** Which norm, by the model's fields: layer norm alone has a bias; epsilon is added to the variance or mean square. */
export interface NormOptions {
  readonly normType: 'layernorm' | 'rmsnorm';
  readonly bias: boolean;
  readonly layerNormEpsilon: number;
}

export function createNorm(scope: ParameterScope, C: number, options: NormOptions): Norm {
  return options.normType === 'rmsnorm' ? new RMSNorm(scope, C, options) : new LayerNorm(scope, C, options);
}

/** Layer normalisation with a gain and, if wanted, a bias (Ba et al. 2016, arXiv 1607.06450). */
class LayerNorm implements Norm {
  private readonly weight: ParameterSlot;
  private readonly bias: ParameterSlot | null;

  constructor(
    private readonly scope: ParameterScope,
    C: number,
    private readonly options: NormOptions,
  ) {
    this.weight = scope.declare('weight', 'norm', [C], { value: 1 });
    this.bias = options.bias ? scope.declare('bias', 'bias', [C], { value: 0 }) : null;
  }

  forward(x: Tensor): Tensor {
    const y = layerNorm(x, this.weight.value, this.bias?.value ?? null, this.options.layerNormEpsilon);
    x.runtime.observe?.(this.scope.prefix, y);
    return y;
  }
}

/**
 * Normalisation by the root mean square, with a gain: x / √(mean of x² + eps) ⊙ g (Zhang & Sennrich 2019, arXiv
 * 1910.07467).
 */
class RMSNorm implements Norm {
  private readonly weight: ParameterSlot;

  constructor(
    private readonly scope: ParameterScope,
    C: number,
    private readonly options: NormOptions,
  ) {
    this.weight = scope.declare('weight', 'norm', [C], { value: 1 });
  }

  forward(x: Tensor): Tensor {
    const y = rmsNorm(x, this.weight.value, this.options.layerNormEpsilon);
    x.runtime.observe?.(this.scope.prefix, y);
    return y;
  }
}

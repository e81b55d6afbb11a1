/**
 * Stable injection (Parcae, arXiv 2604.12946). Before each loop's stack
 *
 *     h = exp(−Δ ⊙ A) ⊙ x + gain ⊙ (e·B),   A = exp(a), Δ = softplus(b)
 *
 * with a, b (C) learned and never decayed. A channel therefore always carries over a share of the state in (0, 1). The
 * gain is Euler's step Δ (`stable`), or the one that integrates the input exactly, (1 − exp(−Δ ⊙ A)) / A
 * (`stable-exact`).
 *
 * a = b = 0 and B = 1 at the start: A = 1 and Δ = ln 2, so that every channel carries half of the state over. With the
 * exact gain ½, state and input then have equal weights: h = (x + e) / 2, which is e itself in the first loop. Euler's
 * gain is ln 2 = 0.69.
 */
import { Linear } from '../../../nn/layers.js';
import { identity, type ParameterScope, type ParameterSlot } from '../../../nn/parameters.js';
import { stableInjection } from '../../../tensor/loop-ops.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { Injection } from './injection.js';

export class StableInjection implements Injection {
  readonly replaces = true;
  private readonly a: ParameterSlot;
  private readonly b: ParameterSlot;
  private readonly input: Linear;

  constructor(
    scope: ParameterScope,
    C: number,
    private readonly exact: boolean,
  ) {
    this.a = scope.declare('a', 'coefficient', [C], { value: 0 });
    this.b = scope.declare('b', 'coefficient', [C], { value: 0 });
    this.input = new Linear(scope.child('input'), C, C, { bias: false, init: identity(C) });
  }

  prepare(e: Tensor): Tensor {
    return this.input.forward(e);
  }

  into(x: Tensor, prepared: Tensor): Tensor {
    return stableInjection(x, prepared, this.a.value, this.b.value, this.exact);
  }
}

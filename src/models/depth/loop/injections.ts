/**
 * The kinds of input injection:
 *
 * - none:          f reads x
 * - add:           f reads x + e
 * - linear:        f reads x·A + e·B
 * - scalars:       h = λ^(n)·x + μ^(n)·e takes x's place
 * - stable(-exact): h = exp(−Δ ⊙ A) ⊙ x + gain ⊙ (e·B) takes x's place
 *
 * Where h replaces the state, f reads h and the gate adds to h: x^(n) = h + α^(n) ⊙ f(h), or h + α^(n) ⊙ (f(h) − h).
 * Otherwise it adds to x.
 */
import type { ParameterScope } from '../../../nn/parameters.js';
import { add, alias } from '../../../tensor/ops.js';
import type { ModelConfig } from '../../model-fields.js';
import type { Injection } from './injection.js';
import { LinearInjection } from './linear-injection.js';
import { ScalarInjection } from './scalar-injection.js';
import { StableInjection } from './stable-injection.js';

export function createInjection(scope: ParameterScope, config: ModelConfig): Injection {
  const { inputInjection: kind } = config;
  const own = scope.child('injection');
  switch (kind) {
    case 'none':
      return { replaces: false, into: alias };
    case 'add':
      return { replaces: false, into: add };
    case 'linear':
      return new LinearInjection(own, config);
    case 'scalars':
      return new ScalarInjection(own, config);
    default:
      return new StableInjection(own, config.nEmbd, kind === 'stable-exact');
  }
}

/**
 * The loop network's depth ("Loop Neural Networks for Parameter Sharing", arXiv 2409.14199, Eq. 1):
 *
 *     x^(n) = x^(n-1) + α^(n) ⊙ f_θ(x^(n-1)),   n = 1..N
 *
 * where f_θ is the whole stack (outer loops), and, with inner loops, each block of it is looped in the same way. The
 * paper leaves open what f_θ is: the stack's output, or its correction to x; see LoopForm.
 */
import { ConfigError } from '../../errors.js';
import type { Block } from '../../nn/block.js';
import type { ParameterScope, ParameterSlot } from '../../nn/parameters.js';
import { gatedResidual } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../config.js';
import type { ForwardContext } from '../context.js';
import type { Depth } from './depth.js';

/** Gates are (loops, C) or (loops, 1); a count of 1 has no gates and adds nothing, so that it is GPT-2's walk. */
export class LoopDepth implements Depth {
  private readonly gates: ParameterSlot | null;
  /** One set of inner gates a layer, shared by all outer loops. */
  private readonly innerGates: readonly (ParameterSlot | null)[];

  constructor(
    scope: ParameterScope,
    private readonly blocks: readonly Block[],
    private readonly config: ModelConfig,
  ) {
    this.gates = declareGates(scope, config.nLoop, config);
    this.innerGates = blocks.map((_, l) => declareGates(scope.child(`h.${l}`), config.nInnerLoop, config));
  }

  run(x: Tensor, ctx: ForwardContext): Tensor {
    const loops = ctx.loops ?? this.config.nLoop;
    if (loops > 1 && !this.gates) {
      throw new ConfigError(
        'loops',
        'must be 1 for a model trained without outer loops, which has no gates',
        loops,
      );
    }
    return this.repeat(x, loops, this.gates, ctx, (h, loop) => this.stack(h, loop, ctx));
  }

  /** f_θ of the outer loops: every layer in order, each looped nInnerLoop times. */
  private stack(x: Tensor, loop: number, ctx: ForwardContext): Tensor {
    return ctx.loop(this.blocks.length, x, (h, layer) =>
      this.repeat(h, this.config.nInnerLoop, this.innerGates[layer], ctx, (y, inner) =>
        ctx.apply(this.blocks[layer], y, { loop, layer, inner }),
      ),
    );
  }

  /** The update rule, `count` times; loops beyond the trained count reuse the last gate. */
  private repeat(
    x: Tensor,
    count: number,
    gates: ParameterSlot | null,
    ctx: ForwardContext,
    f: (x: Tensor, n: number) => Tensor,
  ): Tensor {
    if (!gates) return f(x, 0);
    const last = gates.spec.shape[0] - 1;
    return ctx.loop(count, x, (h, n) => {
      using step = f(h, n);
      return gatedResidual(h, step, gates.row(Math.min(n, last)), this.config.loopForm);
    });
  }
}

function declareGates(scope: ParameterScope, count: number, config: ModelConfig): ParameterSlot | null {
  if (count === 1) return null;
  const value = config.gateInit === '1/n' ? 1 / count : config.gateInit;
  return scope.declare('gates', 'gate', [count, config.gate === 'vector' ? config.nEmbd : 1], { value });
}

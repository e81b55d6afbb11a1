/**
 * The loop network's depth ("Loop Neural Networks for Parameter Sharing", arXiv 2409.14199, Eq. 1):
 *
 *     x^(n) = x^(n-1) + α^(n) ⊙ f_θ(x^(n-1)),   n = 1..N
 *
 * where f_θ is the stack (outer loops), and, with inner loops, each block of it is looped in the same way. The paper
 * leaves open what f_θ is: the stack's output, or its correction to x; see LoopForm.
 *
 * Beyond the paper, the first and last layers may stand outside the loops (prelude and coda), and every loop may meet the
 * looped stack's first input e again (input injection): f_θ then reads x + e, or x·A + e·B.
 */
import { ConfigError } from '../../errors.js';
import type { Block } from '../../nn/block.js';
import { Linear } from '../../nn/layers.js';
import type { ParameterScope, ParameterSlot } from '../../nn/parameters.js';
import { add, alias, gatedResidual } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../model-fields.js';
import type { ForwardContext } from '../context.js';
import { AS_GPT2, type Depth, type DepthKind, DepthOutput, type Walk } from './depth.js';

export const loop: DepthKind = {
  ...AS_GPT2,
  reads: ['nLoop', 'nInnerLoop', 'nPrelude', 'nCoda', 'inputInjection', 'exitHead', 'halting', 'kvSharing'],
  check({ nLayer, nLoop, nPrelude, nCoda, inputInjection }, _input, where) {
    if (nPrelude + nCoda >= nLayer) {
      const rule = `must leave a layer to loop: together below nLayer = ${nLayer}`;
      throw new ConfigError(`${where}.nPrelude + nCoda`, rule, nPrelude + nCoda);
    }
    if (inputInjection !== 'none' && nLoop === 1) {
      const rule = 'must be none where nLoop is 1, which has no second loop to inject into';
      throw new ConfigError(`${where}.inputInjection`, rule, inputInjection);
    }
  },
  exits: ({ nLoop }) => nLoop,
  applications: ({ nLayer, nLoop, nInnerLoop, nPrelude, nCoda }, loops = nLoop) => {
    const once = nPrelude + nCoda;
    return (once + (nLayer - once) * loops) * nInnerLoop;
  },
  // Loops beyond the trained count reuse the last gate; a model trained without loops has none.
  loopsFreely: ({ nLoop }) => nLoop > 1,
  huggingFace: 'loopnn',
  create: (scope, blocks, config) => new LoopDepth(scope, blocks, config),
};

/** Gates are (loops, C) or (loops, 1); a count of 1 has no gates and adds nothing, so that it is GPT-2's walk. */
export class LoopDepth implements Depth {
  private readonly gates: ParameterSlot | null;
  /** One set of inner gates a layer, shared by all outer loops. */
  private readonly innerGates: readonly (ParameterSlot | null)[];
  /** A and B of a linear injection. */
  private readonly injection: { readonly state: Linear; readonly input: Linear } | null;
  /** Layers [first, end) are looped. */
  private readonly first: number;
  private readonly end: number;

  constructor(
    scope: ParameterScope,
    private readonly blocks: readonly Block[],
    private readonly config: ModelConfig,
  ) {
    const { nLoop, nInnerLoop, nPrelude, nCoda, nEmbd: C } = config;
    this.first = nPrelude;
    this.end = blocks.length - nCoda;
    this.gates = declareGates(scope, nLoop, config);
    this.innerGates = blocks.map((_, l) => declareGates(scope.child(`h.${l}`), nInnerLoop, config));
    const std = 1 / Math.sqrt(2 * C); // what comes out has the variance of what goes in
    const matrix = (name: string, bias: boolean) =>
      new Linear(scope.child(`injection.${name}`), C, C, { bias, std });
    this.injection =
      config.inputInjection === 'linear'
        ? { state: matrix('state', config.bias), input: matrix('input', false) }
        : null;
  }

  requireLoops(loops: number): void {
    if (loops === 1 || this.gates) return;
    const rule = 'must be 1 for a model trained without outer loops, which has no gates';
    throw new ConfigError('loops', rule, loops);
  }

  run(x: Tensor, ctx: ForwardContext, walk: Walk): DepthOutput {
    const { first, end, blocks } = this;
    const loops = ctx.loops ?? this.config.nLoop;
    using e = this.stack(x, 0, first, 0, ctx);
    const output = walk(e, loops, (h, loop, at) => this.loop(h, e, loop, at));
    if (end === blocks.length) return output;
    // The coda belongs to the reading of a state: each exit passes through it, unless nobody reads it.
    const coda = (state: Tensor) => this.stack(state, end, blocks.length, 0, ctx);
    if (output.exits.length > 0) return new DepthOutput({ ...output, finish: coda });
    using owned = output.x;
    return new DepthOutput({ ...output, x: coda(owned) });
  }

  /** One outer loop: the update rule with what injection makes of the input; loops beyond the trained count reuse the last gate. */
  private loop(x: Tensor, e: Tensor, loop: number, ctx: ForwardContext): Tensor {
    using input = this.inject(x, e);
    const f = this.stack(input, this.first, this.end, loop, ctx);
    return this.gates ? this.update(x, f, this.gates, loop, ctx) : f;
  }

  private inject(x: Tensor, e: Tensor): Tensor {
    if (this.injection) {
      using a = this.injection.state.forward(x);
      using b = this.injection.input.forward(e);
      return add(a, b);
    }
    return this.config.inputInjection === 'add' ? add(x, e) : alias(x);
  }

  /** Layers [from, to) in order, each looped nInnerLoop times. */
  private stack(x: Tensor, from: number, to: number, loop: number, ctx: ForwardContext): Tensor {
    return ctx.loop(to - from, x, (h, i) => {
      const layer = from + i;
      const gates = this.innerGates[layer];
      return ctx.loop(this.config.nInnerLoop, h, (y, inner) => {
        const f = ctx.apply(this.blocks[layer], y, { loop, layer, inner });
        return gates ? this.update(y, f, gates, inner, ctx) : f;
      });
    });
  }

  /** The update rule; takes `f`. */
  private update(x: Tensor, f: Tensor, gates: ParameterSlot, n: number, ctx: ForwardContext): Tensor {
    using step = f;
    const last = gates.spec.shape[0] - 1;
    using next = gatedResidual(x, step, gates.row(Math.min(n, last)), this.config.loopForm);
    return ctx.keepHalted(next, x);
  }
}

function declareGates(scope: ParameterScope, count: number, config: ModelConfig): ParameterSlot | null {
  if (count === 1) return null;
  const value = config.gateInit === '1/n' ? 1 / count : config.gateInit;
  return scope.declare('gates', 'gate', [count, config.gate === 'vector' ? config.nEmbd : 1], { value });
}

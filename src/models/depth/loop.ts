/**
 * The loop network's depth ("Loop Neural Networks for Parameter Sharing", arXiv 2409.14199, Eq. 1):
 *
 *     x^(n) = x^(n-1) + α^(n) ⊙ f_θ(x^(n-1)),   n = 1..N
 *
 * where f_θ is the stack (outer loops). With inner loops, each block of the stack is looped in the same way. The paper
 * leaves open whether f_θ is the stack's output or its correction to x; see LoopForm.
 *
 * Beyond the paper, the first and last layers may lie outside the loops (prelude and coda), and the recipes in `loop/`
 * change what a loop reads, or what the state is: input injection, a random first state, loop embeddings, streams. With
 * `loopNorm` the state is normalised after each loop.
 */
import { ConfigError } from '../../errors.js';
import type { Block } from '../../nn/block.js';
import { createNorm, type Norm } from '../../nn/layers.js';
import type { ParameterScope, ParameterSlot } from '../../nn/parameters.js';
import { gatedResidual } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../model-fields.js';
import type { ForwardContext } from '../context.js';
import { AS_GPT2, type Depth, type DepthKind, DepthOutput, type Walk } from './depth.js';
import { firstState } from './loop/initial-state.js';
import type { Injection } from './loop/injection.js';
import { createInjection } from './loop/injections.js';
import { LoopEmbedding } from './loop/loop-embedding.js';
import { requireRecipes, RECIPES } from './loop/recipes.js';
import { Streams } from './loop/streams.js';

export const loop: DepthKind = {
  ...AS_GPT2,
  reads: ['nLoop', 'nInnerLoop', 'nPrelude', 'nCoda', ...RECIPES, 'exitHead', 'halting', 'kvSharing'],
  check(config, _input, where) {
    const { nLayer, nPrelude, nCoda } = config;
    if (nPrelude + nCoda >= nLayer) {
      const rule = `must leave a layer to loop: together below nLayer = ${nLayer}`;
      throw new ConfigError(`${where}.nPrelude + nCoda`, rule, nPrelude + nCoda);
    }
    requireRecipes(config, where);
  },
  exits: ({ nLoop }) => nLoop,
  applications: ({ nLayer, nLoop, nInnerLoop, nPrelude, nCoda }, loops = nLoop) => {
    const once = nPrelude + nCoda;
    return (once + (nLayer - once) * loops) * nInnerLoop;
  },
  hasGates: ({ nLoop, nInnerLoop }) => nLoop > 1 || nInnerLoop > 1,
  // Loops beyond the trained count reuse the last gate; a model trained without loops has none.
  loopsFreely: ({ nLoop }) => nLoop > 1,
  huggingFace: 'loopnn',
  create: (scope, blocks, config) => new LoopDepth(scope, blocks, config),
};

/** Gates are (loops, C) or (loops, 1); a count of 1 has no gates and adds nothing, which makes it GPT-2's walk. */
export class LoopDepth implements Depth {
  private readonly gates: ParameterSlot | null;
  /** One set of inner gates per layer, shared by all outer loops. */
  private readonly innerGates: readonly (ParameterSlot | null)[];
  private readonly injection: Injection;
  private readonly embedding: LoopEmbedding | null;
  private readonly streams: Streams | null;
  /** After each loop; null for none. */
  private readonly norm: Norm | null;
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
    this.injection = createInjection(scope, config);
    this.embedding = config.loopEmbedding ? new LoopEmbedding(scope, nLoop, C) : null;
    this.streams = Streams.of(scope, config);
    this.norm = config.loopNorm ? createNorm(scope.child('ln_loop'), C, config) : null;
  }

  requireLoops(loops: number): void {
    if (loops === 1 || this.gates) return;
    const rule = 'must be 1 for a model trained without outer loops, which has no gates';
    throw new ConfigError('loops', rule, loops);
  }

  run(x: Tensor, ctx: ForwardContext, walk: Walk): DepthOutput {
    const { first, end, blocks } = this;
    using e = this.stack(x, 0, first, 0, ctx);
    const output = this.loops(e, ctx, walk);
    if (end === blocks.length) return output;
    // The coda is part of reading a state: each exit that is read passes through it.
    const coda = (state: Tensor) => this.stack(state, end, blocks.length, 0, ctx);
    if (output.exits.length > 0) return new DepthOutput({ ...output, finish: coda });
    using owned = output.x;
    return new DepthOutput({ ...output, x: coda(owned) });
  }

  /** All loops, over one state or over its streams. */
  private loops(e: Tensor, ctx: ForwardContext, walk: Walk): DepthOutput {
    const { injection, streams } = this;
    const loops = ctx.loops ?? this.config.nLoop;
    using made = injection.prepare?.(e) ?? null;
    const prepared = made ?? e;
    using drawn = firstState(e, ctx);
    const state = drawn ?? e;
    if (!streams) return walk(state, loops, (x, n, at) => this.loop(x, prepared, n, at));
    using several = streams.from(state);
    const output = walk(several, loops, (s, n, at) =>
      streams.through(s, n, at, (x) => this.loop(x, prepared, n, at)),
    );
    return streams.join(output);
  }

  /** One outer loop: injection, the stack, the update rule. */
  private loop(x: Tensor, e: Tensor, n: number, ctx: ForwardContext): Tensor {
    using h = this.injection.into(x, e, n);
    using own = this.embedding?.added(h, n) ?? null;
    const f = this.stack(own ?? h, this.first, this.end, n, ctx);
    if (!this.gates) return f;
    using next = update(this.injection.replaces ? h : x, f, this.gates, n, this.config);
    using normal = this.norm?.forward(next) ?? null;
    return ctx.keepHalted(normal ?? next, x);
  }

  /** Layers [from, to) in order, each looped nInnerLoop times. */
  private stack(x: Tensor, from: number, to: number, loop: number, ctx: ForwardContext): Tensor {
    return ctx.loop(to - from, x, (h, i) => {
      const layer = from + i;
      const gates = this.innerGates[layer];
      return ctx.loop(this.config.nInnerLoop, h, (y, inner) => {
        const f = ctx.apply(this.blocks[layer], y, { loop, layer, inner });
        if (!gates) return f;
        using next = update(y, f, gates, inner, this.config);
        return ctx.keepHalted(next, y);
      });
    });
  }
}

/** The update rule x + α^(n) ⊙ f; takes `f`. Loops beyond the trained count reuse the last gate. */
function update(x: Tensor, f: Tensor, gates: ParameterSlot, n: number, { loopForm }: ModelConfig): Tensor {
  using step = f;
  return gatedResidual(x, step, gates.rowUpTo(n), loopForm);
}

function declareGates(scope: ParameterScope, count: number, config: ModelConfig): ParameterSlot | null {
  if (count === 1) return null;
  const value = config.gateInit === '1/n' ? 1 / count : config.gateInit;
  return scope.declare('gates', 'gate', [count, config.gate === 'vector' ? config.nEmbd : 1], { value });
}

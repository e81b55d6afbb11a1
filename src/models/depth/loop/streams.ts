/**
 * Hyper-connections at the loops (Zhu et al. 2024, arXiv 2409.19606; at loops arXiv 2604.21254): the loops' state is n
 * streams s_1 .. s_n, and a loop L, which maps one state x to x + α ⊙ f, updates them by
 *
 *     u = Σ_j w_j·s_j,   s'_i = Σ_j M_ij·s_j + β_i·(L(u) − u)
 *
 * with M, w, β for each loop. They are learned (`static`), or learned plus γ^(n)·tanh(norm(s)·W) for each row
 * (`dynamic`). The loops share W; norm and W act on all streams side by side, as in mHC (arXiv 2512.24880).
 *
 * The streams start as copies of the state; a state is read after a loop as their mean. M = 1, β = 1, w^(n) reads
 * stream n mod n alone, W = 0 and γ = 0.01 at the start: all streams stay equal, and the network starts bit for bit as
 * the one without streams. Because w differs from loop to loop, training can make the streams differ.
 */
import { createNorm, Linear, type Norm } from '../../../nn/layers.js';
import type { ParameterScope, ParameterSlot } from '../../../nn/parameters.js';
import { copiesAsStreams, meanOfStreams, readStreams, writeStreams } from '../../../tensor/loop-ops.js';
import { activation, alias, embedding, gatedResidual } from '../../../tensor/ops.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { ForwardContext } from '../../context.js';
import type { ModelConfig } from '../../model-fields.js';
import { DepthOutput } from '../depth.js';

/** The dynamic part's initial weight. */
const GAMMA = 0.01;

export class Streams {
  private readonly n: number;
  /** For each loop and each stream i: M_i1 .. M_in, w_i, β_i. */
  private readonly coefficients: ParameterSlot;
  private readonly dynamic: DynamicPart | null;

  /** Null if the state is one stream. */
  static of(scope: ParameterScope, config: ModelConfig): Streams | null {
    return config.hyperConnections === 'none' ? null : new Streams(scope.child('streams'), config);
  }

  private constructor(scope: ParameterScope, config: ModelConfig) {
    const { nStream: n, nLoop } = config;
    this.n = n;
    const init = { at: (k: number) => initialCoefficient(k, n) };
    this.coefficients = scope.declare('coefficients', 'coefficient', [nLoop, n * (n + 2)], init);
    this.dynamic = config.hyperConnections === 'dynamic' ? new DynamicPart(scope, config) : null;
  }

  /** Streams (R, n·C) that are copies of `x (R, C)`; the caller owns them. */
  from(x: Tensor): Tensor {
    return copiesAsStreams(x, this.n);
  }

  /** Takes the streams through one loop; the caller owns the result. */
  through(streams: Tensor, loop: number, ctx: ForwardContext, run: (x: Tensor) => Tensor): Tensor {
    using coefficients = this.coefficientsOf(streams, loop);
    using u = readStreams(streams, coefficients, this.n);
    using y = run(u);
    using next = writeStreams(streams, y, coefficients, this.n);
    return ctx.keepHalted(next, streams);
  }

  /** A walk's output with one state (R, C) in place of each state's streams; takes ownership of `output`. */
  join(output: DepthOutput): DepthOutput {
    using owned = output;
    const { entry, exits } = owned;
    const mean = (streams: Tensor) => meanOfStreams(streams, this.n);
    return new DepthOutput({
      x: mean(owned.x),
      exits: exits.map(mean),
      entry: entry && mean(entry),
      streams: entry ? [entry, ...exits].map(alias) : [],
      stepsPerRow: owned.stepsPerRow && alias(owned.stepsPerRow),
    });
  }

  /** (R, n·(n + 2)) */
  private coefficientsOf(streams: Tensor, loop: number): Tensor {
    const { runtime, shape } = streams;
    const own = Math.min(loop, this.coefficients.spec.shape[0] - 1);
    using which = runtime.from(new Int32Array(shape[0]).fill(own), [shape[0]]);
    const learned = embedding(which, which, this.coefficients.value, null);
    if (!this.dynamic) return learned;
    using base = learned;
    return this.dynamic.addedTo(base, streams, loop);
  }
}

class DynamicPart {
  private readonly norm: Norm;
  private readonly weight: Linear;
  private readonly gamma: ParameterSlot;

  constructor(scope: ParameterScope, config: ModelConfig) {
    const { nStream: n, nLoop, nEmbd: C } = config;
    this.norm = createNorm(scope.child('norm'), n * C, config);
    this.weight = new Linear(scope.child('dynamic'), n * C, n * (n + 2), { bias: false, init: { value: 0 } });
    this.gamma = scope.declare('gamma', 'coefficient', [nLoop, 1], { value: GAMMA });
  }

  addedTo(base: Tensor, streams: Tensor, loop: number): Tensor {
    using normal = this.norm.forward(streams);
    using z = this.weight.forward(normal);
    using bounded = activation(z, 'tanh');
    return gatedResidual(base, bounded, this.gamma.rowUpTo(loop), 'output');
  }
}

/** Element k of (loops, n, n + 2): M = 1, β = 1, and w of loop l reads stream l mod n. */
export function initialCoefficient(k: number, n: number): number {
  const column = k % (n + 2);
  const stream = Math.floor(k / (n + 2)) % n;
  const loop = Math.floor(k / (n * (n + 2)));
  if (column < n) return column === stream ? 1 : 0;
  return column === n + 1 || stream === loop % n ? 1 : 0;
}

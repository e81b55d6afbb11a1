/**
 * Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for the matrices inside the blocks: the update
 * is the matrix nearest to the momentum whose singular values are all about 1, computed by Newton and Schulz's
 * iteration.
 *
 * For W (K, N) with gradient G, clipped as AdamW's is:
 *
 *     M ← β·M + G,   X = (G + β·M)/‖G + β·M‖                        (Nesterov's momentum)
 *     five times: S = X·Xᵀ, X ← (a·I + b·S + c·S²)·X (from the right, with XᵀX, if K > N)
 *     W ← W − lr·(√max(1, N/K)·X + weightDecay·W)
 *
 * Matrices that lie side by side in one, such as those of queries, keys and values, are updated separately: in the
 * whole matrix, the one with the largest gradient would take the others’ share of singular values.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters, ParameterSlot } from '../nn/parameters.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TrainConfig } from './config.js';
import { type HeldRange, heldInTurn } from './flat-values.js';

/** These coefficients bring singular values in (0, 1] to between 0.7 and 1.2. */
const COEFFICIENTS = { a: 3.4445, b: -4.775, c: 2.0315 };
const ITERATIONS = 5;
/** Prevents division by zero for a gradient of zeros. */
const EPS = 1e-7;

/** Whether Muon updates a parameter: a matrix inside a block, not an embedding, head or injection. */
function isMuons({ spec: { name, role, shape } }: ParameterSlot): boolean {
  return role === 'matrix' && shape.length === 2 && name.startsWith('transformer.h.');
}

export class Muon {
  /** The ranges of the matrices in the flat parameters, and of their momentum. */
  readonly held: readonly HeldRange[];
  private readonly momentum: Storage;
  private readonly slots: readonly ParameterSlot[];

  constructor(
    private readonly parameters: Parameters,
    private readonly config: TrainConfig,
  ) {
    const { backend } = parameters.runtime;
    this.slots = parameters.slots.filter(isMuons);
    const places = this.slots.map(({ value }) => parameters.placeOf(value));
    const storage = backend.allocate(
      backend.dtype,
      places.reduce((sum, { length }) => sum + length, 0),
    );
    this.momentum = storage;
    this.held = heldInTurn(places, storage);
  }

  /** Updates the matrices, unless `nonFinite (1)` is set; `squares (1)` is the sum of squares of the whole gradient. */
  update(lr: number, squares: Storage, nonFinite: Storage): void {
    const { backend } = this.parameters.runtime;
    const { muonMomentum: beta, gradClip, weightDecay } = this.config;
    for (const [i, { spec, value }] of this.slots.entries()) {
      const [K, N] = spec.shape;
      const { storage: param, gradient: grad, size } = value;
      if (!grad) throw new Error('Muon.update: the model was allocated without gradients');
      const momentum = backend.slice(this.momentum, this.held[i].at, size);
      let first = 0;
      for (const count of spec.columns ?? [N]) {
        const columns = { R: K, C: N, first, count };
        using x = this.parameters.runtime.empty([K, count]);
        const out = x.storage;
        backend.muonMomentum({ out, momentum, grad, squares, nonFinite, ...columns, beta, gradClip });
        using direction = this.orthogonalised(x);
        const [update, scale] = [direction.storage, Math.sqrt(Math.max(1, count / K))];
        backend.muonUpdate({ param, update, nonFinite, ...columns, lr, scale, weightDecay });
        first += count;
      }
    }
  }

  /** The matrix nearest to `x (R, C)` whose singular values are about 1; overwrites `x`; the caller owns the result. */
  private orthogonalised(x: Tensor): Tensor {
    const { runtime } = this.parameters;
    const { backend } = runtime;
    const [R, C] = x.shape;
    using norm = runtime.empty([2]);
    const [squares, overflow] = [0, 1].map((i) => backend.slice(norm.storage, i, 1));
    backend.fill(norm.storage, 0);
    backend.sumSquares({ out: squares, nonFinite: overflow, inp: x.storage });
    backend.scaleByNorm({ x: x.storage, squares, eps: EPS });
    const other = runtime.empty([R, C]);
    for (let i = 0; i < ITERATIONS; i++) {
      const [from, to] = i % 2 === 0 ? [x, other] : [other, x];
      this.iterate(to.storage, from.storage, R, C);
    }
    return other; // the number of iterations is odd
  }

  /** out (R, C) = (a·I + b·S + c·S²)·x with S = x·xᵀ, or with the smaller xᵀ·x from the right. */
  private iterate(out: Storage, inp: Storage, R: number, C: number): void {
    const { runtime } = this.parameters;
    const { backend } = runtime;
    const N = Math.min(R, C);
    using gram = runtime.empty([N, N]);
    using squared = runtime.empty([N, N]);
    using polynomial = runtime.empty([N, N]);
    const [x, square, weight] = [gram.storage, squared.storage, polynomial.storage];
    if (R <= C) {
      backend.linearBackwardInput({ dinp: x, dout: inp, weight: inp, R, K: R, N: C, accumulate: false });
    } else {
      backend.fill(x, 0);
      backend.linearBackwardWeight({ dweight: x, dbias: null, dout: inp, inp, R, K: C, N: C });
    }
    backend.linearForward({ out: square, inp: x, weight: x, bias: null, R: N, K: N, N });
    backend.matrixPolynomial({ out: weight, x, square, N, ...COEFFICIENTS });
    if (R <= C) backend.linearForward({ out, inp: weight, weight: inp, bias: null, R, K: R, N: C });
    else backend.linearForward({ out, inp, weight, bias: null, R, K: C, N: C });
  }

  dispose(): void {
    this.parameters.runtime.backend.free(this.momentum);
  }
}

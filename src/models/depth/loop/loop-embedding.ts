/**
 * A learned vector v^(n) (C) for each loop, added to what its stack reads (`loopEmbedding`): f(x) becomes f(x + v^(n)),
 * and the gate weighs it as before. It starts at 0; loops beyond the trained count reuse the last.
 */
import type { ParameterScope, ParameterSlot } from '../../../nn/parameters.js';
import { add, embedding } from '../../../tensor/ops.js';
import type { Tensor } from '../../../tensor/tensor.js';

export class LoopEmbedding {
  private readonly vectors: ParameterSlot;

  constructor(
    scope: ParameterScope,
    private readonly loops: number,
    C: number,
  ) {
    this.vectors = scope.declare('loop_embedding', 'position', [loops, C], { value: 0 });
  }

  /** x + v of loop n, (R, C); the caller owns it. */
  added(x: Tensor, n: number): Tensor {
    const { runtime, shape } = x;
    using which = runtime.from(new Int32Array(shape[0]).fill(Math.min(n, this.loops - 1)), [shape[0]]);
    using vector = embedding(which, which, this.vectors.value, null);
    return add(x, vector);
  }
}

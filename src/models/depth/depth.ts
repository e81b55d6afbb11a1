/** The contract of a depth rule: how the hidden state passes through the blocks. Each rule is one file beside this. */
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';

export interface Depth {
  /** Carries `x (R, C)` through the blocks; the caller owns the result. */
  run(x: Tensor, ctx: ForwardContext): Tensor;
}

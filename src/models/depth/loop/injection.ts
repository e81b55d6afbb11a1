/** The contract of input injection: how every loop reads the looped stack's first input e again, before its stack. */
import type { Tensor } from '../../../tensor/tensor.js';

export interface Injection {
  /** Whether its result replaces the state, so that the gate adds to the result. */
  readonly replaces: boolean;
  /** Computes once what every loop needs of e; e itself if absent. The caller owns the result. */
  prepare?(e: Tensor): Tensor;
  /** The input of loop n's stack (R, C), from the state x and the result of `prepare`; the caller owns it. */
  into(x: Tensor, prepared: Tensor, n: number): Tensor;
}

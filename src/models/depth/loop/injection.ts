/** The contract of input injection: how every loop meets the looped stack's first input e again, before its stack. */
import type { Tensor } from '../../../tensor/tensor.js';

export interface Injection {
  /** Whether what it makes takes the state's place, so that the gate adds to it. */
  readonly replaces: boolean;
  /** What it needs of e in every loop, made once; e itself where absent. The caller owns it. */
  prepare?(e: Tensor): Tensor;
  /** What the stack of loop n reads, from the state x and what was prepared (R, C); the caller owns it. */
  into(x: Tensor, prepared: Tensor, n: number): Tensor;
}

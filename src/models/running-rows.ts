/**
 * The rows that still run after some have halted. A halted row keeps its state; blocks still normalise it and project
 * it to a key and a value, so that other rows can attend to it.
 */
import { alias, gatherRows, scatterRows, selectRows } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';

export class RunningRows {
  constructor(
    /** 1 where a row runs (R). */
    readonly mask: Tensor,
    /** The running rows in ascending order; null if all are computed and the results of halted rows are discarded. */
    readonly rows: Tensor | null,
  ) {}

  /** The rows of x (R, C) that are computed; the caller owns them. */
  computed(x: Tensor): Tensor {
    return this.rows ? gatherRows(x, this.rows) : alias(x);
  }

  /** The whole state (R, C) after some rows were computed, with `former` in the halted rows. The caller owns it. */
  merge(computed: Tensor, former: Tensor): Tensor {
    return this.rows ? scatterRows(former, computed, this.rows) : this.keep(computed, former);
  }

  /** `next (R, C)` in the running rows, `former` in the halted rows; the caller owns the result. */
  keep(next: Tensor, former: Tensor): Tensor {
    return selectRows(this.mask, next, former);
  }
}

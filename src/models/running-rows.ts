/**
 * The rows that still run, where some have halted. A halted row keeps its state; blocks still normalise it and project it
 * to a key and a value for the others to attend to. Knows no rule by which rows halt.
 */
import { alias, gatherRows, scatterRows, selectRows } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';

export class RunningRows {
  constructor(
    /** 1 where a row runs (R). */
    readonly mask: Tensor,
    /** The running rows in ascending order; null where all are computed, and what becomes of the halted ones is thrown away. */
    readonly rows: Tensor | null,
  ) {}

  /** The rows of x (R, C) that are computed; the caller owns them. */
  computed(x: Tensor): Tensor {
    return this.rows ? gatherRows(x, this.rows) : alias(x);
  }

  /** The whole state (R, C) after some rows were computed: `former` in those that have halted. The caller owns it. */
  merge(computed: Tensor, former: Tensor): Tensor {
    return this.rows ? scatterRows(former, computed, this.rows) : this.keep(computed, former);
  }

  /** `next (R, C)`, but `former` in the rows that have halted; the caller owns the result. */
  keep(next: Tensor, former: Tensor): Tensor {
    return selectRows(this.mask, next, former);
  }
}

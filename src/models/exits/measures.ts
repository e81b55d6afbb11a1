/** Measures of each row from exit to exit: how far its state moved, and what the head predicts from it. */
import type { Storage } from '../../backend/backend.js';
import { alias, gatherRows, logits } from '../../tensor/ops.js';
import { Tensor } from '../../tensor/tensor.js';
import type { RunningRows } from '../running-rows.js';
import type { ExitHeads } from './heads.js';

/** The measurements of one pass. */
export interface Measure extends Disposable {
  /**
   * The value of every row (R) after exit n, for its `state (R, C)`; undefined for rows that have exited. Null while
   * there is no former state to compare with. The caller owns the result.
   */
  of(state: Tensor, n: number, running: RunningRows | null): Tensor | null;
}

/** How far states move, or, with `order` 2, how far from a constant movement; see Backend.rowChange. */
export class Movement implements Measure {
  /** The newest first. */
  private readonly former: Tensor[];

  constructor(
    entry: Tensor,
    private readonly order: 1 | 2,
  ) {
    this.former = [alias(entry)];
  }

  of(state: Tensor): Tensor | null {
    const { former, order } = this;
    const { runtime, shape } = state;
    let out: Tensor | null = null;
    if (former.length === order) {
      const [from, before] = former;
      const dims = { R: shape[0], C: shape[1] };
      out = runtime.empty([dims.R]);
      runtime.backend.rowChange({
        out: out.storage,
        x: state.storage,
        former: from.storage,
        before: before?.storage ?? null,
        ...dims,
      });
      former.pop()!.dispose();
    }
    former.unshift(alias(state));
    return out;
  }

  [Symbol.dispose](): void {
    for (const state of this.former) state.dispose();
  }
}

/** The highest probability. */
export class TopProbability implements Measure {
  constructor(
    private readonly heads: ExitHeads,
    private readonly V: number,
  ) {}

  of(state: Tensor, n: number, running: RunningRows | null): Tensor {
    return ofRunning([state], running, ([some]) => {
      const { runtime, shape } = some;
      const [R, C] = shape;
      using normal = this.heads.normalise(some, n);
      using none = runtime.from(new Int32Array(R).fill(-1), [R]);
      using loss = runtime.empty([R]);
      const highest = runtime.empty([R]);
      runtime.backend.headForward({
        loss: loss.storage,
        argmax: null,
        maxProb: highest.storage,
        inp: normal.storage,
        weight: this.heads.weight(n).storage,
        targets: none.storage,
        R,
        C,
        V: this.V,
      });
      return highest;
    });
  }

  [Symbol.dispose](): void {}
}

/** The entropy of the prediction. */
export class PredictionEntropy implements Measure {
  constructor(
    private readonly heads: ExitHeads,
    private readonly V: number,
  ) {}

  of(state: Tensor, n: number, running: RunningRows | null): Tensor {
    const { heads, V } = this;
    const { backend } = state.runtime;
    return ofRunning([state], running, (some) =>
      byPieces(some, n, heads, V, (out, [logits], R) => backend.rowEntropy({ out, logits, R, V })),
    );
  }

  [Symbol.dispose](): void {}
}

/** The most logits in memory at a time, in elements. */
const MOST_LOGITS = 1 << 24;

/**
 * KL of a prediction from the former one. It keeps the former logits if they are few enough for all rows; otherwise it
 * keeps the former state, and reads that again.
 */
export class Divergence implements Measure {
  /** Logits (R, V) or a state (R, C). */
  private former: Tensor | null = null;

  constructor(
    private readonly heads: ExitHeads,
    private readonly V: number,
  ) {}

  of(state: Tensor, n: number, running: RunningRows | null): Tensor | null {
    const { heads, V, former } = this;
    const { runtime, shape } = state;
    const { backend } = runtime;
    const R = shape[0];
    if (R * V > MOST_LOGITS) {
      this.former = alias(state);
      if (!former) return null;
      using before = former;
      return ofRunning([state, before], running, (some) =>
        byPieces(some, n, heads, V, (out, [logits, former], R) =>
          backend.rowDivergence({ out, logits, former, rows: null, R, V }),
        ),
      );
    }
    const rows = running?.rows ?? null;
    using some = rows ? gatherRows(state, rows) : alias(state);
    const now = read(some, n, heads);
    if (!former) {
      this.former = now;
      return null;
    }
    using logitsNow = now;
    using values = runtime.empty([some.shape[0]]);
    const places = rows?.storage ?? null;
    const both = { logits: logitsNow.storage, former: former.storage };
    backend.rowDivergence({ out: values.storage, ...both, rows: places, R, V });
    if (places) backend.scatterRows({ out: former.storage, inp: logitsNow.storage, index: places, R, C: V });
    else backend.copy(former.storage, logitsNow.storage);
    return atPlaces(values, rows, R);
  }

  [Symbol.dispose](): void {
    this.former?.dispose();
  }
}

/** A measure of the rows that still run, in all R places. */
function ofRunning(
  states: readonly Tensor[],
  running: RunningRows | null,
  measure: (states: readonly Tensor[]) => Tensor,
): Tensor {
  const rows = running?.rows ?? null;
  if (!rows) return measure(states);
  const some = states.map((state) => gatherRows(state, rows));
  using values = measure(some);
  for (const state of some) state.dispose();
  return atPlaces(values, rows, states[0].shape[0]);
}

/** The values of some rows at their places among R, zeros elsewhere. */
function atPlaces(values: Tensor, rows: Tensor | null, R: number): Tensor {
  if (!rows) return alias(values);
  const { runtime } = values;
  const all = runtime.from(new Float64Array(R), [R]);
  runtime.backend.scatterRows({ out: all.storage, inp: values.storage, index: rows.storage, R, C: 1 });
  return all;
}

/** The logits of states at exit n. */
function read(state: Tensor, n: number, heads: ExitHeads): Tensor {
  using normal = heads.normalise(state, n);
  return logits(normal, heads.weight(n));
}

/** Applies `kernel` to the logits of states at exits n, n − 1, …, a piece of rows at a time. */
function byPieces(
  states: readonly Tensor[],
  n: number,
  heads: ExitHeads,
  V: number,
  kernel: (out: Storage, logits: readonly Storage[], R: number) => void,
): Tensor {
  const { runtime, shape } = states[0];
  const { backend } = runtime;
  const [all, C] = shape;
  const out = runtime.empty([all]);
  const most = Math.max(1, Math.floor(MOST_LOGITS / (V * states.length)));
  for (let first = 0; first < all; first += most) {
    const R = Math.min(most, all - first);
    const pieces = states.map((state, back) => {
      using part = Tensor.over(runtime, [R, C], backend.slice(state.storage, first * C, R * C));
      return read(part, n - back, heads);
    });
    const storages = pieces.map(({ storage }) => storage);
    kernel(backend.slice(out.storage, first, R), storages, R);
    for (const piece of pieces) piece.dispose();
  }
  return out;
}

/**
 * The rows of a forward pass: each row's position in its sequence, and what it attends to. This file has whole
 * sequences; `generate/cache.ts` has sequences that grow, over a key/value cache.
 */
import type { Dropout } from '../backend/backend.js';
import { attention, type Heads } from '../tensor/attention-ops.js';
import type { Runtime, Tensor } from '../tensor/tensor.js';

/** The place of an application in the model; no two applications of one pass share a place. */
export interface ApplicationPlace {
  readonly loop: number;
  readonly layer: number;
  readonly inner: number;
}

export interface Batch extends Disposable {
  /** Each row's position in its sequence (R). */
  readonly positions: Tensor;
  /** All positions are below this. */
  readonly reach: number;
  /** Rows of a sequence, as dropout counts its samples. */
  readonly T: number;
  /**
   * Whether keys and values outlive the pass. A halted row then still goes through every application, because a later
   * row may run longer and attend to it.
   */
  readonly cached: boolean;
  /**
   * Causal self-attention of the application at `place`; `qkv (R, H·HS)` → (R, C), or (rows, C) for some queries only.
   */
  attend(
    qkv: Tensor,
    heads: Heads,
    place: ApplicationPlace,
    dropout: Dropout | null,
    rows: Tensor | null,
  ): Tensor;
  /** The mean over a row and all before it in its sequence; `x (R, C)` → (R, C), without gradient. */
  causalMean(x: Tensor): Tensor;
}

/** B sequences of T rows without a past. */
export class WholeSequences implements Batch {
  readonly cached = false;
  readonly positions: Tensor;

  constructor(
    readonly B: number,
    readonly T: number,
    runtime: Runtime,
  ) {
    this.positions = runtime.from(positionsOf(B, T), [B * T]);
  }

  get reach(): number {
    return this.T;
  }

  attend(
    qkv: Tensor,
    heads: Heads,
    _place: ApplicationPlace,
    dropout: Dropout | null,
    rows: Tensor | null,
  ): Tensor {
    return attention(qkv, this.B, this.T, heads, dropout, rows);
  }

  causalMean(x: Tensor): Tensor {
    const { runtime } = x;
    using sums = runtime.empty([x.shape[1]]);
    const out = runtime.empty(x.shape);
    for (let b = 0; b < this.B; b++) meanOfRows(out, x, b * this.T, this.T, 0, sums);
    return out;
  }

  [Symbol.dispose](): void {
    this.positions.dispose();
  }
}

/** `causalMean` of the rows [first, first + T) of one sequence, after `past` rows that `sums (C)` holds. */
export function meanOfRows(
  out: Tensor,
  x: Tensor,
  first: number,
  T: number,
  past: number,
  sums: Tensor,
): void {
  const { backend } = x.runtime;
  const C = x.shape[1];
  const part = (of: Tensor) => backend.slice(of.storage, first * C, T * C);
  backend.causalMean({ out: part(out), inp: part(x), sums: sums.storage, T, C, past });
}

/** 0..T−1 for each of B sequences; kept between calls, because training asks for the same positions every time. */
let latest = { B: 0, T: 0, positions: new Int32Array(0) };
function positionsOf(B: number, T: number): Int32Array {
  if (latest.B !== B || latest.T !== T) {
    latest = { B, T, positions: Int32Array.from({ length: B * T }, (_, r) => r % T) };
  }
  return latest.positions;
}

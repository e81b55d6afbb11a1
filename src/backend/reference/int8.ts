/**
 * Products with weights in int8, as native/int8.cc computes them: weights and rows are rounded, group by group along k,
 * to integers times a scale. Sums are in double precision.
 */
import { KERNELS } from '../kernel-table.js';
import type { Floats, HostKernels } from '../memory/arguments.js';
import { head } from './head.js';
import { linear } from './linear.js';

/** Values along k that share a scale. */
const GROUP = 64;
/** The largest integers of a weight and of an input. */
const [WEIGHT, INPUT] = [127, 16384];
/** A group whose values are all smaller becomes zeros. */
const TINY = Math.fround(1e-30);

const { linearForward, logits, headForward } = KERNELS;
export const INT8_TABLE = { linearForward, logits, headForward };

export const int8: HostKernels<typeof INT8_TABLE> = {
  linearForward({ inp, weight, ...args }) {
    const { K, N } = args;
    linear.linearForward({ ...args, inp: rounded(inp, K, 1, INPUT), weight: rounded(weight, K, N, WEIGHT) });
  },

  logits({ inp, weight, ...args }) {
    const { C } = args;
    head.logits({ ...args, inp: rounded(inp, C, 1, INPUT), weight: rounded(weight, C, 1, WEIGHT) });
  },

  headForward({ inp, weight, ...args }) {
    const { C } = args;
    head.headForward({ ...args, inp: rounded(inp, C, 1, INPUT), weight: rounded(weight, C, 1, WEIGHT) });
  },
};

/** Runs of K values, `stride` apart, rounded to at most ±full times the scale of their group. */
function rounded(values: Floats, K: number, stride: number, full: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let first = 0; first < values.length; first += K * stride) {
    for (let lane = 0; lane < stride; lane++) {
      for (let k = 0; k < K; k += GROUP) {
        const start = first + lane + k * stride;
        roundGroup(out, values, start, stride, Math.min(GROUP, K - k), full);
      }
    }
  }
  return out;
}

function roundGroup(
  out: Float64Array,
  values: Floats,
  start: number,
  stride: number,
  count: number,
  full: number,
): void {
  let largest = 0;
  for (let i = 0, at = start; i < count; i++, at += stride) largest = Math.max(largest, Math.abs(values[at]));
  const scale = Math.fround(largest / full);
  const inverse = largest > TINY ? Math.fround(full / largest) : 0;
  for (let i = 0, at = start; i < count; i++, at += stride) {
    // If a value is not finite, the whole group becomes NaN, so that no product with it is finite.
    out[at] = Number.isFinite(largest) ? roundToEven(Math.fround(values[at] * inverse)) * scale : Number.NaN;
  }
}

/** The nearest integer, ties to even. */
function roundToEven(x: number): number {
  const below = Math.floor(x);
  const over = x - below;
  return over > 0.5 || (over === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

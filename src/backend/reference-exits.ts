/** The reference backend's measures of rows that may leave: movement of a state, entropy and change of a prediction. */
import type { HeadDims, RowDims, Storage } from './backend.js';
import { ascending, floats, type Floats } from './reference-arguments.js';

export function rowChange(
  out: Storage,
  x: Storage,
  former: Storage,
  before: Storage | null,
  { R, C }: RowDims,
): void {
  const where = 'rowChange';
  const y = floats(where, 'out', out, R);
  const [xs, from] = [floats(where, 'x', x, R * C), floats(where, 'former', former, R * C)];
  const first = before && floats(where, 'before', before, R * C);
  for (let r = 0; r < R; r++) {
    let [moved, size] = [0, 0];
    for (let i = r * C; i < (r + 1) * C; i++) {
      moved += (xs[i] - from[i] - (first ? from[i] - first[i] : 0)) ** 2;
      size += from[i] ** 2;
    }
    y[r] = Math.sqrt(moved / size);
  }
}

export function rowEntropy(out: Storage, logits: Storage, { R, V }: Pick<HeadDims, 'R' | 'V'>): void {
  const y = floats('rowEntropy', 'out', out, R);
  const x = floats('rowEntropy', 'logits', logits, R * V);
  for (let r = 0; r < R; r++) {
    const logs = logProbabilities(x, r, V);
    y[r] = -logs.reduce((sum, log) => sum + Math.exp(log) * log, 0);
  }
}

export function rowDivergence(
  out: Storage,
  logits: Storage,
  former: Storage,
  rows: Storage | null,
  { R, V }: Pick<HeadDims, 'R' | 'V'>,
): void {
  const where = 'rowDivergence';
  const compared = rows && ascending(where, 'rows', rows, R);
  const count = compared?.length ?? R;
  const y = floats(where, 'out', out, count);
  const [x, before] = [floats(where, 'logits', logits, count * V), floats(where, 'former', former, R * V)];
  for (let i = 0; i < count; i++) {
    const [p, q] = [logProbabilities(x, i, V), logProbabilities(before, compared ? compared[i] : i, V)];
    const d = p.reduce((sum, log, v) => sum + Math.exp(log) * (log - q[v]), 0);
    y[i] = Math.max(0, d); // rounding
  }
}

/** log softmax of row r of `x (R, V)`. */
function logProbabilities(x: Floats, r: number, V: number): Float64Array {
  const row = Float64Array.from(x.subarray(r * V, (r + 1) * V));
  const max = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const logSum = max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0));
  return row.map((value) => value - logSum);
}

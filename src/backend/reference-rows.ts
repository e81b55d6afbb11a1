/** The reference backend’s kernels that treat whole rows alike: choose, scale, gather and scatter them, and copy columns. */
import { ShapeError } from '../errors.js';
import type { ColumnDims, RowDims, Storage } from './backend.js';
import { ascending, dot, floats, integers } from './reference-arguments.js';

export function selectRows(
  out: Storage,
  mask: Storage,
  a: Storage | null,
  b: Storage | null,
  { R, C }: RowDims,
  accumulate: boolean,
): void {
  const y = floats('selectRows', 'out', out, R * C);
  const chosen = integers('selectRows', 'mask', mask, R);
  const [p, q] = [a && floats('selectRows', 'a', a, R * C), b && floats('selectRows', 'b', b, R * C)];
  for (let i = 0; i < R * C; i++) {
    const from = chosen[Math.floor(i / C)] ? p : q;
    y[i] = (accumulate ? y[i] : 0) + (from ? from[i] : 0);
  }
}

export function scaleRowsForward(
  out: Storage,
  inp: Storage,
  scale: Storage,
  { R, C }: RowDims,
  accumulate: boolean,
): void {
  const where = 'scaleRowsForward';
  const [y, x] = [floats(where, 'out', out, R * C), floats(where, 'inp', inp, R * C)];
  const s = floats(where, 'scale', scale, R);
  for (let i = 0; i < R * C; i++) y[i] = (accumulate ? y[i] : 0) + s[Math.floor(i / C)] * x[i];
}

export function scaleRowsBackward(
  dinp: Storage | null,
  dscale: Storage | null,
  dout: Storage,
  inp: Storage,
  scale: Storage,
  { R, C }: RowDims,
  accumulate: boolean,
): void {
  const where = 'scaleRowsBackward';
  const [dy, x] = [floats(where, 'dout', dout, R * C), floats(where, 'inp', inp, R * C)];
  const s = floats(where, 'scale', scale, R);
  const dx = dinp && floats(where, 'dinp', dinp, R * C);
  const ds = dscale && floats(where, 'dscale', dscale, R);
  for (let r = 0; r < R; r++) {
    if (ds) ds[r] += dot(dy, r * C, x, r * C, C);
    for (let i = r * C; dx && i < (r + 1) * C; i++) dx[i] = (accumulate ? dx[i] : 0) + s[r] * dy[i];
  }
}

export function copyColumns(
  out: Storage,
  inp: Storage,
  { R, C, first, count }: ColumnDims,
  accumulate: boolean,
): void {
  const [y, x] = [floats('copyColumns', 'out', out, R * C), floats('copyColumns', 'inp', inp, R * C)];
  if (first + count > C) {
    throw new ShapeError('copyColumns: first + count', `must be at most C = ${C}`, first + count);
  }
  for (let r = 0; r < R; r++) {
    for (let i = r * C + first; i < r * C + first + count; i++) y[i] = (accumulate ? y[i] : 0) + x[i];
  }
}

export function gatherRows(out: Storage, inp: Storage, index: Storage, { R, C }: RowDims): void {
  const rows = ascending('gatherRows', 'index', index, R);
  const y = floats('gatherRows', 'out', out, rows.length * C);
  const x = floats('gatherRows', 'inp', inp, R * C);
  for (const [i, r] of rows.entries()) y.set(x.subarray(r * C, (r + 1) * C), i * C);
}

export function scatterRows(out: Storage, inp: Storage, index: Storage, { R, C }: RowDims): void {
  const rows = ascending('scatterRows', 'index', index, R);
  const y = floats('scatterRows', 'out', out, R * C);
  const x = floats('scatterRows', 'inp', inp, rows.length * C);
  for (const [i, r] of rows.entries()) y.set(x.subarray(i * C, (i + 1) * C), r * C);
}

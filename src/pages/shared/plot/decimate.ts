/**
 * Reduces a curve to the points that pixels can show: the lowest and the highest point in each column of pixels, or the
 * mean of its points.
 */

/** Points of a curve; a NaN interrupts the line. */
export interface Path {
  readonly x: Float64Array;
  readonly y: Float64Array;
  length: number;
}

/** The first index whose value is at least `x`; `values` ascend. */
export function firstFrom(values: ArrayLike<number>, x: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first and the end index of the values in a window, with one value beyond each edge, so that lines reach it. */
export function shown(values: ArrayLike<number>, from: number, to: number): [number, number] {
  const first = Math.max(0, firstFrom(values, from) - 1);
  let last = firstFrom(values, to);
  if (last < values.length) last++;
  return [first, last];
}

/**
 * Reduces values `y` at ascending `x`, from index `first` to before `last`: keeps the lowest and the highest value of
 * every `pitch` pixels, or only their mean. `toX` converts x to pixels. `y` stays a value, since its range is needed
 * before its pixels are known.
 */
export function decimate(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  [first, last]: readonly [number, number],
  toX: (x: number) => number,
  pitch: number,
  mean: boolean,
): Path {
  const count = last - first;
  const left = toX(x[first]);
  const width = Math.max(1, toX(x[last - 1]) - left);
  const columns = Math.ceil(width / pitch) + 1;
  if (count <= 2 * columns) {
    const path = { x: new Float64Array(count), y: new Float64Array(count), length: count };
    for (let i = 0; i < count; i++) {
      path.x[i] = toX(x[first + i]);
      path.y[i] = y[first + i];
    }
    return path;
  }
  const path = { x: new Float64Array(2 * columns + 2), y: new Float64Array(2 * columns + 2), length: 0 };
  let at = first;
  for (let column = 0; column <= columns && at < last; column++) {
    const end = left + (column + 1) * pitch;
    let [low, high, sum, counted] = [-1, -1, 0, 0];
    const begin = at;
    for (; at < last && (toX(x[at]) < end || column === columns); at++) {
      const value = y[at];
      if (Number.isNaN(value)) continue;
      sum += value;
      counted++;
      if (low < 0 || value < y[low]) low = at;
      if (high < 0 || value > y[high]) high = at;
    }
    if (at === begin || low < 0) continue;
    const [one, other] = low < high ? [low, high] : [high, low];
    const middle = left + (column + 0.5) * pitch;
    path.x[path.length] = middle;
    path.y[path.length++] = mean ? sum / counted : y[one];
    if (mean || one === other) continue;
    path.x[path.length] = middle;
    path.y[path.length++] = y[other];
  }
  return path;
}

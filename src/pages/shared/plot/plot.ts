/** A chart on a canvas: axes, grid, and curves of any number of points. */
import { scaleLinear, scaleLog } from 'd3-scale';
import { decimate, type Path, shown } from './decimate.js';

export interface PlotCurve {
  readonly label: string;
  readonly color: string;
  /** In ascending order. */
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  /** Drawn thin and pale, behind the other curves. */
  readonly faint?: boolean;
  readonly dashed?: boolean;
  /** A dot at every point. */
  readonly dots?: boolean;
}

export interface Plot {
  readonly xLabel: string;
  readonly curves: readonly PlotCurve[];
  readonly logX: boolean;
  readonly logY: boolean;
  /** The part of the axis that is shown; null for all. */
  readonly zoom: readonly [number, number] | null;
  /** The whole axis, which charts side by side share; null if there is nothing to show. */
  readonly whole: readonly [number, number] | null;
}

export interface Inks {
  readonly text: string;
  readonly rule: string;
  /** A curve's colour in the form that a canvas accepts. */
  readonly drawn: (color: string) => string;
}

/** The pixels of values in the last drawing. */
export interface Drawn {
  readonly toX: (x: number) => number;
  readonly toY: (y: number) => number;
  readonly ofX: (pixel: number) => number;
  readonly domain: readonly [number, number];
}

export const MARGIN = { top: 10, right: 14, bottom: 42, left: 52 };
/** Pixels per point of a curve, while the user moves the chart and at rest. */
const COARSE = 3;
const FINE = 1;
/** Radius in pixels of the dot of a curve with one point; other dots are smaller. */
const DOT = 4.5;

/** The range of x that curves take; null if there are no values to show. */
export function extentX(curves: readonly PlotCurve[], log: boolean): [number, number] | null {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { x } of curves) {
    let first = 0;
    while (log && first < x.length && x[first] <= 0) first++;
    if (first >= x.length || !Number.isFinite(x[first])) continue;
    low = Math.min(low, x[first]);
    high = Math.max(high, x[x.length - 1]);
  }
  if (low > high) return null;
  return low < high ? [low, high] : [low - (log ? low / 2 : 0.5), high + 0.5];
}

/** Draws a chart of `width` times `height` pixels; null if there is nothing to show. */
export function draw(
  c: CanvasRenderingContext2D,
  width: number,
  height: number,
  { curves, logX, logY, zoom, whole, xLabel }: Plot,
  inks: Inks,
  coarse: boolean,
): Drawn | null {
  c.clearRect(0, 0, width, height);
  if (!whole) return null;
  const domain = [...(zoom ?? whole)];
  if (logX && domain[0] <= 0) domain[0] = Math.min(whole[0], domain[1] / 10);
  const across = [MARGIN.left, width - MARGIN.right];
  const x = (logX ? scaleLog() : scaleLinear()).domain(domain).range(across);
  const toX = logX ? (value: number) => x(Math.max(value, Number.MIN_VALUE)) : linear(domain, across);

  const [paths, [low, high]] = pathsOf(curves, domain, toX, coarse, logY);
  const up = [height - MARGIN.bottom, MARGIN.top];
  const y = (logY ? scaleLog() : scaleLinear()).domain(padded(low, high, logY)).range(up);
  const toY = logY ? (value: number) => y(value) : linear(y.domain(), up);

  axes(c, { width, height, inks, xLabel, integers: countsOnly(curves, domain) }, x, y, logX, logY);
  c.save();
  c.beginPath();
  c.rect(MARGIN.left - DOT, MARGIN.top - 1, across[1] - across[0] + 2 * DOT, up[0] - up[1] + 2);
  c.clip();
  // Faint curves are skipped during a movement, since they would cost most of a frame.
  for (const faint of coarse ? [false] : [true, false]) {
    for (const [i, curve] of curves.entries()) {
      if ((curve.faint === true) === faint)
        trace(c, { ...curve, color: inks.drawn(curve.color) }, paths[i], toY, logY);
    }
  }
  c.restore();
  return { toX, toY, ofX: (pixel) => x.invert(pixel), domain: [domain[0], domain[1]] };
}

/** Axes shorter than this may have ticks between two whole numbers. */
const SHORT = 20;

/** Whether a short axis has only whole numbers, such as loops: a tick between two would mean nothing. */
function countsOnly(curves: readonly PlotCurve[], [from, to]: readonly number[]): boolean {
  return to - from < SHORT && curves.every(({ x }) => Array.prototype.every.call(x, Number.isInteger));
}

function linear([a, b]: readonly number[], [from, to]: readonly number[]): (value: number) => number {
  const slope = (to - from) / (b - a);
  return (value) => from + (value - a) * slope;
}

/** The points of curves within the window, and the range of their values. */
function pathsOf(
  curves: readonly PlotCurve[],
  [from, to]: readonly number[],
  toX: (x: number) => number,
  coarse: boolean,
  logY: boolean,
): [Path[], [number, number]] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const paths = curves.map(({ x, y, faint }) => {
    const window = shown(x, from, to);
    const path =
      window[1] <= window[0] || Number.isNaN(x[0])
        ? { x: new Float64Array(0), y: new Float64Array(0), length: 0 }
        : decimate(x, y, window, toX, coarse ? COARSE : FINE, coarse);
    // Smoothed curves set the range; the tips of faint curves may lie outside of it.
    if (faint && curves.some((other) => !other.faint)) return path;
    for (let i = 0; i < path.length; i++) {
      const value = path.y[i];
      if (value < low && (!logY || value > 0)) low = value;
      if (value > high) high = value;
    }
    return path;
  });
  return [paths, low <= high ? [low, high] : logY ? [0.1, 1] : [0, 1]];
}

/** Ranges narrower than this share of their values are rounding errors of a single value. */
const ROUNDING = 1e-9;

/** A range with some space around it. */
function padded(low: number, high: number, log: boolean): [number, number] {
  const wide = high - low > ROUNDING * Math.abs(high);
  if (log) return wide ? [low / 1.05, high * 1.05] : [low / 2, high * 2];
  const air = wide ? 0.05 * (high - low) : Math.max(Math.abs(high) * 0.1, 1e-12);
  return [low - air, high + air];
}

function trace(
  c: CanvasRenderingContext2D,
  { color, faint, dashed, dots }: PlotCurve,
  { x, y, length }: Path,
  toY: (y: number) => number,
  logY: boolean,
): void {
  c.globalAlpha = faint ? 0.3 : 1;
  c.strokeStyle = color;
  c.lineWidth = faint ? 1 : 1.8;
  c.lineJoin = 'bevel';
  c.setLineDash(dashed ? [5, 4] : []);
  c.beginPath();
  let down = false;
  for (let i = 0; i < length; i++) {
    const value = y[i];
    if (Number.isNaN(value) || (logY && value <= 0)) {
      down = false;
      continue;
    }
    if (down) c.lineTo(x[i], toY(value));
    else c.moveTo(x[i], toY(value));
    down = true;
  }
  c.stroke();
  c.setLineDash([]);
  if (dots || length === 1) {
    c.fillStyle = color;
    for (let i = 0; i < length; i++) {
      if (Number.isNaN(y[i])) continue;
      c.beginPath();
      c.arc(x[i], toY(y[i]), length === 1 ? DOT : 0.6 * DOT, 0, 7);
      c.fill();
    }
  }
  c.globalAlpha = 1;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly inks: Inks;
  readonly xLabel: string;
  /** Whether the horizontal axis has ticks only at whole numbers. */
  readonly integers: boolean;
}

type Scale = ReturnType<typeof scaleLinear<number, number>> | ReturnType<typeof scaleLog<number, number>>;

function axes(
  c: CanvasRenderingContext2D,
  { width, height, inks, xLabel, integers }: Frame,
  x: Scale,
  y: Scale,
  logX: boolean,
  logY: boolean,
): void {
  const [left, bottom, right] = [MARGIN.left, height - MARGIN.bottom, width - MARGIN.right];
  c.font = '12px system-ui, sans-serif';
  c.fillStyle = inks.text;
  c.strokeStyle = inks.rule;
  c.lineWidth = 1;
  c.textBaseline = 'middle';
  c.textAlign = 'right';
  const rows = ticksOf(y, 5, logY);
  for (const { at, text } of rows) {
    const pixel = Math.round(at) + 0.5;
    line(c, left, pixel, right, pixel);
    c.fillText(text, left - 6, pixel);
  }
  c.textAlign = 'center';
  c.textBaseline = 'top';
  const columns = ticksOf(x, Math.max(2, Math.floor((right - left) / 80)), logX, integers);
  let free = 0;
  for (const { at, text } of columns) {
    const pixel = Math.round(at) + 0.5;
    line(c, pixel, bottom, pixel, bottom + 5);
    const half = c.measureText(text).width / 2;
    if (at - half < free || at + half > width) continue;
    c.fillText(text, pixel, bottom + 8);
    free = at + half + 8;
  }
  c.fillText(xLabel, (left + right) / 2, height - 15);
}

function ticksOf(
  scale: Scale,
  count: number,
  log: boolean,
  integers = false,
): { at: number; text: string }[] {
  // On a logarithmic axis the format is empty for labels that would be too close.
  const wanted = log ? scale.tickFormat(count, '') : String;
  return scale.ticks(count).flatMap((tick) => {
    const text = wanted(tick) === '' || (integers && !Number.isInteger(tick)) ? '' : brief(tick);
    return text === '' ? [] : [{ at: scale(tick), text }];
  });
}

/** A tick in short: 2e-5, 1.05e-3, 0.02, 1.5, 20k, 3M. */
function brief(tick: number): string {
  const size = Math.abs(tick);
  if (size > 0 && size < 0.01) return Number(tick.toPrecision(6)).toExponential();
  if (size < 1000) return String(Number(tick.toPrecision(6)));
  const power = Math.min(PREFIXES.length, Math.floor(Math.log10(size * 1.0000001) / 3));
  return `${Number((tick / 1000 ** power).toPrecision(6))}${PREFIXES[power - 1]}`;
}

const PREFIXES = ['k', 'M', 'G', 'T', 'P', 'E'];

function line(c: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
}

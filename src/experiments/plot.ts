/**
 * Line charts as SVG text, narrow enough for a phone to show their text at a readable size: the legend stands below,
 * and text is
 * larger on a narrow screen.
 */
import { scaleLinear, scaleLog } from 'd3-scale';
import { line, symbol, symbolsFill } from 'd3-shape';
import { escapeText, LARGEST, widthOf, wrapped } from './plot-text.js';

export { escapeText } from './plot-text.js';
export { seriesColor } from './style.js';

type Point = readonly [x: number, y: number];

export interface Series {
  readonly label: string;
  readonly color: string;
  readonly points: readonly Point[];
  /** Drawn thin and dashed, and left out of the legend. */
  readonly secondary?: boolean;
  /** A mark at every point. */
  readonly dots?: boolean;
  /** Marks alone, with no line between them. */
  readonly scattered?: boolean;
}

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Where the vertical axis ends, with what lies above cut off; the largest value by default. */
  readonly top?: number;
  /** Whether the legend has each curve's last value; true by default. */
  readonly lastValues?: boolean;
}

const WIDTH = 440;
const PLOT_HEIGHT = 220;
const RIGHT = 18;
/** Units between two lines of text. */
const LINE = 19;
const TITLE_SIZE = 16;
/** How much wider bold text is. */
const BOLD = 1.1;
/** Room for a mark of the legend. */
const MARK = 22;

const STYLE =
  '.plot text{fill:currentColor;font:11px system-ui,sans-serif}.plot .title{font-size:13px;font-weight:600}' +
  `@media (max-width:480px){.plot text{font-size:${LARGEST}px}.plot .title{font-size:${TITLE_SIZE}px}}` +
  '.plot .grid{stroke:#8884}.plot .tick{stroke:#888}';

/** Where the axes lie, in units of the picture. */
interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** A chart with axes, grid and a legend below; throws where a point is not finite, or there is none. */
export function lineChart(chart: Chart): string {
  const { title, xLabel, yLabel, series: given, logX = false, logY = false, lastValues = true } = chart;
  const series = given.filter((s) => s.points.length > 0);
  const points = series.flatMap((s) => s.points);
  if (points.length === 0 || !points.flat().every(Number.isFinite))
    throw new Error(`${title}: points must be finite`);
  if (logY && Math.min(...points.map((p) => p[1])) <= 0)
    throw new Error(`${title}: a logarithmic axis has no place for 0`);
  const extent = (values: number[]): [number, number] => [Math.min(...values), Math.max(...values)];
  const [low, high] = extent(points.map((p) => p[1]));
  const y = (logY ? scaleLog() : scaleLinear()).domain([low, Math.min(high, chart.top ?? high)]).nice();
  const yTicks = y.ticks(6);
  const yText = logY ? y.tickFormat(6, '~g') : y.tickFormat(6);
  const titleLines = wrapped(title, WIDTH, BOLD * TITLE_SIZE);
  const top = titleLines.length * LINE + LINE + 22;
  const left = 10 + Math.max(...yTicks.map((tick) => widthOf(yText(tick))));
  const frame: Frame = { left, right: WIDTH - RIGHT, top, bottom: top + PLOT_HEIGHT };
  y.range([frame.bottom, frame.top]);
  const x = (logX ? scaleLog() : scaleLinear())
    .domain(extent(points.map((p) => p[0])))
    .range([frame.left, frame.right]);

  const yGrid = yTicks.map((tick) => {
    const at = round(y(tick));
    const label = `<text x="${round(left - 7)}" y="${at}" dy="0.32em" text-anchor="end">${yText(tick)}</text>`;
    return `<line class="grid" x1="${round(left)}" x2="${frame.right}" y1="${at}" y2="${at}"/>${label}`;
  });
  const xText = x.tickFormat(5, '~s');
  const whole = points.every(([at]) => Number.isInteger(at));
  const xTicks = x
    .ticks(5)
    .filter((tick) => Number.isInteger(tick) || !whole)
    .map((tick) => {
      const at = round(x(tick));
      const label = `<text x="${at}" y="${frame.bottom + 20}" text-anchor="middle">${xText(tick)}</text>`;
      return `<line class="tick" x1="${at}" x2="${at}" y1="${frame.bottom}" y2="${frame.bottom + 5}"/>${label}`;
    });
  const xLines = wrapped(xLabel, frame.right - left);

  const placed = series.map((one) => ({
    ...one,
    mark: markOf(series, one),
    places: one.points.map(([a, b]): Point => [round(x(a)), round(y(b))]),
  }));
  const path = line();
  const curves = placed.map(({ color, places, secondary, dots, scattered, mark }) => {
    const width = secondary ? 'stroke-width="1.2" stroke-dasharray="4 3" opacity="0.75"' : 'stroke-width="2"';
    const drawn = scattered ? null : path(places as [number, number][]);
    const curve = drawn === null ? '' : `<path fill="none" stroke="${color}" ${width} d="${drawn}"/>`;
    const marked = dots || scattered ? places : secondary ? [] : places.slice(-1);
    return curve + marked.map((at) => drawnMark(mark, color, at)).join('');
  });
  const leaving = placed.flatMap(({ color, places }) =>
    exits(places, frame.top).map((at) => arrow(at, frame.top, color)),
  );
  const legend = legendOf(
    placed
      .filter(({ secondary }) => !secondary)
      .map(({ label, color, mark, points: own, places }) => {
        const last = lastValues ? `: ${own.at(-1)![1].toFixed(3)}` : '';
        const above = places.some(([, at]) => at < frame.top - 0.5);
        const most = Math.max(...own.map((point) => point[1])).toPrecision(3);
        return { text: `${label}${last}${above ? ` (↑ to ${most})` : ''}`, color, mark };
      }),
    frame.bottom + 42 + xLines.length * LINE,
  );
  const height = legend.bottom + (leaving.length > 0 ? LINE : 0);
  return [
    `<svg class="plot" viewBox="0 0 ${WIDTH} ${height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeText(title)}">`,
    `<style>${STYLE}</style>`,
    ...titleLines.map(
      (text, i) => `<text class="title" x="0" y="${16 + i * LINE}">${escapeText(text)}</text>`,
    ),
    `<text x="0" y="${top - 20}">${escapeText(yLabel)}</text>`,
    ...yGrid,
    ...xTicks,
    ...xLines.map((text, i) => {
      const at = `x="${frame.right}" y="${frame.bottom + 38 + i * LINE}"`;
      return `<text ${at} text-anchor="end">${escapeText(text)}</text>`;
    }),
    ...(chart.top === undefined ? curves : [...cutOff(curves, top, height), ...leaving]),
    ...legend.lines,
    ...(leaving.length > 0 ? [`<text x="0" y="${height - 8}">↑ the curve leaves the plot here</text>`] : []),
    '</svg>',
  ].join('\n');
}

/** The curves in a picture of their own, which ends where the axis does. */
function cutOff(curves: readonly string[], top: number, height: number): string[] {
  const edge = top - 4; // a line on the axis keeps its width
  const box = `y="${edge}" width="${WIDTH}" height="${height - edge}" viewBox="0 ${edge} ${WIDTH} ${height - edge}"`;
  return [`<svg ${box}>`, ...curves, '</svg>'];
}

/** Where a curve crosses the upper edge; above its last point where the whole of it lies beyond. */
function exits(places: readonly Point[], top: number): number[] {
  const above = places.map(([, y]) => y < top - 0.5);
  if (above.every((is) => is)) return [places.at(-1)![0]];
  return places.flatMap(([x, y], i) => {
    if (i === 0 || above[i] === above[i - 1]) return [];
    const [before, yBefore] = places[i - 1];
    return [before + ((x - before) * (top - yBefore)) / (y - yBefore)];
  });
}

/** An arrow that stands on the upper edge. */
function arrow(x: number, top: number, color: string): string {
  return `<path fill="${color}" d="M${round(x)},${top - 12}l-5,6h3.5v5h3v-5h3.5z"/>`;
}

/** The shape of a colour's marks, so that colour alone carries no information. */
function markOf(series: readonly Series[], { color }: Series): string {
  const colors = [...new Set(series.map((one) => one.color))];
  return symbol(symbolsFill[colors.indexOf(color) % symbolsFill.length], 42)() ?? '';
}

function drawnMark(mark: string, color: string, [x, y]: Point): string {
  return `<path fill="${color}" transform="translate(${x} ${y})" d="${mark}"/>`;
}

interface LegendEntry {
  readonly text: string;
  readonly color: string;
  readonly mark: string;
}

/** The legend in as many columns as its longest entry leaves room for, and where it ends. */
function legendOf(entries: readonly LegendEntry[], top: number): { lines: string[]; bottom: number } {
  const widest = MARK + 12 + Math.max(0, ...entries.map(({ text }) => widthOf(text)));
  const columns = Math.max(1, Math.min(entries.length, Math.floor(WIDTH / widest)));
  const lines: string[] = [];
  let y = top;
  for (const [i, { text, color, mark }] of entries.entries()) {
    const left = round(((i % columns) * WIDTH) / columns);
    const parts = wrapped(text, WIDTH / columns - MARK);
    lines.push(`<path stroke="${color}" stroke-width="2" d="M${left},${y - 5}h16"/>`);
    lines.push(drawnMark(mark, color, [left + 8, y - 5]));
    parts.forEach((part, k) => {
      lines.push(`<text x="${left + MARK}" y="${y + k * LINE}">${escapeText(part)}</text>`);
    });
    // Several columns hold entries of one line only.
    if (i % columns === columns - 1 || i === entries.length - 1) y += parts.length * LINE;
  }
  return { lines, bottom: y - LINE + 8 };
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}

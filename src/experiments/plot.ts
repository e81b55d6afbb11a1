/** Line charts as SVG text. Knows no experiment. */
import { scaleLinear, scaleLog } from 'd3-scale';
import { line } from 'd3-shape';

export interface Series {
  readonly label: string;
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Drawn thin and dashed, and left out of the legend. */
  readonly secondary?: boolean;
  /** A dot at every point. */
  readonly dots?: boolean;
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
  /** Whether the legend tells each curve's last value; true by default. */
  readonly lastValues?: boolean;
}

const WIDTH = 1040;
const HEIGHT = 440;
const MARGIN = { top: 40, right: 350, bottom: 52, left: 64 };
/** Pixels between two lines of the legend. */
const LINE = 18;

/** A colour for the i-th of many series; neighbours differ most. */
export function seriesColor(i: number): string {
  const named = ['#3b6fb6', '#d1495b', '#2e8b57', '#b8860b', '#7b4fa6', '#4a9fa8'];
  return named[i] ?? `hsl(${Math.round((i * 137.5) % 360)} 55% 45%)`;
}

/** A chart with axes, grid and a legend at the curves' ends; throws where a point is not finite, or there is none. */
export function lineChart(chart: Chart): string {
  const { title, xLabel, yLabel, series: given, logX = false, logY = false, lastValues = true } = chart;
  const series = given.filter((s) => s.points.length > 0);
  const points = series.flatMap((s) => s.points);
  if (points.length === 0 || !points.flat().every(Number.isFinite))
    throw new Error(`${title}: points must be finite`);
  if (logY && Math.min(...points.map((p) => p[1])) <= 0)
    throw new Error(`${title}: a logarithmic axis has no place for 0`);
  const extent = (values: number[]): [number, number] => [Math.min(...values), Math.max(...values)];
  const across: [number, number] = [MARGIN.left, WIDTH - MARGIN.right];
  const x = (logX ? scaleLog() : scaleLinear()).domain(extent(points.map((p) => p[0]))).range(across);
  const [low, high] = extent(points.map((p) => p[1]));
  const y = (logY ? scaleLog() : scaleLinear())
    .domain([low, Math.min(high, chart.top ?? high)])
    .range([HEIGHT - MARGIN.bottom, MARGIN.top])
    .nice();
  const path = line<readonly [number, number]>(
    (p) => round(x(p[0])),
    (p) => round(y(p[1])),
  );

  const yLabelOf = logY ? y.tickFormat(7, '~g') : y.tickFormat(7);
  const yGrid = y.ticks(7).map((tick) => {
    const at = round(y(tick));
    const text = `<text x="${MARGIN.left - 8}" y="${at}" dy="0.32em" text-anchor="end">${yLabelOf(tick)}</text>`;
    return `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}"/>${text}`;
  });
  const label = x.tickFormat(6, '~s');
  const whole = points.every(([at]) => Number.isInteger(at));
  const xTicks = x
    .ticks(6)
    .filter((tick) => Number.isInteger(tick) || !whole)
    .map((tick) => {
      const at = round(x(tick));
      const bottom = HEIGHT - MARGIN.bottom;
      const text = `<text x="${at}" y="${bottom + 20}" text-anchor="middle">${label(tick)}</text>`;
      return `<line class="tick" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 6}"/>${text}`;
    });
  const curves = series.map(({ color, points: own, secondary, dots }) => {
    const style = secondary
      ? 'stroke-width="1.2" stroke-dasharray="4 3" opacity="0.7"'
      : 'stroke-width="2.2"';
    const marks = dots
      ? own.map(([a, b]) => `<circle cx="${round(x(a))}" cy="${round(y(b))}" r="3" fill="${color}"/>`)
      : [];
    return `<path fill="none" stroke="${color}" ${style} d="${path(own) ?? ''}"/>${marks.join('')}`;
  });
  const legend = legendPlaces(
    series.filter((s) => !s.secondary),
    (s) => Math.max(MARGIN.top, y(s.points.at(-1)![1])),
  ).map(({ item, at }) => {
    const end = x(item.points.at(-1)![0]);
    const last = lastValues ? `: ${item.points.at(-1)![1].toFixed(3)}` : '';
    const text = `${item.label}${last}`;
    const height = y(item.points.at(-1)![1]);
    const dot = `<circle cx="${round(end)}" cy="${round(height)}" r="3.5" fill="${item.color}"/>`;
    return (
      (height < MARGIN.top ? '' : dot) +
      `<text x="${WIDTH - MARGIN.right + 12}" y="${round(at)}" dy="0.32em" style="fill:${item.color}" font-weight="600">${escapeText(text)}</text>`
    );
  });
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeText(title)}" font-family="system-ui, sans-serif" font-size="13">`,
    '<style>.grid{stroke:#8884;} .tick{stroke:#888;} text{fill:currentColor;}</style>',
    `<text x="${MARGIN.left}" y="20" font-size="15" font-weight="600">${escapeText(title)}</text>`,
    ...yGrid,
    ...xTicks,
    `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 10}" text-anchor="middle">${escapeText(xLabel)}</text>`,
    `<text transform="translate(16 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${escapeText(yLabel)}</text>`,
    ...(chart.top === undefined ? curves : cutOff(curves)),
    ...legend,
    '</svg>',
  ].join('\n');
}

/** The curves in a picture of their own, which ends where the axis does. */
function cutOff(curves: readonly string[]): string[] {
  const top = MARGIN.top - 4; // a line on the axis keeps its width
  return [
    `<svg y="${top}" width="${WIDTH}" height="${HEIGHT}" viewBox="0 ${top} ${WIDTH} ${HEIGHT}">`,
    ...curves,
    '</svg>',
  ];
}

/** Heights for labels near their curves' ends, at least a line apart and inside the chart. */
function legendPlaces<Item>(
  items: readonly Item[],
  height: (item: Item) => number,
): { item: Item; at: number }[] {
  const places = items.map((item) => ({ item, at: height(item) })).sort((a, b) => a.at - b.at);
  for (let i = 1; i < places.length; i++) places[i].at = Math.max(places[i].at, places[i - 1].at + LINE);
  let limit = HEIGHT - 10;
  for (const place of places.toReversed()) {
    place.at = Math.min(place.at, limit);
    limit = place.at - LINE;
  }
  return places;
}

/** Text made safe inside SVG and HTML. */
export function escapeText(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}

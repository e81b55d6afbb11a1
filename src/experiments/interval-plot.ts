/** Values with their intervals as SVG text, one below the other over one axis. */
import { scaleLinear } from 'd3-scale';
import { escapeText, LARGEST, wrapped } from './plot-text.js';

export interface IntervalRow {
  readonly label: string;
  readonly color: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

const WIDTH = 440;
const MARGIN = 18;
const TITLE = 40;
/** A row's label above its line. */
const ROW = 44;
const AXIS = 48;

const STYLE =
  '.plot text{fill:currentColor;font:11px system-ui,sans-serif}.plot .title{font-size:13px;font-weight:600}' +
  `@media (max-width:480px){.plot text{font-size:${LARGEST}px}}.plot .grid{stroke:#8884}`;

/** The rows over an axis that holds all of them and `marks`; values have so many decimals. */
export function intervalChart(
  title: string,
  xLabel: string,
  rows: readonly IntervalRow[],
  marks: readonly number[],
  decimals = 2,
): string {
  const ends = [...rows.flatMap(({ low, high }) => [low, high]), ...marks];
  const x = scaleLinear()
    .domain([Math.min(...ends), Math.max(...ends)])
    .nice()
    .range([MARGIN, WIDTH - MARGIN]);
  const place = (value: number) => Math.round(10 * x(value)) / 10;
  const bottom = TITLE + rows.length * ROW;
  const height = bottom + AXIS;
  const grid = x.ticks(6).map((tick) => {
    const line = `<line class="grid" x1="${place(tick)}" x2="${place(tick)}" y1="${TITLE}" y2="${bottom}"/>`;
    return `${line}<text x="${place(tick)}" y="${bottom + 18}" text-anchor="middle">${x.tickFormat(6)(tick)}</text>`;
  });
  const drawn = rows.map(({ label, color, value, low, high }, i) => {
    const y = TITLE + i * ROW + 30;
    const [text] = wrapped(`${label}: ${value.toFixed(decimals).replace('-', '−')}`, WIDTH - 2 * MARGIN);
    const line = `<line x1="${place(low)}" x2="${place(high)}" y1="${y}" y2="${y}" stroke="${color}" stroke-width="3"/>`;
    const words = `<text x="${MARGIN}" y="${y - 12}">${escapeText(text)}</text>`;
    return `${words}${line}<circle cx="${place(value)}" cy="${y}" r="5" fill="${color}"/>`;
  });
  return [
    `<svg class="plot" viewBox="0 0 ${WIDTH} ${height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${escapeText(title)}">`,
    `<style>${STYLE}</style>`,
    `<text class="title" x="0" y="16">${escapeText(title)}</text>`,
    ...grid,
    ...drawn,
    `<text x="${WIDTH - MARGIN}" y="${height - 10}" text-anchor="end">${escapeText(xLabel)}</text>`,
    '</svg>',
  ].join('\n');
}

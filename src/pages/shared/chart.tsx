/** Curves that grow while they are looked at, on a canvas: uPlot in the colours of the page. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { drawn } from './plot/inks.js';

export interface Curve {
  readonly label: string;
  readonly color: string;
  /** Ascending. */
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  readonly dashed?: boolean;
  readonly dots?: boolean;
}

export interface ChartProps {
  /** Says to those who do not see it what it shows. */
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly curves: readonly Curve[];
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** Pixels. */
  readonly height?: number;
  /** One sentence below it: what there is to see. */
  readonly says?: string;
}

/** A chart as wide as its place. Drag to zoom, double-click to see all; the values at the pointer stand in the legend. */
export function Chart({ title, xLabel, yLabel, curves, logX, logY, height = 260, says }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(curves);
  latest.current = curves;
  // What a plot is made with; new data alone does not make a new one.
  const shape = JSON.stringify([
    logX,
    logY,
    xLabel,
    yLabel,
    height,
    curves.map(({ label, color, dashed, dots }) => [label, color, dashed, dots]),
  ]);
  useEffect(() => {
    const element = place.current!;
    const make = () => {
      plot.current?.destroy();
      const style = getComputedStyle(element);
      const [ink, rule] = ['var(--soft)', 'var(--rule)'].map((color) => drawn(style, color));
      const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
      plot.current = new uPlot(
        {
          width: element.clientWidth,
          height,
          mode: 2,
          scales: {
            x: { time: false, distr: logX ? 3 : 1, range: wideRange },
            y: { distr: logY ? 3 : 1 },
          },
          axes: [
            { ...axis, label: xLabel, labelSize: 20, size: 34 },
            { ...axis, label: yLabel, labelSize: 20, size: 56 },
          ],
          series: [
            {},
            ...curves.map(({ label, color, dashed, dots }) => ({
              label,
              stroke: drawn(style, color),
              width: 1.6,
              ...(dashed ? { dash: [5, 4] } : {}),
              // Where each curve has its own x, uPlot does not know which of its points are in view.
              points: {
                show: dots === true,
                size: 7,
                fill: drawn(style, color),
                filter: dots ? allPoints : () => null,
              },
              facets: [
                { scale: 'x', auto: true, sorted: 1 as const },
                { scale: 'y', auto: true },
              ],
              paths: uPlot.paths.linear!(),
            })),
          ],
        } as unknown as uPlot.Options,
        dataOf(latest.current),
        element,
      );
    };
    make();
    const watched = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    watched.observe(element);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', make);
    return () => {
      watched.disconnect();
      scheme.removeEventListener('change', make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => {
    plot.current?.setData(dataOf(curves));
  }, [curves]);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} role="img" aria-label={title} />
      {says && <p class="soft">{says}</p>}
    </figure>
  );
}

/** A range that is no single point: uPlot looks for ticks there without end. */
function wideRange(_: uPlot, least: number | null, most: number | null): [number, number] {
  if (least === null || most === null) return [1, 2];
  return most > least ? [least, most] : [least, least === 0 ? 1 : least + Math.abs(least)];
}

function allPoints({ data }: uPlot, curve: number): number[] {
  const [x] = data[curve] as unknown as [ArrayLike<number>];
  return Array.from(x, (_, i) => i);
}

function dataOf(curves: readonly Curve[]): uPlot.AlignedData {
  return [null, ...curves.map(({ x, y }) => [x, y])] as unknown as uPlot.AlignedData;
}

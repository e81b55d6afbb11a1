/** A chart that stands alone: it can be zoomed and moved, and first shows everything. */
import { useState } from 'preact/hooks';
import { extentX, type PlotCurve } from './plot/plot.js';
import { ZoomableChart, type ZoomableChartProps } from './plot/zoomable-chart.js';

export type ChartProps = Pick<ZoomableChartProps, 'title' | 'xLabel' | 'unit' | 'height' | 'says'> & {
  readonly curves: readonly PlotCurve[];
};

export function Chart(props: ChartProps) {
  const [zoom, setZoom] = useState<readonly [number, number] | null>(null);
  const whole = extentX(props.curves, false);
  return (
    <ZoomableChart
      {...props}
      {...{ zoom, whole, logX: false, logY: false }}
      onZoom={setZoom}
      legend={props.curves.length > 1}
    />
  );
}

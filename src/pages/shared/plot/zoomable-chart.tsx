/**
 * A chart whose data may grow while it is shown. Drag to zoom, drag with Shift to move, turn the wheel with Ctrl to
 * zoom, double-click to see all. One finger moves, two fingers zoom. Arrow keys, +, − and 0 do the same.
 */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { short } from '../words.js';
import { firstFrom } from './decimate.js';
import { inFrame, noFrame } from './frames.js';
import { type Drawn, draw, MARGIN, type Plot, type PlotCurve } from './plot.js';
import { Pointing } from './pointing.js';
import { useInks } from './inks.js';
import './plot.css';

export interface ZoomableChartProps extends Plot {
  readonly title: string;
  /** The unit of its values, if the title does not say. */
  readonly unit?: string;
  /** An explanation below the chart. */
  readonly says?: string;
  /** Height in pixels. */
  readonly height?: number;
  readonly onZoom: (zoom: readonly [number, number] | null) => void;
  /** Formats a value. */
  readonly value?: (y: number) => string;
  /** Whether a legend names the curves. */
  readonly legend?: boolean;
}

/** Milliseconds from the last movement of the axis until the chart is drawn finely. */
const REST_MS = 160;
/** Most curves whose values are shown at the pointer. */
const MOST_VALUES = 20;

interface Hover {
  readonly pixel: number;
  readonly x: number;
  readonly values: readonly { readonly curve: PlotCurve; readonly y: number }[];
}

export function ZoomableChart(props: ZoomableChartProps) {
  const { title, says, curves, legend, value = short, height = 250 } = props;
  const place = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const now = useRef(props);
  now.current = props;
  const drawn = useRef<Drawn | null>(null);
  const movedAt = useRef(Number.NEGATIVE_INFINITY);
  const inks = useInks();
  const [hover, setHover] = useState<Hover | null>(null);
  const [selected, setSelected] = useState<readonly [number, number] | null>(null);

  const redraw = useMemo(() => {
    let rest = 0;
    const paint = () => {
      const element = canvas.current;
      const c = element?.getContext('2d');
      if (!element || !c || !place.current) return;
      const [width, { height: tall = 250 }] = [place.current.clientWidth, now.current];
      const ratio = devicePixelRatio;
      if (element.width !== Math.round(width * ratio) || element.height !== Math.round(tall * ratio)) {
        element.width = Math.round(width * ratio);
        element.height = Math.round(tall * ratio);
      }
      c.setTransform(ratio, 0, 0, ratio, 0, 0);
      const moving = performance.now() - movedAt.current < REST_MS;
      drawn.current = draw(c, width, tall, now.current, inks.current, moving);
      clearTimeout(rest);
      if (moving) rest = setTimeout(() => inFrame(paint), REST_MS);
    };
    return paint;
  }, []);

  const seen = useRef(true);
  useEffect(() => {
    const element = place.current!;
    const resized = new ResizeObserver(() => inFrame(redraw));
    resized.observe(element);
    const appears = new IntersectionObserver(([entry]) => {
      seen.current = entry.isIntersecting;
      if (entry.isIntersecting) inFrame(redraw);
    });
    appears.observe(element);
    const pointing = new Pointing(element, {
      domain: () => drawn.current?.domain ?? null,
      whole: () => now.current.whole,
      log: () => now.current.logX,
      ofX: (pixel) => drawn.current?.ofX(pixel) ?? Number.NaN,
      zoom: (to) => now.current.onZoom(to),
      select: setSelected,
      hover: (pixel) => setHover(pixel === null ? null : hoverAt(pixel, drawn.current, now.current.curves)),
    });
    return () => {
      resized.disconnect();
      appears.disconnect();
      pointing.dispose();
      noFrame(redraw);
    };
  }, []);
  const { zoom, whole, logX, logY, xLabel } = props;
  const zoomed = useRef(zoom);
  useEffect(() => {
    const moved = zoomed.current !== zoom;
    zoomed.current = zoom;
    if (!seen.current) return;
    const inHand = place.current!.matches(':hover, :focus');
    if (moved && inHand) movedAt.current = performance.now();
    if (!moved || inHand) return inFrame(redraw, inHand);
    // Charts that are not in use follow when the movement stops.
    const follows = setTimeout(() => inFrame(redraw), REST_MS);
    return () => clearTimeout(follows);
  }, [curves, zoom, whole?.[0], whole?.[1], logX, logY, xLabel, inks.scheme]);

  return (
    <figure class="chart card">
      <figcaption>
        {title} {props.unit && <span class="soft unit">{props.unit}</span>}
      </figcaption>
      {legend && (
        <ul class="legend">
          {curves
            .filter(({ faint }) => !faint)
            .map(({ label, color, dashed }) => (
              <li key={label}>
                <span
                  class={dashed ? 'swatch dashed' : 'swatch'}
                  style={dashed ? { color } : { background: color }}
                />{' '}
                {label}
              </li>
            ))}
        </ul>
      )}
      {/* biome-ignore lint/a11y/useSemanticElements: no form's fields */}
      <div
        ref={place}
        class="plot"
        role="group"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: keys move it
        tabIndex={0}
        aria-label={`${title}: arrow keys move, plus and minus zoom, 0 shows all`}
      >
        <canvas
          ref={canvas}
          role="img"
          aria-label={described(title, curves, value)}
          style={{ height: `${height}px` }}
        />
        {selected && (
          <div
            class="selected"
            style={{ left: `${Math.min(...selected)}px`, width: `${Math.abs(selected[1] - selected[0])}px` }}
          />
        )}
        {hover && (
          <Values hover={hover} xLabel={xLabel} value={value} width={place.current?.clientWidth ?? 0} />
        )}
      </div>
      {says && <p class="soft says">{says}</p>}
    </figure>
  );
}

function Values({
  hover,
  xLabel,
  value,
  width,
}: {
  hover: Hover;
  xLabel: string;
  value: (y: number) => string;
  width: number;
}) {
  const side =
    hover.pixel < width / 2 ? { left: `${hover.pixel + 12}px` } : { right: `${width - hover.pixel + 12}px` };
  return (
    <>
      <div class="cursor" style={{ left: `${hover.pixel}px` }} />
      <div class="values" style={side}>
        <div class="soft">
          {short(hover.x)} {xLabel}
        </div>
        {hover.values.slice(0, MOST_VALUES).map(({ curve, y }) => (
          <div key={curve.label}>
            <span class="swatch" style={{ background: curve.color }} /> {curve.label} <b>{value(y)}</b>
          </div>
        ))}
      </div>
    </>
  );
}

/** The values nearest to a pixel, the highest first, in the order in which the curves lie. */
function hoverAt(pixel: number, drawn: Drawn | null, curves: readonly PlotCurve[]): Hover | null {
  if (!drawn) return null;
  const x = drawn.ofX(pixel);
  const values = curves.flatMap((curve) => {
    if (curve.faint || curve.x.length === 0) return [];
    const after = Math.min(curve.x.length - 1, firstFrom(curve.x, x));
    const nearer = after > 0 && x - curve.x[after - 1] < curve.x[after] - x ? after - 1 : after;
    const y = curve.y[nearer];
    const far = Math.abs(drawn.toX(curve.x[nearer]) - pixel) > 60;
    return Number.isNaN(y) || far ? [] : [{ curve, y }];
  });
  return { pixel: Math.max(MARGIN.left, pixel), x, values: values.sort((a, b) => b.y - a.y) };
}

function described(title: string, curves: readonly PlotCurve[], value: (y: number) => string): string {
  const last = curves
    .filter(({ faint, y }) => !faint && y.length > 0)
    .slice(0, MOST_VALUES)
    .map(({ label, y }) => `${label} ${value(y[y.length - 1])}`);
  return `${title}; latest values: ${last.join(', ') || 'none yet'}`;
}

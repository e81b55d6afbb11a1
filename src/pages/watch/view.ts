/** The view of the runs, kept in the address, so that a link shows the same. */
import { AXES, type Axis } from './runs.js';

export interface View {
  readonly axis: Axis;
  readonly logX: boolean;
  readonly logY: boolean;
  /** Weight of the past in a smoothed curve; 0 for none. */
  readonly smoothing: number;
  /** Runs that are switched off. */
  readonly off: ReadonlySet<string>;
  /** The part of the axis that is shown; null for all. */
  readonly zoom: readonly [number, number] | null;
  /** The run that is shown by itself; '' for the default. */
  readonly run: string;
  /** Whether settings in which all runs agree are shown too. */
  readonly same: boolean;
}

export const WHOLE: View = {
  ...{ axis: 'tokens', logX: false, logY: false, smoothing: 0.9 },
  ...{ off: new Set<string>(), zoom: null, run: '', same: false },
};

export function viewOf(fragment: string): View {
  const given = new URLSearchParams(fragment.replace(/^#/, ''));
  const smoothing = Number(given.get('smooth') ?? WHOLE.smoothing);
  const zoom = (given.get('zoom') ?? '').split('_').map(Number);
  return {
    axis: AXES.find((axis) => axis === given.get('x')) ?? WHOLE.axis,
    logX: given.has('logx'),
    logY: given.has('logy'),
    smoothing: smoothing >= 0 && smoothing < 1 ? smoothing : WHOLE.smoothing,
    off: new Set(given.getAll('off')),
    zoom: zoom.length === 2 && zoom[0] < zoom[1] ? [zoom[0], zoom[1]] : null,
    run: given.get('run') ?? '',
    same: given.has('same'),
  };
}

/** The address's fragment for a view; empty for the initial view. */
export function fragmentOf({ axis, logX, logY, smoothing, off, zoom, run, same }: View): string {
  const parts = new URLSearchParams();
  if (axis !== WHOLE.axis) parts.set('x', axis);
  if (logX) parts.set('logx', '1');
  if (logY) parts.set('logy', '1');
  if (smoothing !== WHOLE.smoothing) parts.set('smooth', String(smoothing));
  for (const id of off) parts.append('off', id);
  if (zoom) parts.set('zoom', zoom.map((x) => String(Number(x.toPrecision(6)))).join('_'));
  if (run !== '') parts.set('run', run);
  if (same) parts.set('same', '1');
  return parts.toString();
}

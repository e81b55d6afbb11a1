/** The curves of each chart, from the runs and the view. */
import { seriesColor } from '../../experiments/style.js';
import { counted } from '../../printable.js';
import type { Column, Evaluated } from '../../watch/messages.js';
import type { PlotCurve } from '../shared/plot/plot.js';
import type { Run } from './runs.js';
import type { View } from './view.js';

export const colorOf = (run: Run) => seriesColor(run.place);

/** Most runs whose raw values are drawn behind the smoothed ones; of more runs, they could not be told apart. */
const MOST_BEHIND = 8;

type Look = Pick<View, 'axis' | 'smoothing'>;

/** A column of each run; if it is smoothed, its raw values are drawn faintly behind. */
export function columnCurves(runs: readonly Run[], name: Column, { axis, smoothing }: Look): PlotCurve[] {
  return runs.flatMap((run) => {
    const [x, y, color] = [run.x(axis), run.columns[name].values, colorOf(run)];
    if (x.length === 0 || Number.isNaN(y[y.length - 1])) return [];
    const { name: label } = run.info;
    if (smoothing === 0) return [{ label, color, x, y }];
    const smooth = { label, color, x, y: run.smoothed(name, smoothing) };
    if (runs.length > MOST_BEHIND) return [smooth];
    const behind = { label: `${label}, as it is`, color, x, y, faint: true };
    return [behind, smooth];
  });
}

/** A number of each evaluation; evaluations without it are skipped. */
export function evalCurve(
  run: Run,
  { axis }: Pick<View, 'axis'>,
  label: string,
  color: string,
  value: (found: Evaluated) => number | undefined,
): PlotCurve[] {
  const places = run.evalX(axis);
  const [x, y]: [number[], number[]] = [[], []];
  for (const [i, found] of run.evals.entries()) {
    const own = value(found);
    if (own === undefined || Number.isNaN(places[i])) continue;
    x.push(places[i]);
    y.push(own);
  }
  return x.length === 0 ? [] : [{ label, color, x, y, dots: x.length < 60 }];
}

/** A column of updates, and the same quantity on validation batches, from evaluations, dashed. */
export function withValidation(
  runs: readonly Run[],
  name: Column,
  look: Look,
  value: (found: Evaluated) => number | undefined,
): PlotCurve[] {
  const held = runs.flatMap((run) =>
    evalCurve(run, look, `${run.info.name}, validation`, colorOf(run), value),
  );
  return [...columnCurves(runs, name, look), ...held.map((curve) => ({ ...curve, dashed: true }))];
}

/** The loss on one run's validation batches, with a curve for each number of loops. */
export function loopCurves(run: Run, look: Look): PlotCurve[] {
  const counts = new Set(run.evals.flatMap(({ lossByLoops = [] }) => lossByLoops.map(({ loops }) => loops)));
  return [...counts]
    .sort((a, b) => a - b)
    .flatMap((loops, i) =>
      evalCurve(
        run,
        look,
        counted(loops, 'loop'),
        seriesColor(i),
        ({ lossByLoops }) => lossByLoops?.find((found) => found.loops === loops)?.valLoss,
      ),
    );
}

/** The mean of each gate of one run. */
export function gateCurves(run: Run, look: Look): PlotCurve[] {
  const last = run.evals.findLast(({ gates }) => gates)?.gates ?? {};
  let place = 0;
  return Object.entries(last).flatMap(([name, loops]) =>
    loops.flatMap((_, n) =>
      evalCurve(
        run,
        look,
        `${gateName(name)}loop ${n + 1}`,
        seriesColor(place++),
        ({ gates }) => gates?.[name]?.[n]?.mean,
      ),
    ),
  );
}

/**
 * The learned parts of the loops of one run, by name: the mean of each loop; for a part that all loops share, its mean,
 * least and largest value.
 */
export function partCurves(run: Run, look: Look): [name: string, PlotCurve[]][] {
  const last = run.evals.findLast(({ loopParts }) => loopParts)?.loopParts ?? {};
  return Object.entries(last).map(([name, loops]) => {
    const of = (label: string, n: number, what: 'mean' | 'min' | 'max', color = seriesColor(n)) =>
      evalCurve(run, look, label, color, ({ loopParts }) => loopParts?.[name]?.[n]?.[what]);
    if (loops.length > 1) return [name, loops.flatMap((_, n) => of(`loop ${n + 1}`, n, 'mean'))];
    const ends = [...of('least', 0, 'min'), ...of('largest', 0, 'max')];
    return [name, [...of('mean', 0, 'mean'), ...ends.map((curve) => ({ ...curve, dashed: true }))]];
  });
}

/** The root mean square of one run's state after each loop. */
export function stateCurves(run: Run, look: Look): PlotCurve[] {
  const last = run.evals.findLast(({ stateRms }) => stateRms)?.stateRms ?? [];
  return last.flatMap((_, n) =>
    evalCurve(run, look, `after loop ${n + 1}`, seriesColor(n), ({ stateRms }) => stateRms?.[n]),
  );
}

/** transformer.h.3.attn.gates → h.3 attn; the network's own gates need no name. */
function gateName(name: string): string {
  const short = name.replace(/^transformer\./, '').replace(/\.?gates?$/, '');
  return short === '' ? '' : `${short} `;
}

/** A sweep over early exits in words, tables and plots. */
import type { Block, Section } from './document.js';
import { cheapest, type CriterionSweep, type ExitPoint, type ExitSweep } from './exits.js';
import { signed } from '../printable.js';
import { lineChart, type Series, seriesColor } from './plot.js';

const REFERENCE = 'all tokens alike';
const HEADER = ['exit by', 'threshold', 'mean loops', 'loss', 'against full', 'time'];

/** All points in one table: what full depth costs, fixed loop counts, and each criterion. */
export function exitTable(sweep: ExitSweep): { header: string[]; rows: string[][] } {
  const { fixed, criteria } = sweep;
  const { loss } = fullDepth(sweep);
  const row = (first: string, point: ExitPoint) => [
    first,
    point.threshold === null ? '' : String(point.threshold),
    point.loops.toFixed(2),
    point.loss.toFixed(4),
    signed(point.loss - loss, 4),
    `${point.time.toFixed(2)}×`,
  ];
  const group = (name: string, points: readonly ExitPoint[]) =>
    points.map((point, i) => row(i === 0 ? name : '', point));
  const rows = [
    ...group(REFERENCE, [...fixed].reverse()),
    ...criteria.flatMap(({ criterion, points }) => group(criterion, points)),
  ];
  return { header: HEADER, rows };
}

/**
 * For each criterion, the threshold to take; and what takes the least time of all, which may well be fewer loops for
 * all.
 */
export function exitSentences(sweep: ExitSweep): string[] {
  const { criteria, unmeasured, tolerance, fixed } = sweep;
  const full = fullDepth(sweep);
  const good = [...fixed, ...criteria.flatMap(({ points }) => points)].filter(
    ({ loss }) => loss <= full.loss + tolerance,
  );
  const fastest = good.reduce((best, point) => (point.time < best.time ? point : best));
  const within = `within ${tolerance} nats of full depth`;
  const said = (name: string, best: ExitPoint | null) => {
    if (!best) return `${name}: nothing tried stays ${within}.`;
    const at = best.threshold === null ? '' : `threshold ${best.threshold} takes `;
    const loss = signed(best.loss - full.loss, 4);
    return `${name}: ${at}${best.loops.toFixed(2)} of ${full.loops} loops at ${loss} nats and ${inTime(best)}, the fewest ${within}.`;
  };
  return [
    ...criteria.map(({ criterion, best }) => said(criterion, best)),
    ...unmeasured.map(({ criterion, reason }) => `${criterion}: not measured, ${reason}.`),
    said(REFERENCE, cheapest(fixed, full.loss + tolerance)),
    `Least time ${within}: ${nameOf(fastest)}, ${inTime(fastest)}.`,
  ];
}

function nameOf({ criterion, threshold, loops }: ExitPoint): string {
  if (criterion === null) return `${loops} loops for all tokens alike`;
  return threshold === null ? criterion : `${criterion} at threshold ${threshold}`;
}

function inTime({ time }: ExitPoint): string {
  if (Math.abs(time - 1) <= 0.005) return 'the same time';
  return `${percent(Math.abs(time - 1))} ${time < 1 ? 'less' : 'more'} time`;
}

/** The page's sections; `facts` say what the numbers hold for. */
export function exitSections(
  sweep: ExitSweep,
  facts: readonly (readonly [name: string, value: string])[],
): Section[] {
  const { criteria } = sweep;
  return [
    {
      title: 'Which threshold',
      blocks: [
        { kind: 'list', items: exitSentences(sweep) },
        chart(
          sweep,
          'loops',
          'Loss by mean loops',
          'mean loops a token',
          'Lower is better, and further left runs fewer loops: look for curves below the grey one, which gives all tokens the same loops.',
        ),
        chart(
          sweep,
          'time',
          'Loss by time',
          'time over that of full depth, the criterion’s own cost included',
          'Lower is better, and further left takes less time: look for curves below the grey one, which gives all tokens the same loops.',
        ),
        {
          kind: 'text',
          text:
            'Times are of whole sequences at once, as texts are scored and prompts are read. A decoder saves less: it makes keys and ' +
            'values at every loop, of tokens that have left too. Full depth, timed against itself, shows how far times can be trusted.',
        },
      ],
    },
    { title: 'Every run', blocks: [{ kind: 'table', ...exitTable(sweep) }] },
    { title: 'What the criteria see at full depth', blocks: criteria.flatMap(quantileTable) },
    { title: 'How it was measured', blocks: [{ kind: 'facts', facts }] },
  ].filter(({ blocks }) => blocks.length > 0) as Section[];
}

/** Curves of all criteria; losses far above full depth, which would flatten the rest, are left out. */
function chart(sweep: ExitSweep, x: 'loops' | 'time', title: string, xLabel: string, says: string): Block {
  const full = fullDepth(sweep);
  const series: Series[] = [
    { criterion: REFERENCE, points: sweep.fixed },
    ...sweep.criteria.map(({ criterion, points }) => ({
      criterion,
      points: x === 'loops' ? [...points, full] : points,
    })),
  ].map(({ criterion, points }, i) => ({
    label: criterion,
    color: i === 0 ? 'var(--soft, #6b7280)' : seriesColor(i - 1),
    points: points
      .filter(({ loss }) => loss - full.loss <= MOST_SHOWN)
      .sort((a, b) => a.loops - b.loops)
      .map((point) => [point[x], point.loss] as const),
    dots: true,
  }));
  const svg = lineChart({ title, xLabel, yLabel: 'nats per token', series, lastValues: false });
  return { kind: 'chart', name: `exits-${x}`, title, says, svg };
}

/** Nats above full depth that a plot shows. */
const MOST_SHOWN = 0.5;

function quantileTable({ criterion, quantiles }: CriterionSweep): Block[] {
  if (quantiles.length === 0) return [];
  return [
    {
      kind: 'table',
      header: [criterion, '10 % below', 'half below', '90 % below'],
      rows: quantiles.map(({ exit, at }) => [`exit ${exit}`, ...at.map((value) => value.toPrecision(3))]),
    },
  ];
}

function fullDepth({ fixed }: ExitSweep): ExitPoint {
  return fixed[fixed.length - 1];
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

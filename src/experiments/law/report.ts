/**
 * What loops are worth, in a report: φ of all recipes with its interval, and of each the fitted curve and its
 * residuals.
 */
import { grouped, metric, signed } from '../../printable.js';
import { mean } from '../../statistics.js';
import type { Block, Section } from '../document.js';
import { withSpread } from '../group-table.js';
import { intervalChart } from '../interval-plot.js';
import { lineChart, type Series, seriesColor } from '../plot.js';
import { effectiveParameters, lossAt, TOKENS_VARY } from './law.js';
import type { MeasuredLaw } from './measured.js';
import { type CostVerdict, verdictSections } from './verdict.js';

export const LAW_TITLE = 'What one loop is worth';
const LAW = 'L = E + A·(N_once + r^φ·N_rec)^−α + B·D^−β';

/** φ of all recipes as a table, and in sentences. */
export function lawTable(laws: readonly MeasuredLaw[]): {
  header: string[];
  rows: string[][];
  outcome: string[];
} {
  const header = ['recipe', 'φ', '90 % interval', 'E', 'α', 'residuals', 'models', 'runs'];
  const rows = laws.map(({ label, undetermined, fit, models }) => {
    const runs = models.reduce((sum, { losses }) => sum + losses.length, 0);
    return [
      label,
      undetermined === null ? fit!.law.phi.toFixed(2) : 'not determined',
      fit ? rangeOf(fit) : '',
      fit ? fit.law.E.toFixed(2) : '',
      fit ? fit.law.alpha.toFixed(2) : '',
      fit ? `${(100 * fit.error).toFixed(2)} %` : '',
      String(models.length),
      String(runs),
    ];
  });
  return { header, rows, outcome: laws.map(sentence) };
}

/** The sections of a report; none of a suite that measures no law. */
export function lawSections(laws: readonly MeasuredLaw[], equalCost: readonly CostVerdict[]): Section[] {
  if (laws.length === 0) return [];
  const { header, rows, outcome } = lawTable(laws);
  const known = laws.filter(({ undetermined }) => undetermined === null);
  const intervals = known.map(({ label, fit }) => ({
    ...{ label, color: seriesColor(laws.findIndex((own) => own.label === label)) },
    ...{ value: fit!.law.phi, ...fit!.interval },
  }));
  const blocks: Block[] = [
    { kind: 'text', text: lawInWords(laws) },
    { kind: 'table', header, rows },
    { kind: 'list', items: outcome },
  ];
  if (intervals.length > 0) {
    blocks.push({
      ...{ kind: 'chart', name: 'phi', title: 'φ of each recipe, with its 90 % interval' },
      says: 'At 1 a loop is worth a block of its own, at 0 nothing; intervals that overlap much tell no difference.',
      svg: intervalChart('φ of each recipe, with its 90 % interval', 'φ', intervals, [0, 1]),
    });
  }
  return [
    { title: LAW_TITLE, blocks: [...blocks, ...laws.flatMap(curveOf)] },
    ...verdictSections(equalCost),
    ...laws.map((law) => ({ title: `The law’s residuals: ${law.label}`, blocks: residualsOf(law) })),
  ];
}

function lawInWords(laws: readonly MeasuredLaw[]): string {
  const withData = laws.some(({ fit }) => fit?.law.data);
  const { counts, ratio } = TOKENS_VARY;
  const left = `; B·D^−β is left out, since it takes ${counts} token counts, the largest ${ratio} times the smallest`;
  return (
    `${LAW}, N the parameters of blocks that are run once and of those that are looped r times${withData ? '' : left}. ` +
    'φ = 1: r loops are worth r blocks; φ = 0: they are worth one.'
  );
}

function rangeOf({ interval: { low, high } }: NonNullable<MeasuredLaw['fit']>): string {
  return `${signedNumber(low)} to ${signedNumber(high)}`;
}

const signedNumber = (x: number) => x.toFixed(2).replace('-', '−');

function sentence({ label, undetermined, fit, models }: MeasuredLaw): string {
  if (undetermined !== null) return `${label}: φ is not determined: ${undetermined}.`;
  const most = Math.max(...models.map(({ loops }) => loops));
  const worth = (phi: number) => (most ** phi).toFixed(1);
  const { law, interval } = fit!;
  const range = `${worth(interval.low)} to ${worth(interval.high)}`;
  return `${label}: a block that is run ${most} times is worth ${worth(law.phi)} blocks (${range}).`;
}

/** Losses against effective parameters, and the law’s curve for each number of tokens. */
function curveOf({ name, label, fit, undetermined, models }: MeasuredLaw): Block[] {
  if (!fit) return [];
  const { law } = fit;
  const sizes = models.map((model) => effectiveParameters(model, law.phi));
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  const curves = [...new Set(models.map(({ tokens }) => tokens))].map(
    (tokens): Series => ({
      label: `the law, ${metric(tokens)} tokens`,
      color: seriesColor(0),
      points: Array.from({ length: 50 }, (_, i) => least * (most / least) ** (i / 49)).map((size) => [
        size,
        lossAt(law, size, tokens),
      ]),
      secondary: true,
    }),
  );
  const counts = [...new Set(models.map(({ loops }) => loops))].sort((a, b) => a - b);
  const points = counts.map(
    (loops, i): Series => ({
      label: loops === 1 ? 'run once' : `looped ${loops} times`,
      color: seriesColor(i),
      points: models.flatMap((model, k) =>
        model.loops === loops ? model.losses.map((loss): [number, number] => [sizes[k], loss]) : [],
      ),
      scattered: true,
    }),
  );
  const size = undetermined === null ? `φ = ${law.phi.toFixed(2)}` : 'φ not determined';
  const title = `${label}: loss by effective parameters, ${size}`;
  const doubt = undetermined === null ? '' : ' Other values of φ than this curve’s fit as well.';
  return [
    {
      ...{ kind: 'chart', name: `law-${name}`, title },
      says: `Looped models lie on the curve of those that are run once where the law holds (dashed: the law).${doubt}`,
      svg: lineChart({
        title,
        xLabel: 'effective parameters N_once + r^φ·N_rec (logarithmic)',
        yLabel: 'nats per token',
        logX: true,
        lastValues: false,
        series: [...curves, ...points],
      }),
    },
  ];
}

function residualsOf({ fit, models }: MeasuredLaw): Block[] {
  const header = ['model', 'r', 'N_once', 'N_rec', 'tokens', 'val loss', 'effective', 'law', 'against law'];
  const rows = models.map((model) => {
    const { label, loops, once, looped, tokens, losses, loss, effectiveParameters: size } = model;
    const fitted = fit && loss !== undefined && size !== undefined;
    return [
      ...[label, String(loops), grouped(once), grouped(looped), metric(tokens), withSpread(losses)],
      ...(fitted ? [grouped(size), loss.toFixed(3), signed(mean(losses) - loss, 4)] : ['', '', '']),
    ];
  });
  return [{ kind: 'table', header, rows }];
}

/** A group's models against their baseline: a table with the spread over seeds, and its outcome in sentences. */
import { grouped, signed } from '../printable.js';
import { chanceOfSeparation, deviation, mean, verdict } from '../statistics.js';
import { type Measurements, type ModelResults, modelsOf, tokensPerSecond, turnMs } from './model-results.js';
import { type RunResult, trainingFlopsPerToken } from './result.js';
import type { SuiteGroup } from './suites.js';

const HEADER = [
  'model',
  'val loss',
  'against baseline',
  'bits/byte',
  'train loss',
  'parameters',
  'applications',
  'MFLOPs/token',
  'FLOPs ratio',
  'step ratio',
  'tokens/s',
];

/** The first model is the baseline; columns that no row fills are left out. */
export function groupTable(
  group: SuiteGroup,
  found: ReadonlyMap<string, ModelResults>,
): { header: string[]; rows: string[][]; outcome: string[] } {
  const baseline = found.get(group.baseline);
  const members = [group.baseline, ...group.others].flatMap((name) => found.get(name) ?? []);
  const rows = members.map((model) => tableRow(model, baseline));
  const used = HEADER.map((_, column) => column === 0 || rows.some((row) => row[column] !== ''));
  const keep = (row: readonly string[]) => row.filter((_, column) => used[column]);
  const outcome = baseline
    ? members.filter((model) => model !== baseline).map((model) => sentence(model, baseline))
    : [];
  return { header: keep(HEADER), rows: rows.map(keep), outcome };
}

const losses = ({ runs }: ModelResults) => runs.map(({ valLoss }) => valLoss);

function tableRow(model: ModelResults, baseline: ModelResults | undefined): string[] {
  const [{ cost, config, meanSteps }] = model.runs;
  const flops = trainingFlopsPerToken(config);
  const speed = tokensPerSecond(model);
  const other = baseline && baseline !== model ? baseline : null;
  const [ms, otherMs] = [turnMs(model), other && turnMs(other)];
  const { difference, word } = verdict(losses(model), other ? losses(other) : losses(model));
  const bits = model.runs.map(({ bpb }) => bpb).filter((bpb) => bpb !== null);
  const steps = meanSteps === null ? '' : ` (${mean(model.runs.map((r) => r.meanSteps!)).toFixed(2)} steps)`;
  return [
    model.label,
    withSpread(losses(model)),
    other ? `${signed(difference)}, ${word}` : '',
    bits.length > 0 ? withSpread(bits) : '',
    withSpread(model.runs.map(({ trainLoss }) => trainLoss)),
    grouped(cost.parameters.total),
    `${cost.applications}${steps}`,
    (flops / 1e6).toFixed(2),
    other ? `${(flops / trainingFlopsPerToken(other.runs[0].config)).toFixed(2)}×` : '',
    ms && otherMs ? `${(ms / otherMs).toFixed(2)}×` : '',
    grouped(speed),
  ];
}

/** The losses that a paper reports of the models; null if it reports none. They are of its own text and tokens. */
export function paperTable(
  models: readonly ModelResults[],
): { title: string; header: string[]; rows: string[][] } | null {
  const rows = models.flatMap(({ label, paper }) =>
    paper ? [[label, paper.valLoss.toFixed(2), paper.trainLoss?.toFixed(2) ?? '–']] : [],
  );
  const title = 'The paper’s losses, on GPT-2’s tokens of OpenWebText: not to be compared with those above';
  return rows.length === 0 ? null : { title, header: ['model', 'val loss', 'train loss'], rows };
}

function sentence(model: ModelResults, baseline: ModelResults): string {
  const { difference, word } = verdict(losses(model), losses(baseline));
  const by = `${Math.abs(difference).toFixed(3)} nats`;
  const runs = `${model.runs.length} and ${baseline.runs.length} seeds`;
  switch (word) {
    case 'one seed':
      return `${model.label}: ${signed(difference)} nats against ${baseline.label}; one seed says nothing about chance.`;
    case 'inside the spread':
      return `${model.label} and ${baseline.label} differ by ${by}, which is inside the seeds’ spread (${runs}).`;
    default:
      return (
        `${model.label} is ${word} than ${baseline.label} by ${by}, with every seed (${runs}; ` +
        `of equal models one pair in ${Math.round(1 / chanceOfSeparation(model.runs.length, baseline.runs.length))} would look so).`
      );
  }
}

/** Mean ± standard deviation over seeds. */
export function withSpread(values: readonly number[]): string {
  const std = deviation(values);
  return mean(values).toFixed(3) + (std === null ? '' : ` ± ${std.toFixed(3)}`);
}

/** The groups as tables for a terminal, and the paper's losses. */
export function terminalTables(
  results: readonly RunResult[],
  measurements: Measurements,
): {
  groups: { title: string; header: string[]; rows: string[][]; outcome: string[] }[];
  paper: ReturnType<typeof paperTable>;
} {
  const models = modelsOf(results, measurements);
  const found = new Map(models.map((model) => [model.name, model]));
  const groups = measurements.suite.groups
    .map((group) => ({ title: group.title, ...groupTable(group, found) }))
    .filter(({ rows }) => rows.length > 0);
  return { groups, paper: paperTable(models) };
}

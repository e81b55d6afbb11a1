/** The report of a comparison: tables against baselines with their spread over seeds, and the plots. Knows no file. */
import { averagesExits, exitCount } from '../models/config.js';
import type { Halting } from './analysis.js';
import type { Block, Section } from './document.js';
import { type Chart, lineChart, seriesColor } from './plot.js';
import { type RunResult, trainingFlopsPerToken } from './result.js';
import { chanceOfSeparation, deviation, mean, verdict } from '../statistics.js';
import type { Suite, SuiteGroup } from './suites.js';
import type { Timing } from './timing.js';

export interface ReportContext {
  readonly suite: Suite;
  /** What the numbers hold for: corpus, machine, commit … */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Steps measured side by side; empty where they were not. */
  readonly timings: readonly Timing[];
  /** What is missing, in sentences: runs that failed or have not been made yet. */
  readonly missing: readonly string[];
  /** A token's text, for lists of tokens. */
  readonly tokenText: (id: number) => string;
}

/** A model's finished runs. */
interface ModelResults {
  readonly name: string;
  readonly label: string;
  readonly color: string;
  readonly runs: readonly RunResult[];
  readonly timing: Timing | null;
  readonly paper: { readonly trainLoss?: number; readonly valLoss: number } | undefined;
}

/** The report's sections. */
export function reportSections(results: readonly RunResult[], context: ReportContext): Section[] {
  const models = modelsOf(results, context);
  const found = new Map(models.map((model) => [model.name, model]));
  const sections: Section[] = [
    ...context.suite.groups.map((group) => groupSection(group, found)),
    {
      title: 'Missing',
      blocks: context.missing.length > 0 ? [{ kind: 'list', items: context.missing }] : [],
    },
    learningSection(models),
    ...loopSections(models),
    ...haltingSections(models, context),
    sampleSection(models, context.suite.prompt),
    { title: 'How it was measured', blocks: [{ kind: 'facts', facts: context.facts }] },
  ];
  return sections.filter(({ blocks }) => blocks.length > 0);
}

function modelsOf(results: readonly RunResult[], { suite, timings }: ReportContext): ModelResults[] {
  return suite.models.flatMap(({ name, label, paper }, i) => {
    const runs = results.filter((result) => result.name === name);
    const timing = timings.find((t) => t.name === name) ?? null;
    return runs.length > 0 ? [{ name, label, color: seriesColor(i), runs, timing, paper }] : [];
  });
}

// ---- tables ------------------------------------------------------------------------------------------------------

const HEADER = [
  'model',
  'parameters',
  'applications',
  'train loss',
  'val loss',
  'against baseline',
  'bits/byte',
  'MFLOPs per token',
  'FLOPs ratio',
  'step ratio',
  'tokens/s',
  'paper: train',
  'val',
];

/** A group's table, and its outcome in sentences. */
function groupSection(group: SuiteGroup, found: ReadonlyMap<string, ModelResults>): Section {
  const { header, rows, outcome } = groupTable(group, found);
  if (rows.length === 0) return { title: group.title, blocks: [] };
  return {
    title: group.title,
    blocks: [
      { kind: 'table', header, rows },
      { kind: 'list', items: outcome },
    ],
  };
}

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
export const grouped = (n: number) => Math.round(n).toLocaleString('en-US');

function tableRow(model: ModelResults, baseline: ModelResults | undefined): string[] {
  const [{ cost, config, meanSteps }] = model.runs;
  const flops = trainingFlopsPerToken(config);
  const speed = tokensPerSecond(model);
  const other = baseline && baseline !== model ? baseline : null;
  const ratio =
    other?.timing && model.timing ? model.timing.stepMs.median / other.timing.stepMs.median : null;
  const { difference, word } = verdict(losses(model), other ? losses(other) : losses(model));
  const bits = model.runs.map(({ bpb }) => bpb).filter((bpb) => bpb !== null);
  const steps = meanSteps === null ? '' : ` (${mean(model.runs.map((r) => r.meanSteps!)).toFixed(2)} steps)`;
  return [
    model.label,
    grouped(cost.parameters.total),
    `${cost.applications}${steps}`,
    withSpread(model.runs.map(({ trainLoss }) => trainLoss)),
    withSpread(losses(model)),
    other ? `${signed(difference)}, ${word}` : '',
    bits.length > 0 ? withSpread(bits) : '',
    (flops / 1e6).toFixed(2),
    other ? `${(flops / trainingFlopsPerToken(other.runs[0].config)).toFixed(2)}×` : '',
    ratio === null ? '' : `${ratio.toFixed(2)}×`,
    grouped(speed),
    model.paper?.trainLoss?.toFixed(2) ?? '',
    model.paper?.valLoss.toFixed(2) ?? '',
  ];
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

function signed(x: number): string {
  return `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`;
}

/** From steps in turns; from the trainings themselves where those were not measured. */
function tokensPerSecond({ timing, runs }: ModelResults): number {
  if (timing) return timing.tokensPerSecond;
  const [{ config, stepMs }] = runs;
  const { batchSize, gradAccumSteps } = config.train;
  return (batchSize * gradAccumSteps * config.model.blockSize * 1000) / stepMs;
}

// ---- plots -------------------------------------------------------------------------------------------------------

function chart(name: string, what: Chart): Block {
  return { kind: 'chart', name, title: what.title, svg: lineChart(what) };
}

/** The mean over seeds of a curve, point by point. */
function meanCurve({ runs }: ModelResults, y: (run: RunResult) => readonly number[]): number[] {
  const length = Math.min(...runs.map((run) => y(run).length));
  // What was not finite has become null in the file.
  return Array.from({ length }, (_, i) => mean(runs.map((run) => y(run)[i] ?? Number.NaN)));
}

function learningSection(models: readonly ModelResults[]): Section {
  const curves = (x: (model: ModelResults, tokens: number) => number, withTrain: boolean) =>
    models.flatMap((model) => {
      const steps = model.runs[0].curve;
      const end = steps.at(-1)!.step;
      const points = (loss: 'valLoss' | 'trainLoss') => {
        const values = meanCurve(model, (run) => run.curve.map((point) => point[loss]));
        return steps
          .map((point, i) => [x(model, point.tokensSeen), values[i], point.step] as const)
          .filter(([, y, step]) => Number.isFinite(y) && step >= end / 10) // the steep beginning would flatten everything after it
          .map(([a, b]) => [a, b] as const);
      };
      const { label, color } = model;
      const val = { label, color, points: points('valLoss') };
      return withTrain ? [val, { label, color, points: points('trainLoss'), secondary: true }] : [val];
    });
  const few = models.length <= 6;
  const what = few ? 'Validation loss (solid) and training loss (dashed)' : 'Validation loss';
  const yLabel = 'nats per token';
  const share = { yLabel };
  return {
    title: 'Learning',
    blocks:
      models.length === 0
        ? []
        : [
            chart('loss-tokens', {
              ...share,
              title: `${what}, on fixed batches, by tokens`,
              xLabel: 'tokens seen',
              series: curves((_, tokens) => tokens, few),
            }),
            chart('loss-flops', {
              ...share,
              title: 'Validation loss by compute',
              xLabel: 'training FLOPs (logarithmic)',
              logX: true,
              series: curves((m, tokens) => tokens * trainingFlopsPerToken(m.runs[0].config), false),
            }),
            chart('loss-time', {
              ...share,
              title: 'Validation loss by time, at the measured tokens a second',
              xLabel: 'seconds (logarithmic)',
              logX: true,
              series: curves((m, tokens) => tokens / tokensPerSecond(m), false),
            }),
          ],
  };
}

/** Points (1, y₁), (2, y₂) … */
const numbered = (values: readonly number[]) =>
  values.map((y, i) => [i + 1, y] as const).filter(([, y]) => Number.isFinite(y));

function loopSections(models: readonly ModelResults[]): Section[] {
  const series = (y: (run: RunResult) => readonly number[]) =>
    models
      .map((model) => ({
        label: model.label,
        color: model.color,
        points: numbered(meanCurve(model, y)),
        dots: true,
      }))
      .filter(({ points }) => points.length > 1);
  const blocks: Block[] = [];
  const add = (
    name: string,
    title: string,
    xLabel: string,
    yLabel: string,
    drawn: Chart['series'],
    scale: Pick<Chart, 'logY' | 'top'> = {},
  ) => {
    if (drawn.length > 0) blocks.push(chart(name, { title, xLabel, yLabel, series: drawn, ...scale }));
  };
  // One network far from its trained count must not press all others into a line.
  const losses = models.map((model) => mean(model.runs.map(({ valLoss }) => valLoss)));
  const top = Math.max(...losses) + 0.5;
  add(
    'loss-loops',
    'Validation loss by the loops, steps or layers that are run',
    'loops',
    'nats per token',
    series((run) => run.analysis.lossByLoops.map(({ loss }) => loss)),
    { top },
  );
  add(
    'sharpening',
    'How the prediction sharpens: loss when the head reads each exit’s state',
    'exit',
    'nats per token',
    series((run) => run.analysis.lossByExit),
    { top },
  );
  add(
    'gates',
    'Learned gates by loop: mean over channels',
    'loop',
    'gate',
    models.flatMap((model) => {
      const names = Object.keys(model.runs[0].analysis.gates);
      return names.map((gate) => {
        const short = gate.replace('transformer.', '').replace(/\.?gates$/, '');
        return {
          label: short === '' ? model.label : `${model.label}, ${short}`,
          color: model.color,
          points: numbered(meanCurve(model, (run) => run.analysis.gates[gate].map((g) => g.mean))),
          dots: true,
          secondary: short !== '' && names.length > 1 && names.includes('transformer.gates'),
        };
      });
    }),
  );
  add(
    'change',
    'Change of the hidden state in each step: relative norm',
    'step',
    '‖s_n − s_(n−1)‖ / ‖s_(n−1)‖',
    // Once all tokens have halted nothing changes.
    series((run) => run.analysis.change.map(({ relative }) => (relative > 0 ? relative : Number.NaN))),
    { logY: true },
  );
  add(
    'cosine',
    'Direction of the hidden state: cosine with the one before',
    'step',
    'cosine',
    series((run) => run.analysis.change.map(({ cosine }) => cosine)),
  );
  return [{ title: 'From loop to loop', blocks }];
}

function haltingSections(models: readonly ModelResults[], { tokenText }: ReportContext): Section[] {
  const halting = models.filter(({ runs }) => runs[0].analysis.halting !== null);
  if (halting.length === 0) return [];
  const of = (model: ModelResults): Halting => model.runs[0].analysis.halting!;
  /** Percentages of tokens that halt after step 1, 2 …, over all seeds. */
  const shares = ({ runs }: ModelResults): number[] => {
    const counts = runs.map(({ analysis }) => analysis.halting!.stepCounts);
    const all = counts.flat().reduce((sum, n) => sum + n, 0);
    return Array.from({ length: exitCount(runs[0].config.model) }, (_, step) => {
      const halted = counts.reduce((sum, own) => sum + (own[step] ?? 0), 0);
      return (100 * halted) / all;
    });
  };
  const rows = halting.map((model) => {
    const steps = mean(model.runs.map(({ meanSteps }) => meanSteps!));
    const saved = model.timing?.skippingRatio ?? null;
    return [
      model.label,
      steps.toFixed(2),
      shares(model)
        .map((share) => `${Math.round(share)} %`)
        .join(', '),
      saved === null ? '–' : saved.toFixed(2),
    ];
  });
  const curves = halting.flatMap((model) => {
    const { curve, meanSteps, loss: own } = of(model);
    const { lossByExit, lossByLoops } = model.runs[0].analysis;
    const fixed = lossByLoops.slice(0, lossByExit.length).map(({ loops, loss }) => [loops, loss] as const);
    const halted =
      curve.length > 1
        ? [...curve].sort((a, b) => a.steps - b.steps).map(({ steps, loss }) => [steps, loss] as const)
        : [[meanSteps, own] as const];
    const { label, color } = model;
    return [
      { label, color, points: halted, dots: true },
      // ACT averages its exits, so that its loss at a fixed depth is no other thing.
      ...(averagesExits(model.runs[0].config.model)
        ? []
        : [{ label, color, points: fixed, secondary: true }]),
    ];
  });
  const lists = halting.map((model): Block => {
    const name = (tokens: Halting['most']) =>
      tokens
        .map(({ id, meanSteps }) => `${JSON.stringify(tokenText(id))} ${meanSteps.toFixed(2)}`)
        .join(', ');
    const { most, least } = of(model);
    return { kind: 'list', items: [`${model.label}: most steps ${name(most)}`, `fewest ${name(least)}`] };
  });
  return [
    {
      title: 'Tokens that halt early',
      blocks: [
        {
          kind: 'table',
          header: ['model', 'mean steps', 'tokens with 1, 2, … steps', 'time of skipping / masking'],
          rows,
        },
        chart('steps', {
          title: 'Histogram of steps: share of tokens that halt after each',
          xLabel: 'steps',
          yLabel: '% of tokens',
          lastValues: false,
          series: halting.map((model) => {
            const { label, color } = model;
            return { label, color, points: numbered(shares(model)), dots: true };
          }),
        }),
        chart('halting', {
          title: 'Loss by mean steps: halting (solid), every token at the same depth (dashed)',
          xLabel: 'mean steps a token',
          yLabel: 'nats per token',
          lastValues: false,
          series: curves,
        }),
        { kind: 'text', text: 'Input tokens by their mean steps, first seed, of those that occur often:' },
        ...lists,
      ],
    },
  ];
}

function sampleSection(models: readonly ModelResults[], prompt: string): Section {
  return {
    title: 'Samples',
    blocks: models
      .filter(({ runs }) => runs[0].sample !== '')
      .map(({ label, runs }) => ({ kind: 'quote', title: label, lead: prompt, text: runs[0].sample })),
  };
}

/** The groups as tables for a terminal. */
export function terminalTables(
  results: readonly RunResult[],
  context: ReportContext,
): { title: string; header: string[]; rows: string[][]; outcome: string[] }[] {
  const found = new Map(modelsOf(results, context).map((model) => [model.name, model]));
  return context.suite.groups
    .map((group) => ({ title: group.title, ...groupTable(group, found) }))
    .filter(({ rows }) => rows.length > 0);
}

/** The report of a comparison in sections: the groups' tables, the plots, what halts early, samples. */
import { averagesExits, exitCount } from '../models/config.js';
import type { Halting } from './analysis.js';
import type { Block, Section } from './document.js';
import { type Chart, lineChart } from './plot.js';
import { groupTable, paperTable } from './group-table.js';
import { measureLaws } from './law/measured.js';
import { lawSections } from './law/report.js';
import { verdicts } from './law/verdict.js';
import { type Measurements, type ModelResults, modelsOf, tokensPerSecond } from './model-results.js';
import { type CurvePoint, type RunResult, trainingFlopsPerToken } from './result.js';
import { mean } from '../statistics.js';
import type { SuiteGroup } from './suites.js';

export interface ReportContext extends Measurements {
  /** The conditions of the numbers: corpus, machine, commit … */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Gaps and notices, in sentences: runs that failed or have not been made yet, losses of different texts. */
  readonly missing: readonly string[];
  /** A token's text, for lists of tokens. */
  readonly tokenText: (id: number) => string;
}

/** What there is to see in each plot, whatever it shows. */
const SAYS = {
  'loss-tokens':
    'Lower is better: compare the curves at the same number of tokens, and see at the right end whether they still fall.',
  'loss-flops':
    'At one place from left to right all models have spent the same compute on training: the lowest curve there makes the most of it.',
  'loss-time':
    'At one place from left to right all models have trained for the same time on this machine: the lowest curve there makes the most of it.',
  'loss-loops':
    'Each curve is one trained model, run with fewer or more loops: look for its lowest point, and for how fast it rises away from there.',
  sharpening:
    'Where a curve falls steeply, a further exit improves the prediction much; where it is flat, it adds little.',
  gates:
    'A gate multiplies what a loop adds to the hidden state: at 0 the loop adds nothing, and a curve that is not flat tells loops apart.',
  'loop-parts':
    'What injection and streams have learned, loop by loop: a curve that is not flat tells loops apart.',
  'state-rms':
    'How large the hidden state is after each step: a curve that climbs steeply may end in spikes of the loss.',
  change:
    'How far a step moves the hidden state, against its length: look whether later steps still move it.',
  cosine: 'At 1 a step leaves the direction of the hidden state as it was; the lower, the more it turns.',
  steps:
    'How many of 100 tokens stop after each step: one high point means that nearly all stop alike, a broad curve that they differ.',
  halting:
    'Where a solid curve lies below its dashed one, stopping token by token loses less than the same depth for all.',
} as const;

/** The report's sections. */
export function reportSections(results: readonly RunResult[], context: ReportContext): Section[] {
  const models = modelsOf(results, context);
  const found = new Map(models.map((model) => [model.name, model]));
  const sections: Section[] = [
    ...lawSections(measureLaws(context.suite, results), verdicts(context.suite.law, models)),
    ...context.suite.groups.map((group) => groupSection(group, found)),
    ...paperSection(models),
    {
      title: 'Notes',
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

function paperSection(models: readonly ModelResults[]): Section[] {
  const paper = paperTable(models);
  if (!paper) return [];
  const { title, header, rows } = paper;
  return [{ title, blocks: [{ kind: 'table', header, rows }] }];
}

function chart(name: keyof typeof SAYS, what: Chart): Block {
  return { kind: 'chart', name, title: what.title, says: SAYS[name], svg: lineChart(what) };
}

/** The mean over seeds of a curve, point by point. */
function meanCurve({ runs }: ModelResults, y: (run: RunResult) => readonly number[]): number[] {
  const length = Math.min(...runs.map((run) => y(run).length));
  // What was not finite has become null in the file.
  return Array.from({ length }, (_, i) => mean(runs.map((run) => y(run)[i] ?? Number.NaN)));
}

function learningSection(models: readonly ModelResults[]): Section {
  const curves = (x: (model: ModelResults, point: CurvePoint) => number, withTrain: boolean, least = 0) =>
    models.flatMap((model) => {
      const steps = model.runs[0].curve;
      const end = steps.at(-1)!.step;
      // The steep beginning would flatten everything after it; of few points none can be spared.
      const from = steps.filter(({ step }) => step >= end / 10).length < 3 ? least : end / 10;
      const points = (loss: 'valLoss' | 'trainLoss') => {
        const values = meanCurve(model, (run) => run.curve.map((point) => point[loss]));
        return steps
          .map((point, i) => [x(model, point), values[i], point.step] as const)
          .filter(([, y, step]) => Number.isFinite(y) && step >= from)
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
              series: curves((_, point) => point.tokensSeen, few),
            }),
            chart('loss-flops', {
              ...share,
              title: 'Validation loss by compute',
              xLabel: 'training FLOPs (logarithmic)',
              logX: true,
              series: curves(computeUntil, false, 1),
            }),
            chart('loss-time', {
              ...share,
              title: 'Validation loss by time, at the measured tokens a second',
              xLabel: 'seconds (logarithmic)',
              logX: true,
              series: curves((m, { tokensSeen, step }) => tokensSeen / tokensPerSecond(m, step), false, 1),
            }),
          ],
  };
}

/** FLOPs of training up to a point of a curve, with the loops that a schedule has run by then. */
function computeUntil({ runs: [{ config }] }: ModelResults, { tokensSeen, step }: CurvePoint): number {
  return tokensSeen * trainingFlopsPerToken(config, step);
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
    name: keyof typeof SAYS,
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
    'loop-parts',
    'Parts of the loops by loop: mean over channels or streams',
    'loop',
    'value',
    models.flatMap((model) =>
      Object.entries(model.runs[0].analysis.loopParts ?? {})
        .filter(([, loops]) => loops.length > 1)
        .map(([part]) => ({
          label: `${model.label}, ${part}`,
          color: model.color,
          points: numbered(meanCurve(model, (run) => run.analysis.loopParts![part].map((p) => p.mean))),
          dots: true,
          secondary: true,
        })),
    ),
  );
  const carried = models.flatMap((model) => {
    const found = model.runs.flatMap((run) => run.analysis.loopParts?.['carry-over'] ?? []);
    if (found.length === 0) return [];
    const [least, most] = [Math.min(...found.map((p) => p.min)), Math.max(...found.map((p) => p.max))];
    const average = mean(found.map((p) => p.mean)).toFixed(3);
    const range = `${least.toFixed(3)} to ${most.toFixed(3)} over channels`;
    return [`${model.label}: before each loop a channel carries ${average} of the state over, ${range}`];
  });
  if (carried.length > 0) blocks.push({ kind: 'list', items: carried });
  add(
    'state-rms',
    'Size of the hidden state after each step: root mean square',
    'step',
    'root mean square',
    series((run) => run.analysis.stateRms ?? []),
    { logY: true },
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
          title: 'Share of tokens that halt after each step',
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

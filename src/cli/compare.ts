/** `loopnn compare`: trains the models of a suite on the same tokens and sets them side by side. */
import { type Command, Option } from 'commander';
import type { ComparisonEvent } from '../experiments/comparison-events.js';
import { type Entrant, isPilot } from '../experiments/entrants.js';
import { terminalTables } from '../experiments/group-table.js';
import { type MeasuredLaw, measureLaws } from '../experiments/law/measured.js';
import { onlyRecipes } from '../experiments/law/models.js';
import { LAW_TITLE, lawTable } from '../experiments/law/report.js';
import { type CostVerdict, verdicts, verdictTable } from '../experiments/law/verdict.js';
import { modelsOf } from '../experiments/model-results.js';
import { planComparison } from '../experiments/plan.js';
import { RemainingWork } from '../experiments/remaining.js';
import type { ReportContext } from '../experiments/report.js';
import { type RunResult, trainingFlopsPerToken } from '../experiments/result.js';
import { describeFields, SCALES, type Scale, type Suite } from '../experiments/suites.js';
import type { IntegerType } from '../formats/integers.js';
import { worseThanGuessing } from '../evaluate/evaluation.js';
import type { BackendName } from '../node/backend.js';
import { nodeClock } from '../node/store.js';
import { compareModels, limited } from '../operations/compare.js';
import { type ComparisonPlan, planModels } from '../operations/plan.js';
import { findSuite, suiteNames } from '../operations/suites.js';
import type { TrainConfig } from '../train/config.js';
import type { Peers } from '../train/peers.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
import { names, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { interruptible } from './interrupt.js';
import { evalLoopsOption, watched, watchOption } from './watched.js';
import { duration, grouped, metric, notice, paragraph, Progress, printResult, table } from './output.js';
import { Preparing } from './prepare.js';
import { backendOption, precisionOption } from './runtime.js';
import { together } from './together.js';
import { TrainingProgress } from './training.js';

interface CompareFlags {
  readonly suite?: string;
  readonly scale: Scale;
  readonly seeds?: number;
  readonly recipes?: readonly string[];
  readonly maxSteps?: number;
  readonly data?: string;
  readonly dtype?: IntegerType;
  readonly out?: string;
  readonly backend?: BackendName;
  readonly precision: TrainConfig['precision'];
  readonly evalLoops?: readonly number[];
  readonly watch?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

export function compareCommand(program: Command): void {
  const precision = precisionOption();
  precision.description = 'operands of matrix products; auto is the precision that the comparison began with';
  const command = program
    .command('compare')
    .usage('[options] <suite>')
    .description('train the models of a suite on the same tokens and compare them')
    .argument(
      '[suite]',
      `${suiteNames().join(', ')}; or a file of your own, such as an edited copy of one in presets/suites`,
    )
    .addOption(new Option('--suite <name>', 'the suite, as a flag').hideHelp())
    .addOption(
      new Option(
        '--scale <name>',
        'full reads the suite’s section full: in built-in suites, the paper’s sizes on --data',
      )
        .choices(SCALES)
        .default('mini'),
    )
    .option('--seeds <k>', 'runs of each model; the suite’s number by default', wholeNumber(1))
    .option(
      '--recipes <names>',
      'train only these recipes of a suite that measures what loops are worth, such as plain,stable',
      names,
    )
    .option('--max-steps <n>', 'steps of every run, in place of the suite’s budget', wholeNumber(1))
    .option('--data <path>', `tokens in place of the suite’s, such as OpenWebText’s: ${DATA_SOURCES}`)
    .addOption(dtypeOption())
    .option(
      '--out <dir>',
      'folder for the data, the runs and the report, which all processes share; a stopped comparison continues there (required without --dry-run)',
    )
    .option(
      '--dry-run',
      'only report what the comparison takes: runs, steps, FLOPs, and hours on this machine',
    )
    .addOption(backendOption())
    .addOption(precision)
    .addOption(evalLoopsOption())
    .addOption(watchOption())
    .option('--json', 'print one JSON document at the end')
    .addHelpText(
      'after',
      examples('npx loopnn compare demo --out runs/demo', 'npx loopnn compare paper-1 --dry-run'),
    );
  command.action((suite: string | undefined, flags: CompareFlags) => {
    const named = suite ?? flags.suite;
    if (named === undefined) return command.error("error: missing required argument 'suite'");
    if (flags.out === undefined && !flags.dryRun) {
      return command.error("error: required option '--out <dir>' not specified");
    }
    if (flags.dryRun) return interruptible((signal) => planned(named, flags, signal));
    return together((peers) => interruptible((signal) => runComparison(named, flags, peers, signal)));
  });
}

function suiteOf(name: string, scale: Scale, recipes: readonly string[] | undefined): Suite {
  const suite = findSuite(name, scale);
  return recipes ? onlyRecipes(suite, recipes) : suite;
}

async function runComparison(
  name: string,
  flags: CompareFlags,
  peers: Peers | null,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const { json, scale, out: _out, recipes, watch, dryRun: _, ...options } = flags;
  const out = flags.out!;
  const suite = suiteOf(name, scale, recipes);
  const seeds = flags.seeds ?? suite.seeds;
  await using _page = await watched(watch, out, peers);
  const show = new ComparisonProgress(limited(suite, flags.maxSteps), seeds);
  const preparing = new Preparing();
  let timing: Progress | null = null;
  const comparison = await compareModels({
    ...options,
    suite,
    out,
    command: commandLine(name, flags, seeds),
    signal,
    ...(peers ? { peers } : {}),
    onEvent: (event) => show.event(event),
    onPrepare: preparing.onProgress,
    onPrepared: preparing.end,
    onTiming: (done, of) => {
      show.clear();
      timing ??= new Progress('timing steps in turns');
      timing.update(done / of, `step ${done}/${of}`);
    },
    onNotice: notice,
  });
  show.clear();
  (timing as Progress | null)?.clear();
  if (comparison.failed) process.exitCode = 1;
  const { document, context, report } = comparison;
  const { results, missing } = document;
  printResult(json === true, document, () => {
    const samples = suite.name === 'demo' ? results : [];
    const took = duration((performance.now() - started) / 1000);
    return [
      '',
      ...renderTables(results, context),
      '',
      ...samples.flatMap((r) => [`${r.label}:`, ...indented(`${suite.prompt}${r.sample}`), '']),
      ...missing,
      ...(comparison.stopped ? ['the same command continues the comparison'] : []),
      report === null ? 'no run is finished yet' : `report: ${report}  (${took})`,
    ];
  });
}

async function planned(name: string, flags: CompareFlags, signal: AbortSignal): Promise<void> {
  const { json, scale, out = '', recipes, watch: _watch, dryRun: _, ...options } = flags;
  const suite = suiteOf(name, scale, recipes);
  const progress = new Progress('timing a few steps');
  const onModel = (done: number, of: number) => progress.update(done / of, `model ${done + 1}/${of}`);
  const plan = await planModels({ ...options, suite, out, signal, onModel, onNotice: notice });
  progress.clear();
  printResult(json === true, { suite: suite.name, scale, ...plan }, () => renderPlan(suite, plan));
}

/** A plan as a table, with its sums. */
export function renderPlan(
  suite: Suite,
  { models, runs, pilots, flops, heldOutTokens, seconds, backend }: ComparisonPlan,
): string[] {
  const header = ['model', 'hours', 'FLOPs', 'tokens', 'runs', 'steps per run', 'pilots'];
  const hours = (s: number) => (s / 3600).toFixed(s < 36_000 ? 2 : 0);
  const rows = models.map((model) => [
    model.label,
    hours(model.seconds),
    metric(model.flops),
    metric(model.tokens),
    String(model.runs),
    grouped(model.steps),
    String(model.pilots),
  ]);
  const chosen = pilots === 0 ? '' : ` and ${pilots} pilots`;
  const scoring =
    heldOutTokens === null
      ? 'evaluations; without each run’s score on the held-out text, whose size is not known yet'
      : `evaluations and each run’s score on about ${metric(heldOutTokens).trim()} held-out tokens`;
  const notes = [
    `hours, FLOPs, tokens: of ${pilots === 0 ? 'all runs' : 'all runs and pilots'} of a model together`,
    `hours: from the speed of a few steps; with ${scoring}`,
  ];
  return [
    `${suite.title}`,
    '',
    ...table(header, rows),
    '',
    `total: ${runs} runs${chosen}, ${metric(flops)}FLOPs, about ${hours(seconds)} hours on ${backend}`,
    ...notes.flatMap((note) => paragraph(note)),
  ];
}

/** The tables of a comparison as the terminal shows them, each with its outcome in sentences. */
export function renderTables(
  results: readonly RunResult[],
  context: ReportContext,
  width?: number,
): string[] {
  const { groups, paper } = terminalTables(results, context);
  return [
    ...renderLaws(measureLaws(context.suite, results), width),
    ...renderVerdicts(verdicts(context.suite.law, modelsOf(results, context)), width),
    ...groups.flatMap(({ title, header, rows, outcome }, i) => [
      ...(i === 0 ? [] : ['']),
      title,
      ...table(header, rows, width),
      ...outcome.flatMap((line) => paragraph(`  ${line}`, width)),
    ]),
    '',
    `val loss, bits/byte: on ${heldOutOf(results)}; train loss: on fixed batches of the training text`,
    ...(paper ? ['', paper.title, ...table(paper.header, paper.rows, width)] : []),
  ];
}

/** What loops are worth, above the tables of a suite that measures it. */
function renderLaws(laws: readonly MeasuredLaw[], width?: number): string[] {
  if (laws.length === 0) return [];
  const { header, rows, outcome } = lawTable(laws);
  const sentences = outcome.flatMap((line) => paragraph(`  ${line}`, width));
  return [LAW_TITLE, ...table(header, rows, width), ...sentences, ''];
}

/** Looped models against models without loops, by each measure of cost. */
function renderVerdicts(found: readonly CostVerdict[], width?: number): string[] {
  return found.flatMap((measure) => {
    const { header, rows } = verdictTable(measure);
    return [`${measure.title}, against models without loops`, ...table(header, rows, width), ''];
  });
}

/** The data on which the losses of results were measured. */
function heldOutOf(results: readonly RunResult[]): string {
  const counts = new Set(results.map(({ heldOut }) => heldOut?.tokens));
  const [tokens] = counts;
  if (counts.size !== 1) return 'the held-out tokens of each';
  return tokens === undefined ? 'all held-out tokens' : `${grouped(tokens)} held-out tokens`;
}

/** The lines of a text that are not empty, indented. */
function indented(text: string): string[] {
  return text.split(/\n+/).map((line) => `  ${line}`);
}

function commandLine(name: string, flags: CompareFlags, seeds: number): string {
  const { scale, data, dtype, backend, precision, recipes, maxSteps, evalLoops } = flags;
  const only = recipes === undefined ? '' : ` --recipes ${recipes.join(',')}`;
  const ids = dtype === undefined ? '' : ` --dtype ${dtype}`;
  const text = data === undefined ? '' : ` --data DATA${ids}`;
  const engine = backend === undefined ? '' : ` --backend ${backend}`;
  const bits = precision === 'auto' ? '' : ` --precision ${precision}`;
  const steps = maxSteps === undefined ? '' : ` --max-steps ${maxSteps}`;
  const loops = evalLoops === undefined ? '' : ` --eval-loops ${evalLoops.join(',')}`;
  return `loopnn compare ${name} --scale ${scale} --seeds ${seeds}${only}${steps}${text}${engine}${bits}${loops} --out DIR`;
}

function lossInWords({ valLoss, config }: RunResult): string {
  const worse = worseThanGuessing(valLoss, config.model.vocabSize);
  return `${valLoss.toFixed(4)} on all held-out tokens${worse === null ? '' : `, ${worse}`}`;
}

/** Shows a comparison's events on stderr. */
class ComparisonProgress {
  private progress = new Progress('');
  private training: TrainingProgress | null = null;
  /** Pilots and runs. */
  private readonly all: number;
  /** Those that are over. */
  private done = 0;
  /** Those under way, here and in other processes, by their folders. */
  private readonly underWay = new Set<string>();
  private readonly work: RemainingWork;

  constructor(suite: Suite, seeds: number) {
    const planned = planComparison(suite, seeds, 257, 'f32');
    this.all = planned.reduce((sum, { pilots, runs }) => sum + pilots + runs, 0);
    this.work = new RemainingWork(planned, nodeClock);
  }

  event(event: ComparisonEvent): void {
    this.work.take(event);
    const where = event.rank === undefined ? '' : ` (rank ${event.rank})`;
    switch (event.kind) {
      case 'start': {
        const { entrant, step, rank } = event;
        this.underWay.add(entrant.name);
        const resumed =
          step === 0 ? '' : step === entrant.until ? ', already trained' : `, resumed at step ${step}`;
        if (rank !== undefined) {
          this.progress.line(`rank ${rank}: ${entrant.label} (${entrant.name}${resumed})`);
          break;
        }
        this.progress = new Progress(entrant.label);
        notice('');
        notice(
          `${entrant.label} (${this.done + this.underWay.size} of ${this.all}: ${entrant.name}${resumed})`,
        );
        this.training = new TrainingProgress(
          this.progress,
          entrant.until,
          step,
          (updates) => updates * trainingFlopsPerToken(entrant.config, updates),
          () => this.work.secondsLeft,
        );
        break;
      }
      case 'train': {
        const { entrant, event: own, rank } = event;
        const pilotEnds = isPilot(entrant) && own.kind === 'stopped' && own.step === entrant.until;
        if (rank === undefined && !pilotEnds) this.training?.show(own);
        break;
      }
      case 'gaps':
        this.progress.line(`${event.entrant.name}/${event.gaps}`);
        break;
      case 'pilot':
        this.over(event.entrant);
        break;
      case 'tuned': {
        const pilots = event.pilots.map(
          ({ fields, valLoss }) => `${Object.values(fields).join(', ')}: ${valLoss?.toFixed(3) ?? 'failed'}`,
        );
        const { label } = event.model;
        this.progress.line(
          `${label}: ${describeFields(event.fields)} (val loss by pilot, ${pilots.join('; ')})`,
        );
        break;
      }
      case 'failed':
        if (!isPilot(event.entrant)) this.over(event.entrant);
        this.progress.line(`${event.entrant.label} failed${where}: ${event.error.message}`);
        break;
      case 'result':
        this.over(event.entrant);
        this.progress.line(`${event.entrant.label}${where}: val loss ${lossInWords(event.result)}`);
        break;
      case 'stopped':
        break;
    }
  }

  private over({ name }: Entrant): void {
    this.underWay.delete(name);
    this.done++;
  }

  clear(): void {
    this.progress.clear();
  }
}

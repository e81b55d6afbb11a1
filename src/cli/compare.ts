/** `loopnn compare`: trains the models of a suite on the same tokens and sets them side by side. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { type Machine, machine } from '../data/machine.js';
import { NodeStore, nodeClock } from '../data/node-store.js';
import { openDataset } from '../data/shard.js';
import { ConfigError, DataError } from '../errors.js';
import { compare, type ComparisonEvent, type Entrant, runConfig } from '../experiments/compare.js';
import { chartFiles, renderHtml, renderMarkdown } from '../experiments/document.js';
import { type ReportContext, reportSections, terminalTables } from '../experiments/report.js';
import type { RunResult } from '../experiments/result.js';
import { findSuite, SCALES, type Scale, type Suite, SUITE_NAMES } from '../experiments/suites.js';
import { measureTimings, type Timing } from '../experiments/timing.js';
import type { Runtime } from '../tensor/tensor.js';
import { parseFields } from '../models/fields.js';
import { type TrainConfig, trainFields } from '../train/config.js';
import { wholeNumber } from './flags.js';
import { interruptible } from './interrupt.js';
import { duration, grouped, notice, Progress, printResult, table } from './output.js';
import { prepareWithProgress } from './prepare.js';
import { openRuntime, precisionOption } from './runtime.js';
import { showTraining } from './training.js';

interface CompareFlags {
  readonly suite: string;
  readonly scale: Scale;
  readonly seeds?: number;
  readonly data?: string;
  readonly out: string;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

/** What a comparison began with, kept in its folder. */
interface Begun {
  readonly suite: string;
  readonly scale: Scale;
  readonly precision: TrainConfig['precision'];
}

const BEGUN_FILE = 'comparison.json';
const TIMINGS_FILE = 'timings.json';

export function compareCommand(program: Command): void {
  program
    .command('compare')
    .description('train the models of a suite on the same tokens and compare them')
    .requiredOption('--suite <name>', SUITE_NAMES.join(', '))
    .addOption(
      new Option('--scale <name>', 'mini: two cores finish; full: the paper’s sizes, on --data')
        .choices(SCALES)
        .default('mini'),
    )
    .option('--seeds <k>', 'runs of each model; the suite’s own number by default', wholeNumber(1))
    .option('--data <dir>', 'prepared data in place of the suite’s own, e.g. OpenWebText')
    .requiredOption(
      '--out <dir>',
      'folder for the data, the runs and the report; a comparison cut off goes on there',
    )
    .addOption(precisionOption())
    .option('--json', 'print one JSON document at the end')
    .action((flags: CompareFlags) => interruptible((signal) => runComparison(flags, signal)));
}

async function runComparison(flags: CompareFlags, signal: AbortSignal): Promise<void> {
  const { out, json } = flags;
  const suite = findSuite(flags.suite, flags.scale);
  // Wrong fields are found before anything is prepared.
  for (const model of suite.models) runConfig(suite, model, 257, 'f32');
  if (!suite.corpus && flags.data === undefined) {
    throw new ConfigError(
      '--data',
      `must be given for suite ${suite.name} at scale ${suite.scale}`,
      undefined,
      'a folder with train.bin and val.bin of OpenWebText, as nanoGPT prepares it',
    );
  }
  const seeds = flags.seeds ?? suite.seeds;
  const home = new NodeStore(out);
  await using _lock = await home.lock();
  const begun = await begin(home, suite, flags.precision);
  const dataFolder = flags.data ?? (await prepareOnce(suite.corpus!, join(out, 'data'), signal));
  await using data = await openDataset(dataFolder);
  const runtime = openRuntime(begun.precision);
  if (begun.precision === 'auto') await keep(home, { ...begun, precision: runtime.backend.precision });
  notice(runtime.backend.description);

  const started = performance.now();
  const store = (name: string) => new NodeStore(join(out, name));
  const source = {
    train: data.train,
    val: data.val,
    valBytes: data.meta?.val.bytes ?? null,
    tokenizer: data.tokenizer,
    vocabSize: data.meta?.tokenizer.vocabSize ?? 50_257,
  };
  const results: RunResult[] = [];
  const missing: string[] = [];
  const rates: string[] = [];
  const show = new ComparisonProgress(suite, seeds);
  const options = { suite, seeds, data: source, runtime, clock: nodeClock, store };
  for await (const event of compare(options, signal)) {
    show.event(event);
    if (event.kind === 'result') results.push(event.result);
    if (event.kind === 'failed') missing.push(`${event.entrant.label} failed: ${event.error.message}`);
    if (event.kind === 'tuned') rates.push(`${event.model.label} ${event.lr}`);
  }
  show.clear();
  const wanted = suite.models.length * seeds;
  if (signal.aborted) missing.push(`stopped with ${results.length} of ${wanted} runs finished`);
  if (results.length === 0) {
    for (const line of missing) notice(line);
    return;
  }
  const timings = signal.aborted ? [] : await timeModels(home, suite, results, options);

  const host = machine();
  const [first] = results;
  const { train } = first.config;
  const meta = data.meta;
  const corpus = suite.corpus && !flags.data ? suite.corpus.name : dataFolder;
  const facts: [string, string][] = [
    ['command', commandLine(flags, seeds)],
    [
      'text',
      `${corpus}, ${grouped(data.train.length)} training and ${grouped(data.val.length)} held-out tokens, whole documents held out`,
    ],
    [
      'tokenizer',
      `${data.tokenizer?.name ?? 'unknown'}${meta ? `, ${grouped(meta.tokenizer.vocabSize)} tokens` : ''}`,
    ],
    [
      'training',
      `${grouped(first.tokensSeen)} tokens a run in ${grouped(train.maxSteps)} steps of ${grouped(first.tokensSeen / train.maxSteps)}, AdamW, cosine to a tenth of the peak, seeds from ${train.seed} on`,
    ],
    [
      'learning rate',
      rates.length > 0
        ? `the best of ${suite.learningRates.join(', ')} in a pilot of a fifth of the steps: ${rates.join(', ')}`
        : `${train.lr} for all`,
    ],
    [
      'val loss',
      'nats per token on all held-out tokens; curves use fixed batches, loops and exits the first 32,768',
    ],
    [
      'step time',
      timings.length > 0
        ? 'steps of all models in turns, median; ratios to the baseline'
        : 'of the trainings themselves',
    ],
    ['FLOPs', 'blocks, attention and one head, forward and backward; no token halting early'],
    ['spread', '± one standard deviation over seeds'],
    ['machine', `${host.processor}, ${host.processors} processors, Node ${host.node}, ${host.system}`],
    ['backend', runtime.backend.description],
    ['commit', host.commit ?? 'not a checkout'],
  ];
  const decode = (id: number) => data.tokenizer?.decode([id]) ?? String(id);
  const context = { suite, facts, timings, missing, tokenText: decode };
  await writeReport(home, results, context, host);
  const document = documentOf(suite, results, timings, missing, host, runtime);
  printResult(json === true, document, () => {
    const tables = terminalTables(results, context).flatMap(({ title, header, rows, outcome }) => [
      '',
      title,
      table(header, rows),
      ...outcome.map((line) => `  ${line}`),
    ]);
    const samples = suite.name === 'demo' ? results : [];
    return [
      ...tables,
      '',
      ...samples.flatMap((r) => [`${r.label}:\n  ${suite.prompt}${r.sample}`.replace(/\n+/g, '\n  '), '']),
      ...missing,
      `report: ${join(out, 'report.html')}  (${duration((performance.now() - started) / 1000)})`,
    ].join('\n');
  });
  if (missing.length > 0 && !signal.aborted) process.exitCode = 1;
}

/** Reads what the folder's comparison began with, or begins one. Throws ConfigError where it is another. */
async function begin(home: NodeStore, suite: Suite, precision: TrainConfig['precision']): Promise<Begun> {
  const { name, scale } = suite;
  if ((await home.list('.')).includes(BEGUN_FILE)) {
    const found = JSON.parse(new TextDecoder().decode(await home.read(BEGUN_FILE))) as Begun;
    if (found.suite !== name || found.scale !== scale) {
      const rule = `must hold a comparison of suite ${name} at scale ${scale}, or none`;
      throw new ConfigError('--out', rule, `${found.suite} at ${found.scale}`);
    }
    const kept = parseFields(
      { precision: trainFields.precision },
      { precision: found.precision },
      BEGUN_FILE,
    );
    if (precision === 'auto' || precision === kept.precision) return { ...found, ...kept };
    throw new ConfigError(
      '--precision',
      `must stay ${kept.precision}, which this comparison began with`,
      precision,
    );
  }
  const begun = { suite: name, scale, precision };
  await keep(home, begun);
  return begun;
}

function keep(home: NodeStore, begun: Begun): Promise<void> {
  return home.replace(BEGUN_FILE, `${JSON.stringify(begun, null, 2)}\n`);
}

/** Prepares the suite's corpus unless an earlier run did; returns its folder. */
async function prepareOnce(
  { name: corpus, tokenizer }: NonNullable<Suite['corpus']>,
  folder: string,
  signal: AbortSignal,
): Promise<string> {
  if ((await new NodeStore(folder).list('.')).includes('meta.json')) {
    await using found = await openDataset(folder);
    const same =
      found.meta?.sources.join() === corpus && found.tokenizer?.name === tokenizer.replace(':', '-');
    if (same) return folder;
    throw new DataError(
      folder,
      `must hold ${corpus} with tokenizer ${tokenizer}`,
      found.tokenizer?.name,
      'delete it',
    );
  }
  notice(`preparing ${corpus} with tokenizer ${tokenizer}`);
  await prepareWithProgress({ sources: [corpus], out: folder, tokenizer, seed: 2357, signal });
  return folder;
}

/** Steps of all models in turns, at the mini scale; measured once and kept. */
async function timeModels(
  home: NodeStore,
  suite: Suite,
  results: readonly RunResult[],
  { data, runtime, store }: Parameters<typeof compare>[0],
): Promise<Timing[]> {
  if (suite.scale === 'full') return [];
  const finished = suite.models.flatMap(({ name }) => results.find((r) => r.name === name) ?? []);
  if ((await home.list('.')).includes(TIMINGS_FILE)) {
    const kept = JSON.parse(new TextDecoder().decode(await home.read(TIMINGS_FILE))) as Timing[];
    if (finished.every(({ name }) => kept.some((timing) => timing.name === name))) return kept;
  }
  const progress = new Progress('timing steps in turns');
  const models = finished.map(({ name, config, seed }) => ({
    name,
    config,
    store: store(`${name}-seed${seed}`),
  }));
  const timings = await measureTimings(models, data.val, runtime.backend, nodeClock, (done, of) =>
    progress.update(done / of, `step ${done}/${of}`),
  );
  progress.clear();
  await home.replace(TIMINGS_FILE, `${JSON.stringify(timings, null, 2)}\n`);
  return timings;
}

function documentOf(
  suite: Suite,
  results: readonly RunResult[],
  timings: readonly Timing[],
  missing: readonly string[],
  host: Machine,
  runtime: Runtime,
) {
  const { name, scale } = suite;
  return {
    suite: name,
    scale,
    machine: host,
    backend: runtime.backend.description,
    missing,
    timings,
    results,
  };
}

async function writeReport(
  home: NodeStore,
  results: readonly RunResult[],
  context: ReportContext,
  host: Machine,
): Promise<void> {
  const { suite, timings, missing } = context;
  const sections = reportSections(results, context);
  await home.replace('report.html', renderHtml(suite.title, sections));
  await home.replace('report.md', renderMarkdown(suite.title, sections));
  for (const [name, svg] of chartFiles(sections)) await home.replace(`plots/${name}`, svg);
  const document = { suite: suite.name, scale: suite.scale, machine: host, missing, timings, results };
  await home.replace('results.json', `${JSON.stringify(document, null, 2)}\n`);
}

function commandLine({ suite, scale, data }: CompareFlags, seeds: number): string {
  const text = data === undefined ? '' : ' --data DATA';
  return `loopnn compare --suite ${suite} --scale ${scale} --seeds ${seeds}${text} --out DIR`;
}

/** Shows a comparison's events on stderr. */
class ComparisonProgress {
  private progress = new Progress('');
  private from = 0;
  /** Pilots and runs that are over. */
  private done = 0;

  constructor(
    private readonly suite: Suite,
    private readonly seeds: number,
  ) {}

  event(event: ComparisonEvent): void {
    switch (event.kind) {
      case 'start': {
        const { entrant, step } = event;
        const { maxSteps } = entrant.config.train;
        this.from = step;
        this.progress = new Progress(entrant.label.padEnd(this.longest));
        const goesOn =
          step === 0 ? '' : step === maxSteps ? ', already trained' : `, going on at step ${step}`;
        const { models, learningRates } = this.suite;
        const all = models.length * (learningRates.length + this.seeds);
        notice(`\n${entrant.label} (${this.done + 1} of ${all}: ${entrant.name}${goesOn})`);
        break;
      }
      case 'train':
        showTraining(this.progress, event.event, event.entrant.config.train.maxSteps, this.from);
        if (event.event.kind === 'done' && isPilot(event.entrant)) this.done++;
        break;
      case 'tuned': {
        // Pilots of an earlier call told nothing.
        const { models, learningRates } = this.suite;
        this.done = (models.indexOf(event.model) + 1) * learningRates.length;
        const pilots = event.pilots.map(({ lr, valLoss }) => `${lr}: ${valLoss?.toFixed(3) ?? 'failed'}`);
        this.progress.line(`${event.model.label}: learning rate ${event.lr} (${pilots.join(', ')})`);
        break;
      }
      case 'failed':
        if (!isPilot(event.entrant)) this.done++;
        this.progress.line(`${event.entrant.label} failed: ${event.error.message}`);
        break;
      case 'result':
        this.done++;
        this.progress.line(`${event.entrant.label}: val loss ${event.result.valLoss.toFixed(4)}`);
        break;
    }
  }

  clear(): void {
    this.progress.clear();
  }

  private get longest(): number {
    return Math.max(...this.suite.models.map(({ label }) => label.length));
  }
}

function isPilot({ name }: Entrant): boolean {
  return name.startsWith('pilots/');
}

/** `loopnn compare`: trains the models of a suite on the same tokens and sets them side by side. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { openDataset } from '../data/dataset.js';
import { machine } from '../data/machine.js';
import { NodeStore, nodeClock } from '../data/node-store.js';
import { ConfigError, DataError, LoopnnError } from '../errors.js';
import {
  compare,
  type ComparisonEvent,
  type ComparisonOptions,
  isPilot,
  PILOT_SHARE,
  type Pilots,
  runName,
  runConfig,
} from '../experiments/compare.js';
import { chartFiles, renderHtml, renderMarkdown } from '../experiments/document.js';
import { type ReportContext, reportSections, terminalTables } from '../experiments/report.js';
import type { RunResult } from '../experiments/result.js';
import { findSuite, SCALES, type Scale, type Suite, SUITE_NAMES } from '../experiments/suites.js';
import { measureTimings, type Timing } from '../experiments/timing.js';
import type { IntegerType } from '../formats/integers.js';
import { parseFields } from '../models/fields.js';
import type { Runtime } from '../tensor/tensor.js';
import { textOf } from '../tokenizer/tokenizer.js';
import { type TrainConfig, trainFields } from '../train/config.js';
import { endedBy } from '../train/clock.js';
import { worseThanGuessing } from '../train/evaluation.js';
import { readJSON } from '../train/json.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
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
  readonly dtype?: IntegerType;
  readonly out: string;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

/** What a comparison began with, kept in its folder: it goes on with nothing else. */
interface Begun {
  readonly suite: string;
  readonly scale: string;
  readonly precision: TrainConfig['precision'];
  /** The data by its size and tokenizer. */
  readonly data: string;
}

const BEGUN_FILE = 'comparison.json';
const TIMINGS_FILE = 'timings.json';

export function compareCommand(program: Command): void {
  const precision = precisionOption();
  precision.description = 'operands of matrix products; auto is what the comparison began with';
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
    .option('--data <path>', `tokens in place of the suite’s own, e.g. OpenWebText’s: ${DATA_SOURCES}`)
    .addOption(dtypeOption())
    .requiredOption(
      '--out <dir>',
      'folder for the data, the runs and the report; a comparison cut off goes on there',
    )
    .addOption(precision)
    .option('--json', 'print one JSON document at the end')
    .action((flags: CompareFlags) => interruptible((signal) => runComparison(flags, signal)));
}

async function runComparison(flags: CompareFlags, signal: AbortSignal): Promise<void> {
  const started = performance.now();
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
  const begun = await readBegun(home, suite);
  const dataFolder = flags.data ?? (await prepareOnce(suite.corpus!, join(out, 'data'), signal));
  await using data = await openDataset(dataFolder, flags);
  const runtime = await begin(home, suite, flags.precision, describeData(data), begun);
  notice(runtime.backend.description);

  const host = machine();
  const provenance = {
    machine: `${host.processor}, ${host.processors} processors, Node ${host.node}, ${host.system}`,
    backend: runtime.backend.description,
    commit: host.commit ?? 'not a checkout',
  };
  const options = {
    suite,
    seeds,
    data: {
      train: data.train,
      val: data.val,
      valBytes: data.meta?.val.bytes ?? null,
      tokenizer: data.tokenizer,
      vocabSize: data.meta?.tokenizer.vocabSize ?? 50_257,
    },
    runtime,
    clock: nodeClock,
    provenance,
    store: (name: string) => home.within(name),
  };
  const results: RunResult[] = [];
  const missing: string[] = [];
  const tuned: { name: string; label: string; lr: number; pilots: Pilots }[] = [];
  const show = new ComparisonProgress(suite, seeds);
  for await (const event of compare(options, signal)) {
    show.event(event);
    if (event.kind === 'result') results.push(event.result);
    // A pilot may fail: its learning rate is too high.
    if (event.kind === 'failed' && !isPilot(event.entrant)) {
      missing.push(`${event.entrant.label} failed: ${event.error.message}`);
    }
    if (event.kind === 'tuned') {
      const { model, lr, pilots } = event;
      tuned.push({ name: model.name, label: model.label, lr, pilots });
    }
  }
  show.clear();
  const wanted = suite.models.length * seeds;
  if (signal.aborted) missing.push(`stopped with ${results.length} of ${wanted} runs finished`);
  else if (missing.length > 0) process.exitCode = 1;

  const report = async (timings: readonly Timing[]) => {
    const facts = reportFacts(flags, suite, seeds, data, dataFolder, results, tuned, timings);
    // As it reads inside a text: after itself.
    const tokenText = (id: number) => (data.tokenizer ? textOf(data.tokenizer, id, id) : String(id));
    const context = { suite, facts, timings, missing, tokenText };
    const document = {
      suite: suite.name,
      scale: suite.scale,
      ...provenance,
      missing,
      tuned,
      timings,
      results,
    };
    if (results.length > 0) await writeReport(home, results, context, document);
    return { context, document };
  };
  let written = await report([]);
  if (results.length > 0 && !signal.aborted) {
    try {
      const timing = { ...options, clock: endedBy(signal, nodeClock) };
      written = await report(await timeModels(home, suite, results, timing));
    } catch (error) {
      if (!(error instanceof LoopnnError) && !signal.aborted) throw error;
      missing.push(`steps were not timed: ${signal.aborted ? 'stopped' : (error as Error).message}`);
      written = await report([]);
    }
  }
  printResult(json === true, written.document, () => {
    const samples = suite.name === 'demo' ? results : [];
    const took = duration((performance.now() - started) / 1000);
    return [
      '',
      renderTables(results, written.context),
      '',
      ...samples.flatMap((r) => [`${r.label}:\n  ${suite.prompt}${r.sample}`.replace(/\n+/g, '\n  '), '']),
      ...missing,
      results.length > 0 ? `report: ${join(out, 'report.html')}  (${took})` : 'no run is finished yet',
    ].join('\n');
  });
}

/** The tables of a comparison as the terminal shows them, each with its outcome in sentences. */
export function renderTables(results: readonly RunResult[], context: ReportContext): string {
  return terminalTables(results, context)
    .map(({ title, header, rows, outcome }) =>
      [title, table(header, rows), ...outcome.map((line) => `  ${line}`)].join('\n'),
    )
    .join('\n\n');
}

/** What the numbers hold for. */
function reportFacts(
  flags: CompareFlags,
  suite: Suite,
  seeds: number,
  data: Awaited<ReturnType<typeof openDataset>>,
  dataFolder: string,
  results: readonly RunResult[],
  tuned: readonly { readonly label: string; readonly lr: number }[],
  timings: readonly Timing[],
): [string, string][] {
  const distinct = (values: readonly string[]) => [...new Set(values)].join('; ');
  const where = [...results, ...timings].map(({ provenance }) => provenance);
  const unit = data.meta?.heldOut.unit;
  const heldOut =
    unit === 'documents'
      ? ', whole documents held out'
      : unit === 'tail'
        ? ', the end of a document held out'
        : '';
  const corpus = suite.corpus && !flags.data ? suite.corpus.name : dataFolder;
  const rates = tuned.map(({ label, lr }) => `${label} ${lr}`).join(', ');
  const share = `${100 * PILOT_SHARE} %`;
  const facts: [string, string][] = [
    ['command', commandLine(flags, seeds)],
    [
      'text',
      `${corpus}, ${grouped(data.train.length)} training and ${grouped(data.val.length)} held-out tokens${heldOut}`,
    ],
    ['tokenizer', data.tokenizer?.name ?? 'unknown'],
  ];
  const [first] = results;
  if (first) {
    const { maxSteps, lr, seed } = first.config.train;
    const batch = grouped(first.tokensSeen / maxSteps);
    facts.push([
      'training',
      `${grouped(first.tokensSeen)} tokens a run in ${grouped(maxSteps)} steps of ${batch}, AdamW, cosine to a tenth of the peak, seeds from ${seed} on`,
    ]);
    facts.push([
      'learning rate',
      rates === ''
        ? `${lr} for all`
        : `the best of ${suite.learningRates.join(', ')} after ${share} of the first seed’s run: ${rates}`,
    ]);
  }
  if (suite.models.some(({ paper }) => paper)) {
    facts.push([
      'paper',
      'nats per GPT-2 token on OpenWebText, not comparable with other tokenizers and texts; its 3.12 is OpenAI’s released model, which was not trained on that text',
    ]);
  }
  facts.push(
    [
      'val loss',
      'nats per token on all held-out tokens; curves use fixed batches, loops, exits and halting the first 32,768',
    ],
    [
      'step time',
      timings.length > 0
        ? 'steps of all models in turns, median; ratios to the baseline'
        : 'of the trainings themselves, beside whatever else ran',
    ],
    [
      'FLOPs',
      'blocks, attention and the heads that are trained, forward and backward; no token halting early',
    ],
    ['spread', '± one standard deviation over seeds; batches of the train loss differ with the seed'],
    ['machine', distinct(where.map((p) => p.machine))],
    ['backend', distinct(where.map((p) => p.backend))],
    ['commit', distinct(where.map((p) => p.commit))],
  );
  return facts;
}

function describeData({ train, val, tokenizer }: Awaited<ReturnType<typeof openDataset>>): string {
  return `${train.length} and ${val.length} tokens, tokenizer ${tokenizer?.name ?? 'unknown'}`;
}

/** What the folder's comparison began with; null where there is none. Throws ConfigError where it is another suite's. */
async function readBegun(home: NodeStore, { name, scale }: Suite): Promise<Begun | null> {
  if (!(await home.list('.')).includes(BEGUN_FILE)) return null;
  const found = await readJSON(home, BEGUN_FILE, 'choose another folder, or delete this one');
  const begun = {
    ...found,
    ...parseFields({ precision: trainFields.precision }, { precision: found.precision }, BEGUN_FILE),
  } as unknown as Begun;
  if (begun.suite === name && begun.scale === scale) return begun;
  const rule = `must hold a comparison of suite ${name} at scale ${scale}, or none`;
  throw new ConfigError('--out', rule, `${begun.suite} at ${begun.scale}`);
}

/** Opens the backend that the comparison began with, or notes what it begins with. Throws ConfigError where that differs. */
async function begin(
  home: NodeStore,
  { name, scale }: Suite,
  precision: TrainConfig['precision'],
  data: string,
  begun: Begun | null,
): Promise<Runtime> {
  if (begun && begun.data !== data) {
    throw new ConfigError(
      '--data',
      `must stay the data that this comparison began with, ${begun.data}`,
      data,
    );
  }
  if (begun && precision !== 'auto' && precision !== begun.precision) {
    throw new ConfigError(
      '--precision',
      `must stay ${begun.precision}, which this comparison began with`,
      precision,
    );
  }
  const runtime = openRuntime(begun?.precision ?? precision);
  if (!begun) {
    const noted: Begun = { suite: name, scale, precision: runtime.backend.precision, data };
    await home.replace(BEGUN_FILE, `${JSON.stringify(noted, null, 2)}\n`);
  }
  return runtime;
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
  { data, runtime, store, provenance, clock }: ComparisonOptions,
): Promise<readonly Timing[]> {
  if (suite.scale === 'full') return [];
  const finished = suite.models.flatMap(({ name }) => results.find((r) => r.name === name) ?? []);
  if ((await home.list('.')).includes(TIMINGS_FILE)) {
    const { timings } = (await readJSON(home, TIMINGS_FILE, 'delete it to time the steps again')) as {
      timings?: readonly Timing[];
    };
    if (timings && finished.every(({ name }) => timings.some((timing) => timing.name === name)))
      return timings;
  }
  const progress = new Progress('timing steps in turns');
  const models = finished.map(({ name, config }) => ({
    name,
    config,
    store: store(runName(name, config.train, suite)),
  }));
  const { backend } = runtime;
  const timings = await measureTimings(models, data.val, backend, clock, provenance, (done, of) =>
    progress.update(done / of, `step ${done}/${of}`),
  );
  progress.clear();
  await home.replace(TIMINGS_FILE, `${JSON.stringify({ timings }, null, 2)}\n`);
  return timings;
}

async function writeReport(
  home: NodeStore,
  results: readonly RunResult[],
  context: ReportContext,
  document: unknown,
): Promise<void> {
  const { title } = context.suite;
  const sections = reportSections(results, context);
  await home.replace('report.html', renderHtml(title, sections));
  await home.replace('report.md', renderMarkdown(title, sections));
  for (const [name, svg] of chartFiles(sections)) await home.replace(`plots/${name}`, svg);
  await home.replace('results.json', `${JSON.stringify(document, null, 2)}\n`);
}

function commandLine({ suite, scale, data, dtype, precision }: CompareFlags, seeds: number): string {
  const ids = dtype === undefined ? '' : ` --dtype ${dtype}`;
  const text = data === undefined ? '' : ` --data DATA${ids}`;
  const bits = precision === 'auto' ? '' : ` --precision ${precision}`;
  return `loopnn compare --suite ${suite} --scale ${scale} --seeds ${seeds}${text}${bits} --out DIR`;
}

function lossInWords({ valLoss, config }: RunResult): string {
  const worse = worseThanGuessing(valLoss, config.model.vocabSize);
  return `${valLoss.toFixed(4)}${worse === null ? '' : `, ${worse}`}`;
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
        this.from = step;
        this.progress = new Progress(entrant.label.padEnd(this.longest));
        const goesOn =
          step === 0 ? '' : step === entrant.until ? ', already trained' : `, going on at step ${step}`;
        const { models, learningRates } = this.suite;
        const all = models.length * (learningRates.length + this.seeds);
        notice(`\n${entrant.label} (${this.done + 1} of ${all}: ${entrant.name}${goesOn})`);
        break;
      }
      case 'train':
        if (
          isPilot(event.entrant) &&
          event.event.kind === 'stopped' &&
          event.event.step === event.entrant.until
        ) {
          this.done++;
        } else showTraining(this.progress, event.event, event.entrant.until, this.from);
        break;
      case 'gaps':
        this.progress.line(`${event.entrant.name}/${event.gaps}`);
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
        this.progress.line(`${event.entrant.label}: val loss ${lossInWords(event.result)}`);
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

/** `loopnn compare`: trains the models of a suite on the same tokens and sets them side by side. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { openDataset } from '../data/dataset.js';
import { machine } from '../node/machine.js';
import { NodeStore, nodeClock } from '../node/store.js';
import { ConfigError, DataError, LoopnnError } from '../errors.js';
import {
  compare,
  type ComparisonEvent,
  type ComparisonOptions,
  isPilot,
  runConfig,
} from '../experiments/compare.js';
import { type ComparisonDocument, ComparisonFolder } from '../experiments/comparison-folder.js';
import { terminalTables } from '../experiments/group-table.js';
import { Outcome } from '../experiments/outcome.js';
import type { ReportContext } from '../experiments/report.js';
import { reportFacts } from '../experiments/report-facts.js';
import type { RunResult } from '../experiments/result.js';
import { findSuite, SCALES, type Scale, type Suite, SUITE_NAMES } from '../experiments/suites.js';
import type { Timing } from '../experiments/timing.js';
import type { IntegerType } from '../formats/integers.js';
import { textOf } from '../tokenizer/tokenizer.js';
import type { TrainConfig } from '../train/config.js';
import { worseThanGuessing } from '../evaluate/evaluation.js';
import { endedBy } from '../platform.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
import { wholeNumber } from './flags.js';
import { interruptible } from './interrupt.js';
import { duration, notice, Progress, printResult, table } from './output.js';
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
  const folder = await ComparisonFolder.open(home, suite);
  const dataFolder = flags.data ?? (await prepareOnce(suite.corpus!, join(out, 'data'), signal));
  await using dataset = await openDataset(dataFolder, flags);
  const { train, val, meta, tokenizer, vocabSize } = dataset;
  const data = {
    train,
    val,
    valBytes: meta?.val.bytes ?? null,
    tokenizer,
    vocabSize: vocabSize ?? 50_257,
  };
  const runtime = await openRuntime(folder.precision(data, flags.precision));
  await folder.begin(data, runtime.backend.precision);
  notice(runtime.backend.description);

  const host = machine();
  const provenance = {
    machine: `${host.processor}, ${host.processors} processors, Node ${host.node}, ${host.system}`,
    backend: runtime.backend.description,
    commit: host.commit ?? 'not a checkout',
  };
  const options: ComparisonOptions = {
    suite,
    seeds,
    data,
    runtime,
    clock: nodeClock,
    provenance,
    store: (name) => home.within(name),
  };
  const outcome = new Outcome();
  const show = new ComparisonProgress(suite, seeds);
  for await (const event of compare(options, signal)) {
    show.event(event);
    outcome.take(event);
  }
  show.clear();
  const { results, tuned, missing } = outcome;
  const wanted = suite.models.length * seeds;
  if (signal.aborted) missing.push(`stopped with ${results.length} of ${wanted} runs finished`);
  else if (missing.length > 0) process.exitCode = 1;

  const report = async (timings: readonly Timing[]) => {
    const facts = reportFacts({
      command: commandLine(flags, seeds),
      suite,
      corpus: suite.corpus && !flags.data ? suite.corpus.name : dataFolder,
      heldOut: meta?.heldOut.unit,
      data,
      outcome,
      timings,
    });
    // As it reads inside a text: after itself.
    const tokenText = (id: number) => (tokenizer ? textOf(tokenizer, id, id) : String(id));
    const context: ReportContext = { suite, facts, timings, missing, tokenText };
    const document: ComparisonDocument = {
      suite: suite.name,
      scale: suite.scale,
      ...provenance,
      missing,
      tuned,
      timings,
      results,
    };
    if (results.length > 0) await folder.writeReport(context, document);
    return { context, document };
  };
  let written = await report([]);
  if (results.length > 0 && !signal.aborted) {
    const progress = new Progress('timing steps in turns');
    try {
      const timed = { ...options, clock: endedBy(signal, nodeClock) };
      const timings = await folder.timings(results, timed, (done, of) =>
        progress.update(done / of, `step ${done}/${of}`),
      );
      progress.clear();
      written = await report(timings);
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
      ...renderTables(results, written.context),
      '',
      ...samples.flatMap((r) => [`${r.label}:`, ...indented(`${suite.prompt}${r.sample}`), '']),
      ...missing,
      results.length > 0 ? `report: ${join(out, 'report.html')}  (${took})` : 'no run is finished yet',
    ];
  });
}

/** The tables of a comparison as the terminal shows them, each with its outcome in sentences. */
export function renderTables(results: readonly RunResult[], context: ReportContext): string[] {
  return terminalTables(results, context).flatMap(({ title, header, rows, outcome }, i) => [
    ...(i === 0 ? [] : ['']),
    title,
    ...table(header, rows),
    ...outcome.map((line) => `  ${line}`),
  ]);
}

/** The lines of a text that are not empty, indented. */
function indented(text: string): string[] {
  return text.split(/\n+/).map((line) => `  ${line}`);
}

/** Prepares the suite's corpus unless an earlier run did; returns its folder. */
async function prepareOnce(
  { name: corpus, tokenizer }: NonNullable<Suite['corpus']>,
  folder: string,
  signal: AbortSignal,
): Promise<string> {
  if (await new NodeStore(folder).has('meta.json')) {
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
        notice('');
        notice(`${entrant.label} (${this.done + 1} of ${all}: ${entrant.name}${goesOn})`);
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

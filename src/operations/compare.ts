/** A comparison from a suite to its report: `loopnn compare`, and `compareModels` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { createHash } from 'node:crypto';
import { basename, join } from 'node:path';
import type { Backend } from '../backend/backend.js';
import { type Dataset, openDataset } from '../data/dataset.js';
import type { PrepareProgress, PrepareResult } from '../data/prepare.js';
import { ConfigError, DataError, LoopnnError } from '../errors.js';
import { compare, type ComparisonOptions } from '../experiments/compare.js';
import type { ComparisonEvent } from '../experiments/comparison-events.js';
import { type ComparisonDocument, ComparisonFolder } from '../experiments/comparison-folder.js';
import { Outcome } from '../experiments/outcome.js';
import { measureLaws } from '../experiments/law/measured.js';
import { verdicts } from '../experiments/law/verdict.js';
import { modelsOf } from '../experiments/model-results.js';
import type { ReportContext } from '../experiments/report.js';
import { reportFacts } from '../experiments/report-facts.js';
import { requireSuite, type Suite, type SuiteData } from '../experiments/suites.js';
import type { Timing } from '../experiments/timing.js';
import type { IntegerType } from '../formats/integers.js';
import type { BackendName } from '../node/backend.js';
import { NodeStore, nodeClock } from '../node/store.js';
import { endedBy } from '../platform.js';
import { textOf } from '../tokenizer/tokenizer.js';
import type { TrainConfig } from '../train/config.js';
import { ALONE, barrier, broadcastText, type Peers } from '../train/peers.js';
import { provenanceOf } from './provenance.js';
import { openRuntime } from './runtime.js';
import { backendFact, type Facts, fingerprint, ownVersion, requireAlike } from './together.js';

export interface CompareOptions {
  /** `findSuite` reads one. */
  readonly suite: Suite;
  /** Folder for the data, the runs and the report; an interrupted comparison resumes there. */
  readonly out: string;
  /** Runs of each model; the suite's own number by default. */
  readonly seeds?: number | undefined;
  /** Steps of each run instead of the suite's budget, for a trial. */
  readonly maxSteps?: number | undefined;
  /** Prepared tokens instead of the suite's own. */
  readonly data?: string | undefined;
  /** Type of the ids in data without a header. */
  readonly dtype?: IntegerType | undefined;
  /** `auto`, the default, is the precision with which the comparison began. */
  readonly precision?: TrainConfig['precision'];
  /** The engine; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: BackendName | undefined;
  /** Loop counts at which each evaluation of models that can run them scores its validation batches too. */
  readonly evalLoops?: readonly number[] | undefined;
  /** The command, as the report quotes it. */
  readonly command?: string;
  /** Ends the work at a safe point, from which the same call resumes; one process's signal ends the work of all. */
  readonly signal?: AbortSignal;
  /** The processes over which the runs are distributed; this one alone by default. They must share the folder `out`. */
  readonly peers?: Peers;
  readonly onEvent?: (event: ComparisonEvent) => void;
  readonly onPrepare?: (progress: PrepareProgress) => void;
  readonly onPrepared?: (result: PrepareResult) => void;
  /** Steps that are timed in turns, after the runs. */
  readonly onTiming?: (done: number, of: number) => void;
  /** Receives one line each about what runs where, and about anything unusual. */
  readonly onNotice?: (line: string) => void;
}

export const COMPARE_OPTIONS: OptionNames<CompareOptions> = {
  suite: true,
  out: true,
  seeds: true,
  maxSteps: true,
  data: true,
  dtype: true,
  precision: true,
  backend: true,
  evalLoops: true,
  command: true,
  signal: true,
  peers: true,
  onEvent: true,
  onPrepare: true,
  onPrepared: true,
  onTiming: true,
  onNotice: true,
};

/** On a process other than rank 0, it holds that process's own runs. */
export interface Comparison {
  /** The content of `results.json`. */
  readonly document: ComparisonDocument;
  /** The data of its report. */
  readonly context: ReportContext;
  /** Whether a run or a model failed. */
  readonly failed: boolean;
  /** Whether a signal ended it early: the same call resumes it. */
  readonly stopped: boolean;
  /** The page; null if no run is finished yet, and in processes other than rank 0. */
  readonly report: string | null;
}

/**
 * Trains the models of a suite on the same tokens and compares them; finished runs in `out` are skipped. Writes
 * `report.html`, `report.md`, `plots/` and `results.json` there. Several processes divide the runs, the longest first,
 * and give the same results; rank 0 writes the report.
 *
 * @throws ConfigError before training, for errors in the suite, and if `out` has another comparison; DataError for
 * wrong data; PeersError if processes have different tasks
 *
 * @example
 * const { document } = await compareModels({
 *   suite: findSuite('demo'), maxSteps: 100, out: 'runs/trial',
 *   onEvent: (event) => { if (event.kind === 'result') console.log(event.result.label, event.result.valLoss); },
 * });
 */
export async function compareModels(options: CompareOptions): Promise<Comparison> {
  requireOptionNames('compareModels', options, COMPARE_OPTIONS);
  const { out, onEvent, onNotice = () => {}, peers = ALONE } = options;
  const leads = peers.rank === 0;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const suite = limited(options.suite, options.maxSteps);
  // Wrong fields are found before anything is prepared.
  requireSuite(suite);
  const source = options.data ?? suite.data;
  if (source === null) throw dataMissing(suite);
  const seeds = options.seeds ?? suite.seeds;
  if (peers.size > 1) await requireAlike(peers, optionsOf(options, seeds));
  const home = new NodeStore(out);
  await using _lock = leads ? await home.lock() : null;
  const folder = leads ? await ComparisonFolder.open(home, suite, `--out ${out}`) : null;
  const dataFolder = typeof source === 'string' ? source : join(out, 'data');
  if (leads && typeof source !== 'string') await prepareOnce(source, dataFolder, options);
  await barrier(peers);
  await using dataset = await openDataset(dataFolder, { dtype: options.dtype });
  const { train, val, meta, tokenizer, vocabSize } = dataset;
  const data = {
    train,
    val,
    valBytes: meta?.val.bytes ?? null,
    tokenizer,
    vocabSize: vocabSize ?? GPT2_VOCABULARY,
  };
  const asked = options.precision ?? 'auto';
  const wanted = await broadcastText(peers, 0, folder ? folder.precision(data, asked) : '');
  const { backend } = options;
  const runtime = await openRuntime({ precision: wanted as typeof asked, backend }, onNotice);
  await folder?.begin(data, runtime.backend.precision);
  if (peers.size > 1) await requireAlike(peers, await factsOf(peers, home, dataset, runtime.backend));
  const { description } = runtime.backend;
  onNotice(peers.size > 1 ? `${description}, on each of ${peers.size} processes` : description);

  const provenance = provenanceOf(runtime.backend);
  const own: ComparisonOptions = {
    suite,
    seeds,
    data,
    runtime,
    clock: nodeClock,
    provenance,
    store: (name) => home.within(name),
    pathOf: (name) => join(out, name),
    peers,
    evalLoops: options.evalLoops,
    memory: process.memoryUsage.rss,
  };
  const outcome = new Outcome(suite);
  for await (const event of compare(own, signal)) {
    onEvent?.(event);
    outcome.take(event);
    if (event.kind === 'stopped') stop.abort();
  }
  const { results, tuned, missing } = outcome;
  const failed = missing.length > 0 && !signal.aborted;
  if (signal.aborted && leads) {
    missing.push(`stopped with ${results.length} of ${suite.models.length * seeds} runs finished`);
  }

  const report = async (timings: readonly Timing[]): Promise<Comparison> => {
    const facts = reportFacts({
      command: options.command ?? 'compareModels',
      suite,
      corpus: typeof source === 'string' ? source : source.sources.join(' '),
      heldOut: meta?.heldOut.unit,
      data,
      outcome,
      timings,
    });
    // The token's text inside a text: decoded after itself.
    const tokenText = (id: number) => (tokenizer ? textOf(tokenizer, id, id) : String(id));
    const context: ReportContext = { suite, facts, timings, missing, tokenText };
    const { name, scale } = suite;
    const law = measureLaws(suite, results);
    const equalCost = verdicts(suite.law, modelsOf(results, context));
    const document = { suite: name, scale, ...provenance, missing, tuned, timings, law, equalCost, results };
    if (folder && results.length > 0) await folder.writeReport(context, document);
    const page = folder && results.length > 0 ? join(out, 'report.html') : null;
    return { document, context, failed, stopped: signal.aborted, report: page };
  };
  const written = await report([]);
  if (!folder || results.length === 0 || signal.aborted) return written;
  try {
    const timed = { ...own, clock: endedBy(signal, nodeClock) };
    return await report(await folder.timings(results, timed, (done, of) => options.onTiming?.(done, of)));
  } catch (error) {
    if (!(error instanceof LoopnnError) && !signal.aborted) throw error;
    missing.push(`steps were not timed: ${signal.aborted ? 'stopped' : (error as Error).message}`);
    return report([]);
  }
}

/** The facts in which all processes must agree before any of them begins. */
function optionsOf(
  { suite, maxSteps, data, dtype, precision, evalLoops }: CompareOptions,
  seeds: number,
): Facts {
  const { name, scale } = suite;
  const options = { name, scale, seeds, maxSteps, data, dtype, precision, evalLoops };
  return {
    ...ownVersion(),
    options: JSON.stringify(options),
    suite: `${name}, ${shortHash(JSON.stringify(suite))}`,
  };
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

/**
 * The facts in which they must agree before the first run: otherwise they would compute different bits, or not find
 * each other's runs.
 */
async function factsOf(peers: Peers, home: NodeStore, data: Dataset, backend: Backend): Promise<Facts> {
  await barrier(peers);
  const note = await ComparisonFolder.note(home);
  return {
    'folder --out': note === null ? 'one without a comparison' : `one with comparison ${shortHash(note)}`,
    'training data': await fingerprint(data.train),
    'validation data': await fingerprint(data.val),
    backend: backendFact(backend),
  };
}

/** The vocabulary of models on a text if none is named. */
export const GPT2_VOCABULARY = 50_257;

/** The suite with the given steps for every run. */
export function limited(suite: Suite, maxSteps: number | undefined): Suite {
  if (maxSteps === undefined) return suite;
  const models = suite.models.map(({ budget: _, ...model }) => model);
  return { ...suite, models, budget: { kind: 'steps', amount: maxSteps } };
}

export function dataMissing({ where, scale }: Suite): ConfigError {
  const rule = `must be given for ${where} at scale ${scale}, which names no data`;
  return new ConfigError('--data', rule, undefined, 'a folder that loopnn prepare or nanoGPT wrote');
}

/** Prepares the suite's texts unless an earlier call did; returns their folder. */
async function prepareOnce(
  { sources, tokenizer }: Exclude<SuiteData, string>,
  folder: string,
  { signal, onPrepare, onPrepared, onNotice }: CompareOptions,
): Promise<string> {
  const noted = new NodeStore(folder);
  const named = (specs: readonly string[]) => specs.map((spec) => basename(spec)).join(' ');
  const names = named(sources);
  if (await noted.has('meta.json')) {
    await using found = await openDataset(folder);
    const had = named(found.meta?.sources ?? []);
    const same =
      had === names && (tokenizer.endsWith('.json') || found.tokenizer?.name === tokenizer.replace(':', '-'));
    if (same) return folder;
    const rule = `must hold ${names} with tokenizer ${tokenizer}`;
    const held = `${had} with ${found.tokenizer?.name}`;
    throw new DataError(folder, rule, held, 'delete it');
  }
  onNotice?.(`preparing ${names} with tokenizer ${tokenizer}`);
  const { prepareCorpus } = await import('../data/prepare.js');
  const prepared = await prepareCorpus({
    sources,
    out: folder,
    tokenizer,
    seed: HOLDOUT_SEED,
    signal,
    onProgress: onPrepare,
  });
  onPrepared?.(prepared);
  return folder;
}

/** `prepare`'s own. */
const HOLDOUT_SEED = 2357;

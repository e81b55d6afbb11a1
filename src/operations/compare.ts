/** A comparison from a suite to its report: `loopnn compare`, and `compareModels` of the library. */
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
  /** Folder for the data, the runs and the report; a comparison cut off goes on there. */
  readonly out: string;
  /** Runs of each model; the suite's own number by default. */
  readonly seeds?: number | undefined;
  /** Steps of each run, in place of the suite's budget: for a trial. */
  readonly maxSteps?: number | undefined;
  /** Prepared tokens in place of the suite's own. */
  readonly data?: string | undefined;
  /** Type of the ids in data without a header. */
  readonly dtype?: IntegerType | undefined;
  /** `auto`, the default, is what the comparison began with. */
  readonly precision?: TrainConfig['precision'];
  /** The engine; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: BackendName | undefined;
  /** Loop counts at which each evaluation of models that can run them scores its validation batches too. */
  readonly evalLoops?: readonly number[] | undefined;
  /** The command, as the report quotes it. */
  readonly command?: string;
  /** Ends the work at a safe point, from which the same call goes on; one process's ends that of all. */
  readonly signal?: AbortSignal;
  /** The processes that the runs are shared out over; this one alone by default. They must share the folder `out`. */
  readonly peers?: Peers;
  readonly onEvent?: (event: ComparisonEvent) => void;
  readonly onPrepare?: (progress: PrepareProgress) => void;
  readonly onPrepared?: (result: PrepareResult) => void;
  /** Steps that are timed in turns, after the runs. */
  readonly onTiming?: (done: number, of: number) => void;
  /** Hears, in a line, what runs where, and what is odd. */
  readonly onNotice?: (line: string) => void;
}

/** Of another process than rank 0, it holds that process's own runs. */
export interface Comparison {
  /** What `results.json` holds. */
  readonly document: ComparisonDocument;
  /** What its report is made of. */
  readonly context: ReportContext;
  /** Whether a run or a model failed. */
  readonly failed: boolean;
  /** Whether a signal ended it early: the same call goes on. */
  readonly stopped: boolean;
  /** The page; null where no run is finished yet, and in other processes than rank 0. */
  readonly report: string | null;
}

/**
 * Trains the models of a suite on the same tokens and compares them; what is finished in `out` is not repeated.
 * Writes `report.html`, `report.md`, `plots/` and `results.json` there. Many processes share the runs out among
 * them, the longest first, and make the same results; rank 0 writes the report.
 *
 * @throws ConfigError before anything is trained, for what is wrong in the suite, and where `out` holds another
 *   comparison; DataError for wrong data; PeersError where processes differ in what they are to do
 *
 * @example
 * const { document } = await compareModels({
 *   suite: findSuite('demo'), maxSteps: 100, out: 'runs/trial',
 *   onEvent: (event) => { if (event.kind === 'result') console.log(event.result.label, event.result.valLoss); },
 * });
 */
export async function compareModels(options: CompareOptions): Promise<Comparison> {
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
  const folder = leads ? await ComparisonFolder.open(home, suite) : null;
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
    // As it reads inside a text: after itself.
    const tokenText = (id: number) => (tokenizer ? textOf(tokenizer, id, id) : String(id));
    const context: ReportContext = { suite, facts, timings, missing, tokenText };
    const { name, scale } = suite;
    const law = measureLaws(suite, results);
    const document = { suite: name, scale, ...provenance, missing, tuned, timings, law, results };
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

/** What processes must have in common before any of them begins. */
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
 * What they must have in common before the first run: else they would make other bits, or not find each other's
 * runs.
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

/** What models of a text whose vocabulary nobody names are given. */
export const GPT2_VOCABULARY = 50_257;

/** The suite with so many steps for every run. */
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

/**
 * A comparison: every model of a suite trained on the same tokens with every seed, then scored on the whole
 * held-out text, analysed and asked for a sample. Where the suite tunes the learning rate, pilots choose it first,
 * the same candidates for each model: a pilot is the beginning of the first seed's run, and the best one continues.
 * Interrupted runs resume; finished runs are skipped; a run that fails is reported and skipped. With several processes
 * each run belongs to one, with the same bits on any. It must not write to a terminal: it reports what happens as
 * events.
 */
import { ConfigError, DeviceError, LockError, LoopnnError } from '../errors.js';
import { GPT } from '../models/gpt.js';
import type { Runtime } from '../tensor/tensor.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { requireTokens, type TokenSource } from '../evaluate/batches.js';
import { type Clock, endedBy, type Store } from '../platform.js';
import { canLoop, estimateLoss } from '../evaluate/evaluation.js';
import { readJSON } from '../train/json.js';
import { evaluatedLoops } from '../train/loops.js';
import { ALONE, type Peers } from '../train/peers.js';
import { type SharedWork, shareOut } from '../train/shared-work.js';
import { createRun, Run, runExists } from '../train/run.js';
import { gapsOf, type LoggedEvent, readMetrics } from '../train/metrics.js';
import { Trainer, TrainingError } from '../train/trainer.js';
import type { EvalEvent } from '../train/events.js';
import { evalNotes } from './sample.js';
import { type FinishedRun, scoreRun } from './score.js';
import { hasResult, type Provenance, readResult, writeResult } from './result.js';
import { Agenda, type Job } from './agenda.js';
import type { ComparisonEvent } from './comparison-events.js';
import type { Entrant } from './entrants.js';
import type { Suite, SuiteModel } from './suites.js';

export interface ComparisonData {
  readonly train: TokenSource;
  readonly val: TokenSource;
  /** Bytes of the held-out text, for bits per byte; null if not known. */
  readonly valBytes: number | null;
  readonly tokenizer: Tokenizer | null;
  readonly vocabSize: number;
}

/** Data by its size and tokenizer. */
export function describeData({
  train,
  val,
  tokenizer,
}: Pick<ComparisonData, 'train' | 'val' | 'tokenizer'>): string {
  return `${train.length} and ${val.length} tokens, tokenizer ${tokenizer?.name ?? 'unknown'}`;
}

export interface ComparisonOptions {
  readonly suite: Suite;
  readonly seeds: number;
  readonly data: ComparisonData;
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly provenance: Provenance;
  /** The folder of a run, by its name; the same one for all processes. */
  readonly store: (name: string) => Store;
  /** The path of that folder, for messages; its name by default. */
  readonly pathOf?: (name: string) => string;
  /** The processes that the runs are shared out over; this one alone by default. */
  readonly peers?: Peers;
  /** Loop counts at which evaluations score validation batches too, of models that can run them; none by default. */
  readonly evalLoops?: readonly number[] | undefined;
  /** Bytes of resident memory, which evaluations note. */
  readonly memory?: () => number;
}

/**
 * Trains and scores the runs of a suite, one after the other or shared out over processes; ends early, resumable,
 * when `signal` is aborted. Rank 0 tells all, other processes their own runs. Throws ConfigError.
 */
export async function* compare(
  options: ComparisonOptions,
  signal: AbortSignal = new AbortController().signal,
): AsyncGenerator<ComparisonEvent> {
  const { suite, seeds, data, runtime, peers = ALONE } = options;
  // Every configuration is checked before the first run begins.
  for (const source of [data.train, data.val]) requireTokens(source, Number(suite.model.blockSize) + 1);
  const agenda = new Agenda(suite, seeds, data.vocabSize, runtime.backend.precision, peers.size > 1);
  const work: SharedWork<Job, ComparisonEvent> = {
    next: () => agenda.next(),
    async *run(job, end) {
      const entrant = agenda.entrant(job);
      yield* job.seed === null ? runPilot(entrant, options, end) : runWhole(entrant, job, options, end);
      if (end.aborted) yield { kind: 'stopped', entrant };
    },
    write: textOf,
    read: (text, job, rank) => eventOf(text, agenda.entrant(job), rank),
  };
  for await (const { task, news } of shareOut(peers, work, signal)) {
    yield news;
    if (news.kind === 'pilot') yield* agenda.takePilot(task, news.valLoss);
  }
}

/** An event as other processes are told of it; null for the steps of a training, which are many. */
function textOf(event: ComparisonEvent): string | null {
  if (event.kind === 'train' && event.event.kind !== 'eval') return null;
  return JSON.stringify({ ...event, ...(event.kind === 'failed' ? { error: event.error.message } : {}) });
}

function eventOf(text: string, entrant: Entrant, rank: number): ComparisonEvent {
  const told = JSON.parse(text);
  return { ...told, ...(told.kind === 'failed' ? { error: new Error(told.error) } : {}), entrant, rank };
}

/** Trains and scores a run, unless that is done. */
async function* runWhole(
  entrant: Entrant,
  { model }: Job,
  options: ComparisonOptions,
  signal: AbortSignal,
): AsyncGenerator<ComparisonEvent> {
  const folder = options.store(entrant.name);
  await requireSameRun(entrant, folder, pathOf(entrant, options));
  yield* guarded(
    entrant,
    folder,
    pathOf(entrant, options),
    signal,
    async function* (): AsyncGenerator<ComparisonEvent> {
      if (await hasResult(folder)) {
        yield { kind: 'result', entrant, result: await readResult(folder, entrant.name) };
        return;
      }
      await using trained = await Training.begin(entrant, folder, options);
      yield* trained.run(signal);
      if (signal.aborted) return;
      const run = await trained.finished(options.suite.models[model]);
      const result = await scoreRun(run, endedBy(signal, options.clock));
      await writeResult(folder, result);
      yield { kind: 'result', entrant, result };
    },
  );
}

/** Trains a pilot, unless it is done. */
async function* runPilot(
  entrant: Entrant,
  options: ComparisonOptions,
  signal: AbortSignal,
): AsyncGenerator<ComparisonEvent> {
  const folder = options.store(entrant.name);
  await requireSameRun(entrant, folder, pathOf(entrant, options));
  // A run may have failed after it was chosen as a pilot: the choice stays.
  const known = lastEvaluation((await readMetrics(folder)).events, entrant);
  let valLoss = known?.valLoss ?? null;
  if (!known && !(await hasFailed(folder))) {
    yield* guarded(entrant, folder, pathOf(entrant, options), signal, async function* () {
      await using trained = await Training.begin(entrant, folder, options);
      yield* trained.run(signal);
      if (!signal.aborted) valLoss = (await trained.finalLosses()).valLoss;
    });
    if (signal.aborted) return;
  }
  yield { kind: 'pilot', entrant, valLoss };
}

/** Marks a run that diverged: trained again it would do so again. */
const FAILED_FILE = 'failed.json';

async function hasFailed(folder: Store): Promise<boolean> {
  return folder.has(FAILED_FILE);
}

/**
 * Passes a run's events on; turns an error of ours into one, and remembers a divergence. Ends where the signal does.
 */
async function* guarded(
  entrant: Entrant,
  folder: Store,
  path: string,
  signal: AbortSignal,
  run: () => AsyncGenerator<ComparisonEvent>,
): AsyncGenerator<ComparisonEvent> {
  try {
    if (await hasFailed(folder)) {
      const { message } = await readJSON(folder, FAILED_FILE);
      throw new TrainingError(
        path,
        `failed before (${message})`,
        undefined,
        `delete this folder to try again`,
      );
    }
    yield* run();
  } catch (error) {
    if (signal.aborted && error === signal.reason) return;
    // Where one folder is another process's, or gone, the others are not to be relied on, nor is a GPU that has failed.
    const endsAll = error instanceof LockError || error instanceof DeviceError;
    if (!(error instanceof LoopnnError) || endsAll) throw error;
    if (error instanceof TrainingError && !(await hasFailed(folder))) {
      await folder.replace(FAILED_FILE, `${JSON.stringify({ message: error.message })}\n`);
    }
    yield { kind: 'failed', entrant, error };
  }
}

/**
 * A model in training, and its memory; its folder is locked, since that of the whole comparison does not keep `train`
 * out.
 */
class Training implements AsyncDisposable {
  readonly model: GPT;
  private readonly trainer: Trainer;

  private constructor(
    private readonly entrant: Entrant,
    private readonly folder: Store,
    private readonly options: ComparisonOptions,
    private readonly lock: AsyncDisposable,
  ) {
    const { data, runtime, clock } = options;
    const { model, train } = entrant.config;
    this.model = new GPT(model, runtime, { train: true });
    const { tokenizer, ...sources } = { train: data.train, val: data.val, tokenizer: data.tokenizer };
    const { memory, suite } = options;
    const evalLoops = options.evalLoops?.filter((loops) => canLoop(this.model, loops));
    const noted = { model: this.model, tokenizer, prompt: suite.prompt, seed: train.seed, clock, memory };
    const hooks = { evalLoops, notes: evalNotes(noted) };
    try {
      this.trainer = new Trainer({
        ...sources,
        ...hooks,
        model: this.model,
        config: train,
        store: folder,
        clock,
      });
    } catch (error) {
      this.model.dispose();
      throw error;
    }
  }

  /** Throws LockError if another process works in the folder. */
  static async begin(entrant: Entrant, folder: Store, options: ComparisonOptions): Promise<Training> {
    const lock = await folder.lock();
    try {
      return new Training(entrant, folder, options, lock);
    } catch (error) {
      await lock[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The losses on fixed batches at the end: what the log says, or once more where its last line was lost. */
  async finalLosses(): Promise<{ trainLoss: number; valLoss: number }> {
    const { entrant, folder, model } = this;
    const { data, clock } = this.options;
    const logged = lastEvaluation((await readMetrics(folder)).events, entrant);
    if (logged) return logged;
    const { batchSize: B, evalBatches: count, seed } = entrant.config.train;
    const pass = evaluatedLoops(entrant.until, entrant.config.train, model.config.nLoop);
    const estimate = async (source: TokenSource) =>
      (await estimateLoss(model, source, { B, count, seed }, clock, undefined, pass)) ?? Number.NaN;
    return { trainLoss: await estimate(data.train), valLoss: await estimate(data.val) };
  }

  async *run(signal: AbortSignal): AsyncGenerator<ComparisonEvent> {
    const { entrant, folder, trainer } = this;
    await createRun(folder, entrant.config, this.options.data.tokenizer);
    const gaps = gapsOf(await trainer.start(signal));
    yield { kind: 'start', entrant, step: trainer.step };
    if (gaps !== null) yield { kind: 'gaps', entrant, gaps };
    const end = new AbortController();
    if (trainer.step >= entrant.until) end.abort();
    for await (const event of trainer.run(AbortSignal.any([end.signal, signal]))) {
      if (event.kind === 'eval' && event.step === entrant.until) end.abort();
      yield { kind: 'train', entrant, event };
    }
  }

  /** The run as it is scored. */
  async finished({ name, label }: SuiteModel): Promise<FinishedRun> {
    const { entrant, folder, model, trainer } = this;
    const { data, suite, provenance } = this.options;
    const { trainLoss } = await this.finalLosses();
    return {
      ...{ name, label, config: entrant.config, model, store: folder, trainLoss, provenance },
      ...{ val: data.val, valBytes: data.valBytes, tokenizer: data.tokenizer, text: describeData(data) },
      tokensSeen: trainer.progress.tokensSeen,
      prompt: suite.prompt,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.trainer.dispose();
    this.model.dispose();
    this.options.runtime.pool.trim();
    await this.lock[Symbol.asyncDispose]();
  }
}

function pathOf({ name }: Entrant, options: ComparisonOptions): string {
  return options.pathOf?.(name) ?? name;
}

/** The evaluation of an entrant's last step in its log, if it is there. */
function lastEvaluation(events: readonly LoggedEvent[], { until }: Entrant): EvalEvent | undefined {
  return events.findLast((event): event is EvalEvent => event.kind === 'eval' && event.step === until);
}

/** Throws ConfigError if an entrant's folder has a run of another configuration, from another version of the suite. */
async function requireSameRun({ name, config }: Entrant, store: Store, path: string): Promise<void> {
  if (!(await runExists(store))) return;
  const { config: found } = await Run.open(store, name);
  for (const part of ['model', 'train'] as const) {
    for (const [field, wanted] of Object.entries(config[part])) {
      const own = found[part][field as never];
      if (own === wanted) continue;
      const rule = `must hold a run of this suite, or none: ${part}.${field} must be ${wanted}`;
      throw new ConfigError(path, rule, own, 'choose another --out, or delete this folder');
    }
  }
}

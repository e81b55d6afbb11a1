/**
 * A comparison: every model of a suite trained on the same tokens with every seed, then scored on the whole held-out text,
 * analysed and asked for a sample. Where the suite tunes the learning rate, pilots choose it first, the same candidates for
 * each model: a pilot is the beginning of the first seed's run, and the best one goes on. What was cut off goes on where it was; what is finished is not repeated; a run that fails is told
 * and left out. Knows no terminal: it tells what happens as events.
 */
import { ConfigError, LockError, LoopnnError } from '../errors.js';
import { GPT } from '../models/gpt.js';
import type { Runtime } from '../tensor/tensor.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { requireTokens, type TokenSource } from '../evaluate/batches.js';
import { type Clock, endedBy, type Store } from '../platform.js';
import type { RunConfig } from '../train/config.js';
import { estimateLoss } from '../evaluate/evaluation.js';
import { readJSON } from '../train/json.js';
import { createRun, Run, runExists } from '../train/run.js';
import { gapsOf, type LoggedEvent, readMetrics } from '../train/metrics.js';
import { Trainer, TrainingError } from '../train/trainer.js';
import type { EvalEvent, TrainEvent } from '../train/events.js';
import { type FinishedRun, scoreRun } from './score.js';
import { hasResult, type Provenance, readResult, type RunResult, writeResult } from './result.js';
import {
  candidates,
  describeFields,
  type Fields,
  runConfig,
  seedsOf,
  type Suite,
  type SuiteModel,
} from './suites.js';

/**
 * A pilot is this share of a run, with the run's own schedule. A shorter schedule would decay sooner, and so choose rates
 * that are too high for the whole run (docs/log.md).
 */
export const PILOT_SHARE = 0.25;

export interface ComparisonData {
  readonly train: TokenSource;
  readonly val: TokenSource;
  /** Bytes of the held-out text, for bits per byte; null where not known. */
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
  /** The folder of a run, by its name. */
  readonly store: (name: string) => Store;
}

/** One run of a comparison: a pilot, or a model with a seed. */
export interface Entrant {
  /** Name of its folder. */
  readonly name: string;
  readonly label: string;
  readonly config: RunConfig;
  /** The last step that is trained: for a pilot, one before the run's end. */
  readonly until: number;
}

export type ComparisonEvent =
  | { readonly kind: 'start'; readonly entrant: Entrant; readonly step: number }
  | { readonly kind: 'train'; readonly entrant: Entrant; readonly event: TrainEvent }
  /** The log of a run that goes on is not whole: in words, which name the file. */
  | { readonly kind: 'gaps'; readonly entrant: Entrant; readonly gaps: string }
  | { readonly kind: 'tuned'; readonly model: SuiteModel; readonly fields: Fields; readonly pilots: Pilots }
  | { readonly kind: 'failed'; readonly entrant: Entrant; readonly error: Error }
  | { readonly kind: 'result'; readonly entrant: Entrant; readonly result: RunResult };

/** Validation losses of a model's pilots by their fields of the grid; null where one failed. */
export type Pilots = readonly { readonly fields: Fields; readonly valLoss: number | null }[];

/** Trains and scores one run after the other; ends early, resumable, when `signal` is aborted. Throws ConfigError. */
export async function* compare(
  options: ComparisonOptions,
  signal?: AbortSignal,
): AsyncGenerator<ComparisonEvent> {
  const { suite, data, runtime, store } = options;
  const precision = runtime.backend.precision;
  // Every configuration is checked before the first run begins.
  for (const source of [data.train, data.val]) requireTokens(source, Number(suite.model.blockSize) + 1);
  const grid = candidates(suite);
  const configs = suite.models.map((model) => {
    const config = (fields: Fields) => runConfig(suite, model, data.vocabSize, precision, fields);
    return {
      model,
      choices: (grid.length > 0 ? grid : [{}]).map((fields) => ({ fields, config: config(fields) })),
    };
  });
  const tuned = new Map<SuiteModel, Choice>();
  for (const { model, choices } of configs) {
    if (grid.length === 0) {
      tuned.set(model, choices[0]);
      continue;
    }
    const pilots: (Choice & { valLoss: number | null })[] = [];
    for (const choice of choices) {
      const entrant = pilotOf(runOf(model, choice), choice);
      const valLoss = yield* runPilot(entrant, options, signal);
      if (signal?.aborted) return;
      pilots.push({ ...choice, valLoss });
    }
    const finished = pilots.filter(({ valLoss }) => valLoss !== null);
    if (finished.length === 0) {
      const error = new TrainingError(model.name, 'no pilot finished, with any fields of the grid');
      yield { kind: 'failed', entrant: { ...runOf(model, choices[0]), ...model }, error };
      continue;
    }
    const best = finished.reduce((a, b) => (b.valLoss! < a.valLoss! ? b : a));
    tuned.set(model, best);
    const losses = pilots.map(({ fields, valLoss }) => ({ fields, valLoss }));
    yield { kind: 'tuned', model, fields: best.fields, pilots: losses };
  }
  for (const seed of seedsOf(options.seeds)) {
    for (const [model, choice] of tuned) {
      const entrant = runOf(model, choice, seed);
      const folder = store(entrant.name);
      await requireSameRun(entrant, folder);
      yield* guarded(entrant, folder, signal, async function* (): AsyncGenerator<ComparisonEvent> {
        if (await hasResult(folder)) {
          yield { kind: 'result', entrant, result: await readResult(folder, entrant.name) };
          return;
        }
        await using trained = await Training.begin(entrant, folder, options);
        yield* trained.run(signal);
        if (signal?.aborted) return;
        const result = await scoreRun(await trained.finished(model), endedBy(signal, options.clock));
        await writeResult(folder, result);
        yield { kind: 'result', entrant, result };
      });
      if (signal?.aborted) return;
    }
  }
}

/** A combination of the grid, and a model's configuration with it. */
interface Choice {
  readonly fields: Fields;
  readonly config: RunConfig;
}

/** The folder of a model's run, which tells the fields of the grid where those are chosen. */
export function runName(model: string, fields: Fields, seed: number): string {
  const chosen = Object.entries(fields).map(([name, value]) => `-${name}${value}`);
  return `${model}${chosen.join('')}-seed${seed}`;
}

/** The fields of the grid that a run of its suite was trained with. */
export function chosenFields({ grid }: Suite, { train }: RunConfig): Fields {
  return Object.fromEntries(Object.keys(grid).map((name) => [name, train[name as keyof typeof train]]));
}

/** A model's run with a seed, by default the first. */
function runOf(model: SuiteModel, { fields, config }: Choice, seed = seedsOf(1)[0]): Entrant {
  const train = { ...config.train, seed };
  return {
    name: runName(model.name, fields, seed),
    label: `${model.label}, seed ${seed}`,
    config: { ...config, train },
    until: train.maxSteps,
  };
}

/** Steps of a pilot: its share of a run, up to an evaluation. */
export function pilotSteps({ maxSteps, evalInterval }: RunConfig['train']): number {
  return Math.min(maxSteps, Math.ceil((maxSteps * PILOT_SHARE) / evalInterval) * evalInterval);
}

/** The beginning of a run, up to an evaluation. */
function pilotOf(run: Entrant, { fields }: Choice): Entrant {
  const until = pilotSteps(run.config.train);
  return { ...run, label: `${run.label}, ${describeFields(fields)}`, until };
}

export function isPilot({ until, config }: Entrant): boolean {
  return until < config.train.maxSteps;
}

/** Trains a pilot, unless it is done; returns its last validation loss, or null where it failed. */
async function* runPilot(
  entrant: Entrant,
  options: ComparisonOptions,
  signal?: AbortSignal,
): AsyncGenerator<ComparisonEvent, number | null> {
  const folder = options.store(entrant.name);
  await requireSameRun(entrant, folder);
  // A run may have failed after it was chosen as a pilot: the choice stays.
  const known = lastEvaluation((await readMetrics(folder)).events, entrant);
  if (known) return known.valLoss;
  if (await hasFailed(folder)) return null;
  let valLoss: number | null = null;
  yield* guarded(entrant, folder, signal, async function* () {
    await using trained = await Training.begin(entrant, folder, options);
    yield* trained.run(signal);
    if (!signal?.aborted) valLoss = (await trained.finalLosses()).valLoss;
  });
  return valLoss;
}

/** Marks a run that diverged: trained again it would do so again. */
const FAILED_FILE = 'failed.json';

async function hasFailed(folder: Store): Promise<boolean> {
  return folder.has(FAILED_FILE);
}

/** Passes a run's events on; turns an error of ours into one, and remembers a divergence. Ends where the signal does. */
async function* guarded(
  entrant: Entrant,
  folder: Store,
  signal: AbortSignal | undefined,
  run: () => AsyncGenerator<ComparisonEvent>,
): AsyncGenerator<ComparisonEvent> {
  try {
    if (await hasFailed(folder)) {
      const { message } = await readJSON(folder, FAILED_FILE);
      throw new TrainingError(
        entrant.name,
        `failed before (${message})`,
        undefined,
        `delete it to try again`,
      );
    }
    yield* run();
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return;
    // Where one folder is another process's, or gone, the others are not to be relied on.
    if (!(error instanceof LoopnnError) || error instanceof LockError) throw error;
    if (error instanceof TrainingError && !(await hasFailed(folder))) {
      await folder.replace(FAILED_FILE, `${JSON.stringify({ message: error.message })}\n`);
    }
    yield { kind: 'failed', entrant, error };
  }
}

/** A model in training, and its memory; its folder is locked, since that of the whole comparison does not keep `train` out. */
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
    const sources = { train: data.train, val: data.val };
    try {
      this.trainer = new Trainer({ model: this.model, config: train, ...sources, store: folder, clock });
    } catch (error) {
      this.model.dispose();
      throw error;
    }
  }

  /** Throws LockError where another process works in the folder. */
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
    const estimate = async (source: TokenSource) =>
      (await estimateLoss(model, source, { B, count, seed }, clock)) ?? Number.NaN;
    return { trainLoss: await estimate(data.train), valLoss: await estimate(data.val) };
  }

  async *run(signal?: AbortSignal): AsyncGenerator<ComparisonEvent> {
    const { entrant, folder, trainer } = this;
    await createRun(folder, entrant.config, this.options.data.tokenizer);
    const gaps = gapsOf(await trainer.start(signal));
    yield { kind: 'start', entrant, step: trainer.step };
    if (gaps !== null) yield { kind: 'gaps', entrant, gaps };
    const end = new AbortController();
    if (trainer.step >= entrant.until) end.abort();
    for await (const event of trainer.run(AbortSignal.any([end.signal, ...(signal ? [signal] : [])]))) {
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

/** The evaluation of an entrant's last step in its log, if it is there. */
function lastEvaluation(events: readonly LoggedEvent[], { until }: Entrant): EvalEvent | undefined {
  return events.findLast((event): event is EvalEvent => event.kind === 'eval' && event.step === until);
}

/** Throws ConfigError where an entrant's folder holds a run of another configuration, from another version of the suite. */
async function requireSameRun({ name, config }: Entrant, store: Store): Promise<void> {
  if (!(await runExists(store))) return;
  const { config: found } = await Run.open(store, name);
  for (const part of ['model', 'train'] as const) {
    for (const [field, wanted] of Object.entries(config[part])) {
      const own = found[part][field as never];
      if (own === wanted) continue;
      const rule = `its folder must hold a run of this suite, or none: ${part}.${field} must be ${wanted}`;
      throw new ConfigError(name, rule, own, 'choose another folder, or delete this one');
    }
  }
}

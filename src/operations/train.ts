/** A training run from its data to its page: `loopnn train`, and `trainRun` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { basename, resolve } from 'node:path';
import type { Backend } from '../backend/backend.js';
import { type Dataset, openDataset } from '../data/dataset.js';
import type { TokenShard } from '../data/shard.js';
import { ConfigError } from '../errors.js';
import type { IntegerType } from '../formats/integers.js';
import { worseThanGuessing } from '../evaluate/evaluation.js';
import { describeData } from '../experiments/compare.js';
import { hasResult, readResult, type RunResult, writeResult } from '../experiments/result.js';
import { evalNotes } from '../experiments/sample.js';
import { scoreRun } from '../experiments/score.js';
import { GPT } from '../models/gpt.js';
import type { BackendName } from '../node/backend.js';
import { NodeStore, nodeClock } from '../node/store.js';
import { endedBy } from '../platform.js';
import { resumableStep } from '../train/checkpoint.js';
import { overrideTrain, parseRunConfig, requireEffect, type RunConfig } from '../train/config.js';
import type { EvalEvent, TrainEvent } from '../train/events.js';
import { scheduledLoops } from '../train/loops.js';
import { gapsOf } from '../train/metrics.js';
import { grouped } from '../printable.js';
import { kebab } from '../fields.js';
import { ALONE, barrier, broadcastText, type Peers } from '../train/peers.js';
import { createRun, Run, runExists } from '../train/run.js';
import { hasTensorBoard, TensorBoardLog } from '../train/tensorboard.js';
import { Trainer } from '../train/trainer.js';
import { chooseConfig, type ConfigOptions } from './config.js';
import { provenanceOf } from './provenance.js';
import { openRuntime } from './runtime.js';
import { backendFact, type Facts, fingerprint, ownVersion, requireAlike } from './together.js';

/** Up to four epochs teach almost as much as new text (Muennighoff et al. 2023). */
const MOST_EPOCHS = 4;
/** Updates between comparisons of the processes' weights: a hundredth of a second for each 100 MB. */
const VERIFY_EVERY = 100;
/** The marks that a run has finished, and that no process was lost. */
const COMPLETED = 'completed.json';
/** Maximum of held-out tokens for a run's page. */
const SCORED_TOKENS = 1 << 18;

export interface TrainOptions extends ConfigOptions {
  /** A folder that `prepareCorpus`, nanoGPT or llm.c wrote, or one .npy or .bin file. */
  readonly data: string;
  /** Type of the ids in data without a header. */
  readonly dtype?: IntegerType | undefined;
  /** Folder of the run. */
  readonly out: string;
  /** Continue the run in `out` from its last checkpoint; training fields and the dropout may be changed. */
  readonly resume?: boolean | undefined;
  /** The engine; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: BackendName | undefined;
  /** Log for TensorBoard too; a resumed run that has such a log continues it. */
  readonly tensorboard?: boolean | undefined;
  /** Loop counts at which each evaluation scores its validation batches too; a resumed run keeps its own by default. */
  readonly evalLoops?: readonly number[] | undefined;
  /**
   * Ends the training after its micro-step, with a checkpoint to resume from; with several processes, after the update.
   */
  readonly signal?: AbortSignal;
  /** The processes that train together; this one alone by default. */
  readonly peers?: Peers;
  /** With several processes, each holds a part of the optimizer's moments (ZeRO-1). */
  readonly shardOptimizer?: boolean | undefined;
  /** Updates between comparisons of the processes' weights, 0 for none; 100 by default. */
  readonly verifyEvery?: number | undefined;
  /** Receives the facts of the training before the first step. */
  readonly onStart?: (start: TrainStart) => void;
  /** Receives every update, evaluation and checkpoint. */
  readonly onEvent?: (event: TrainEvent) => void;
  /** Receives the fraction done of scoring the finished run. */
  readonly onScoring?: (fraction: number) => void;
  /** Receives one line each about anything unusual, and about what runs where. */
  readonly onNotice?: (line: string) => void;
}

const TRAIN_OPTIONS: OptionNames<TrainOptions> = {
  preset: true,
  config: true,
  model: true,
  train: true,
  data: true,
  dtype: true,
  out: true,
  resume: true,
  backend: true,
  tensorboard: true,
  evalLoops: true,
  signal: true,
  peers: true,
  shardOptimizer: true,
  verifyEvery: true,
  onStart: true,
  onEvent: true,
  onScoring: true,
  onNotice: true,
};

export interface TrainStart {
  readonly config: RunConfig;
  /** The update from which it resumes; 0 for a new run. */
  readonly step: number;
  readonly backend: string;
  /** Requests a checkpoint after the current update. */
  readonly saveSoon: () => void;
}

/** The result of a training. */
export interface TrainSummary {
  /** The folder. */
  readonly run: string;
  readonly step: number;
  /** Whether all steps are done; otherwise `resume` continues. */
  readonly finished: boolean;
  /** Nats per token on fixed batches, of the last evaluation; null without an evaluation. */
  readonly trainLoss: number | null;
  readonly valLoss: number | null;
  readonly bestValLoss: number | null;
  readonly tokensSeen: number;
  /** The scores of a finished run, on its held-out text; null if it is not finished. */
  readonly result: RunResult | null;
  /** The page of a finished run. */
  readonly report: string | null;
}

/**
 * Trains a model on prepared tokens, or continues a run; when it has finished, scores it on as many held-out tokens as
 * it was trained on, 262,144 at most, and writes `report.html` into its folder. The same options give the same bits,
 * with or without a stop and resume.
 *
 * @throws ConfigError for a wrong field, and if `out` has a run and `resume` is not set; DataError for wrong data;
 * TrainingError if a loss is not finite; LockError if another process works in `out`
 *
 * @example
 * const stop = new AbortController();
 * const { report } = await trainRun({
 *   data: 'data/mine',
 *   out: 'runs/mine',
 *   model: { depth: 'loop', nLayer: 1, nLoop: 3, nEmbd: 32, nHead: 2, blockSize: 64 },
 *   train: { batchSize: 4, maxSteps: 60, lr: 3e-3, evalBatches: 2 },
 *   signal: stop.signal,
 *   onEvent: (event) => { if (event.kind === 'eval') console.log(event.step, event.valLoss); },
 * });
 * console.log(report);
 */
export async function trainRun(options: TrainOptions): Promise<TrainSummary> {
  requireOptionNames('trainRun', options, TRAIN_OPTIONS);
  const { out, resume = false, signal, peers = ALONE, onEvent, onNotice = () => {} } = options;
  const leads = peers.rank === 0;
  const store = new NodeStore(out);
  if (leads) await requireOut(store, options);
  await using data = await openDataset(options.data, { dtype: options.dtype });
  const { preset, config: file, model: fields = {}, train = {} } = options;
  const begun = resume
    ? null
    : chooseConfig(
        { preset, config: file, model: fields, train },
        data.vocabSize === null ? {} : { vocabSize: data.vocabSize },
      );
  if (begun) requireKnown(data, begun, options);
  if (begun && data.vocabSize === null) await noticeVocabulary(data.train, begun.model.vocabSize, onNotice);

  await using _lock = leads ? await store.lock() : null;
  // Before the lock, another process may have trained there.
  if (leads) await requireOut(store, options);
  const resumed = leads && resume ? await Run.open(store, out) : null;
  const trained = leads && resume ? ((await resumableStep(store)) ?? 0) : 0;
  const goesOn = resumed && resumedConfig(resumed.config, trained, options);
  const wanted = await configOfAll(peers, begun ?? goesOn);
  requireKnown(data, wanted, options);
  const runtime = await openRuntime(
    { precision: wanted.train.precision, backend: options.backend },
    onNotice,
  );
  const config = { ...wanted, train: { ...wanted.train, precision: runtime.backend.precision } };
  if (peers.size > 1) await requireAlike(peers, await factsOf(options, data, runtime.backend));
  const model = new GPT(config.model, runtime, { train: true });
  const trainer = new Trainer({
    ...{ model, config: config.train, train: data.train, val: data.val },
    ...{ store, clock: nodeClock, peers },
    shardOptimizer: options.shardOptimizer === true,
    verifyEvery: options.verifyEvery ?? VERIFY_EVERY,
    evalLoops: options.evalLoops,
    notes: evalNotes({
      ...{ model, tokenizer: data.tokenizer, prompt: '', seed: config.train.seed, clock: nodeClock },
      memory: process.memoryUsage.rss,
    }),
  });
  try {
    await resumed?.requireSameTokenizer(data.tokenizer);
    const log = await trainer.start(signal);
    const gaps = gapsOf(log);
    if (gaps !== null) onNotice(`${out}/${gaps}`);
    if (leads) {
      await store.remove(COMPLETED);
      await createRun(store, config, data.tokenizer);
    }
    const logged = !leads ? false : options.tensorboard === true || (resume && (await hasTensorBoard(store)));
    const tensorboard = logged
      ? await TensorBoardLog.open(store, trainer.progress, config, () => Date.now() / 1000)
      : null;
    const { description: backend } = runtime.backend;
    options.onStart?.({ config, step: trainer.step, backend, saveSoon: () => trainer.saveSoon() });
    noticeEpochs(data.train, config, onNotice);
    if (resumed) noticeFewerLoops(resumed.config, config, trainer.step, onNotice);
    if (options.shardOptimizer === true && peers.size === 1) {
      onNotice('there is one process, which holds all of the optimizer: --shard-optimizer is for several');
    }

    let last = log.events.findLast((event): event is EvalEvent => event.kind === 'eval') ?? null;
    for await (const event of trainer.run(signal)) {
      await tensorboard?.write(event);
      if (event.kind === 'eval') last = event;
      onEvent?.(event);
    }
    const finished = trainer.step >= config.train.maxSteps;
    if (finished && last) noticeGuessing(out, last, data.vocabSize ?? config.model.vocabSize, onNotice);
    const result =
      leads && finished && last && signal?.aborted !== true
        ? await scoreFinished(options, { config, model, store, data, trainer, trainLoss: last.trainLoss })
        : null;
    const report = result && (await pageOf(store, out, result, data.tokenizer));
    await barrier(peers);
    if (result)
      await store.replace(COMPLETED, `${JSON.stringify({ step: trainer.step, processes: peers.size })}\n`);
    return {
      run: out,
      step: trainer.step,
      finished,
      trainLoss: last?.trainLoss ?? null,
      valLoss: last?.valLoss ?? null,
      bestValLoss: trainer.progress.bestValLoss,
      tokensSeen: trainer.progress.tokensSeen,
      result,
      report,
    };
  } finally {
    trainer.dispose();
    model.dispose();
    runtime.pool.trim();
  }
}

/** Rank 0's configuration, on all ranks. */
async function configOfAll(peers: Peers, config: RunConfig | null): Promise<RunConfig> {
  const text = await broadcastText(peers, 0, JSON.stringify(config));
  return peers.rank === 0 ? config! : parseRunConfig(JSON.parse(text), 'rank 0');
}

/** The facts in which processes that train together agree. */
async function factsOf(
  { model, train, preset, config, resume, shardOptimizer, verifyEvery, evalLoops }: TrainOptions,
  data: Dataset,
  backend: Backend,
): Promise<Facts> {
  const options = { model, train, preset, config, resume, shardOptimizer, verifyEvery, evalLoops };
  return {
    ...ownVersion(),
    configuration: JSON.stringify(options),
    'training data': await fingerprint(data.train),
    'validation data': await fingerprint(data.val),
    backend: backendFact(backend),
  };
}

/** The page; its plots are loaded only when it is made. */
async function pageOf(...page: Parameters<typeof import('./report.js').writeRunReport>): Promise<string> {
  const { writeRunReport } = await import('./report.js');
  return writeRunReport(...page);
}

interface Trained {
  readonly config: RunConfig;
  readonly model: GPT;
  readonly store: NodeStore;
  readonly data: Dataset;
  readonly trainer: Trainer;
  readonly trainLoss: number;
}

/** The scores of a finished run, unless they exist already; null if the signal ends the work. */
async function scoreFinished(
  { out, data: source, signal, onScoring, onNotice }: TrainOptions,
  { config, model, store, data, trainer, trainLoss }: Trained,
): Promise<RunResult | null> {
  const { tokensSeen } = trainer.progress;
  if (await hasResult(store)) {
    const found = await readResult(store, out);
    if (found.tokensSeen === tokensSeen && JSON.stringify(found.config) === JSON.stringify(config))
      return found;
  }
  const name = basename(resolve(out));
  try {
    const result = await scoreRun(
      {
        ...{ name, label: name, config, model, store, tokensSeen, trainLoss, prompt: '' },
        ...{ val: data.val, valBytes: data.meta?.val.bytes ?? null, tokenizer: data.tokenizer },
        text: `${source}, ${describeData(data)}`,
        provenance: provenanceOf(model.runtime.backend),
        mostTokens: Math.min(SCORED_TOKENS, tokensSeen),
      },
      endedBy(signal, nodeClock),
      onScoring,
    );
    await writeResult(store, result);
    return result;
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
    onNotice?.(`${out}: is trained, but its page is not made: the same command with --resume makes it`);
    return null;
  }
}

/** Warns if the ids look like those of a much smaller vocabulary than the model's: no other check sees that. */
async function noticeVocabulary(
  train: TokenShard,
  vocabSize: number,
  onNotice: (line: string) => void,
): Promise<void> {
  const [stretches, length] = [64, Math.min(1024, train.length)];
  let largest = 0;
  for (let i = 0; i < stretches; i++) {
    const at = Math.floor((i / (stretches - 1)) * (train.length - length));
    for (const id of await train.read(at, length)) if (id > largest) largest = id;
  }
  if (2 * (largest + 1) > vocabSize) return;
  onNotice(
    `no id that was looked at is above ${largest}, and the model has ${vocabSize}: ` +
      `if the vocabulary is small, give --vocab-size ${largest + 1}`,
  );
}

/** Warns if a training reads its tokens more often than is useful. */
function noticeEpochs(
  { length }: TokenShard,
  { model, train }: RunConfig,
  onNotice: (line: string) => void,
): void {
  const read = train.maxSteps * train.batchSize * train.gradAccumSteps * model.blockSize;
  if (read <= MOST_EPOCHS * length) return;
  const times = `${grouped(read / length)} times`;
  onNotice(
    `${grouped(train.maxSteps)} steps read the ${grouped(length)} tokens of the training split ${times} over`,
  );
}

/** Warns if a run resumes with fewer loops than before, by a new schedule or the same one over other steps. */
function noticeFewerLoops(
  former: RunConfig,
  { model: { nLoop }, train }: RunConfig,
  step: number,
  onNotice: (line: string) => void,
): void {
  if (step === 0) return;
  const had = scheduledLoops(step - 1, former.train, nLoop);
  const loops = scheduledLoops(step, train, nLoop);
  if (loops >= had) return;
  const { loopSchedule, loopStart, maxSteps } = train;
  onNotice(
    `update ${step + 1} runs ${loops} loop${loops === 1 ? '' : 's'}, update ${step} ran ${had}: ` +
      `loopSchedule ${loopSchedule} with loopStart ${loopStart} counts in maxSteps = ${maxSteps}; ` +
      `--loop-schedule constant --loop-start 0 goes on with all ${nLoop}`,
  );
}

/** Throws ConfigError if `--out` has a run without `--resume`, or the other way round. */
async function requireOut(store: NodeStore, { out, resume }: TrainOptions): Promise<void> {
  // A run that failed before its first checkpoint may be started again.
  const exists = (await runExists(store)) && (resume === true || (await resumableStep(store)) !== null);
  if (exists && !resume) {
    throw new ConfigError('--out', 'must not hold a run yet', out, 'add --resume to continue it');
  }
  if (!exists && resume) throw new ConfigError('--resume', 'needs a run in --out', out);
}

/** Throws ConfigError if the data has ids that the model does not have. */
function requireKnown(data: Dataset, { model: { vocabSize } }: RunConfig, options: TrainOptions): void {
  const largest = data.meta?.largestId ?? (data.vocabSize ?? 0) - 1;
  if (largest < vocabSize) return;
  const rule = `must be below the model's vocabSize = ${vocabSize}`;
  throw new ConfigError(`${options.data}: largest token id`, rule, largest);
}

/**
 * The configuration of a run after some updates, with the given training fields and dropout. The shapes of its weights
 * can not change, nor can its optimizer once that has moments.
 */
function resumedConfig(
  config: RunConfig,
  updates: number,
  { preset, config: file, model = {}, train = {} }: TrainOptions,
): RunConfig {
  const { dropout, ...shapes } = model;
  for (const [name, value] of Object.entries({ preset, config: file, ...shapes })) {
    if (value === undefined) continue;
    throw new ConfigError(`--${kebab(name)}`, 'can not be given with --resume, the run has its model', value);
  }
  const { optimizer } = config.train;
  if (updates > 0 && train.optimizer !== undefined && train.optimizer !== optimizer) {
    throw new ConfigError(
      'flags: train.optimizer',
      `must stay ${optimizer}`,
      train.optimizer,
      'a run keeps its optimizer',
    );
  }
  const own = dropout === undefined ? {} : { dropout };
  const changed = { model: { ...config.model, ...own }, train: overrideTrain(config.train, train) };
  const parsed = parseRunConfig(changed, 'flags');
  requireEffect({ train }, [parsed], 'flags');
  return parsed;
}

/** Warns if a finished run's loss is above that of guessing. */
function noticeGuessing(
  run: string,
  { valLoss }: EvalEvent,
  vocabSize: number,
  onNotice: (line: string) => void,
): void {
  const worse = worseThanGuessing(valLoss, vocabSize);
  if (worse === null) return;
  onNotice(`${run}: validation loss ${valLoss.toFixed(4)} is ${worse}: try a lower --lr, or more steps`);
}

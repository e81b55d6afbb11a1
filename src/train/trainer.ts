/**
 * The trainer: steps, evaluations and checkpoints of one run, told as a stream of events. Knows neither files nor
 * terminals: it works over a store and a clock that it is given, and its caller shows the events.
 *
 * Everything random is a function of (seed, step, micro-step), so a run continued from a checkpoint repeats the bits of
 * one that was never stopped.
 */
import { LoopnnError } from '../errors.js';
import { applicationCount } from '../models/config.js';
import { depthOf } from '../models/depth/kinds.js';
import { applicationsToCheckpoint } from '../models/cost.js';
import type { TrainPass } from '../models/exits/pass.js';
import type { DropoutKey } from '../random.js';
import type { GPT } from '../models/gpt.js';
import { Tape } from '../tensor/tape.js';
import {
  type Batch,
  type BatchKey,
  randomBatch,
  requireTokens,
  type TokenSource,
} from '../evaluate/batches.js';
import {
  type CheckpointKind,
  loadCheckpoint,
  newCheckpointState,
  resumableStep,
  saveCheckpoint,
  type TrainState,
  wayBack,
} from './checkpoint.js';
import type { Clock, Store } from '../platform.js';
import type { TrainConfig } from './config.js';
import { firstNonFinite } from './diagnose.js';
import type { StepEvent, EvalEvent, CheckpointEvent, TrainEvent } from './events.js';
import { estimateLoss } from '../evaluate/evaluation.js';
import { mostLoops, sampleLoops } from './loops.js';
import { appendMetrics, EMPTY_LOG, type Metrics, readMetrics, writeMetrics } from './metrics.js';
import { AdamW } from './optimizer.js';
import { ReadAhead } from './read-ahead.js';
import { learningRate } from './schedule.js';
import { type MicroStep, UpdateSums } from './update-sums.js';

/** Training can not go on: a loss or gradient is not finite. */
export class TrainingError extends LoopnnError {}

export interface TrainerOptions {
  readonly model: GPT;
  readonly config: TrainConfig;
  readonly train: TokenSource;
  readonly val: TokenSource;
  readonly store: Store;
  readonly clock: Clock;
}

export class Trainer {
  private readonly optimizer: AdamW;
  private readonly checkpointed: number;
  private readonly batches = new ReadAhead((key) => this.batch(key));
  private state: TrainState = newCheckpointState();

  constructor(private readonly options: TrainerOptions) {
    const { model, config } = options;
    for (const source of [options.train, options.val]) requireTokens(source, model.config.blockSize + 1);
    this.optimizer = new AdamW(model.parameters, config);
    this.checkpointed = checkpointedApplications(model, config);
  }

  /** Updates made so far. */
  get step(): number {
    return this.state.step;
  }

  /** Where the run stands. */
  get progress(): TrainState {
    return this.state;
  }

  /**
   * Begins where the store's latest checkpoint left off, or with initial weights where it has none; returns the log so far.
   * Throws CheckpointError, and the signal's reason where that is aborted meanwhile.
   */
  async start(signal?: AbortSignal): Promise<Metrics> {
    const { model, config, store, clock } = this.options;
    const resumed = (await resumableStep(store)) !== null;
    if (resumed) this.state = await loadCheckpoint(store, model, this.optimizer, signal);
    else {
      for (const _ of model.parameters.initialising(config.seed)) {
        await clock.yield();
        signal?.throwIfAborted();
      }
    }
    const log = resumed ? await readMetrics(store, this.state) : EMPTY_LOG;
    await writeMetrics(store, log);
    return log;
  }

  /**
   * Trains until maxSteps or until `signal` is aborted; a checkpoint is written either way, unless there is no step to save.
   * Throws TrainingError.
   */
  async *run(signal?: AbortSignal): AsyncGenerator<TrainEvent> {
    try {
      yield* this.steps(signal);
    } finally {
      await this.batches.close();
    }
  }

  private async *steps(signal?: AbortSignal): AsyncGenerator<TrainEvent> {
    const { config } = this.options;
    while (true) {
      const { step } = this.state;
      const done = step >= config.maxSteps;
      if ((step % config.evalInterval === 0 || done) && this.state.evaluatedAt !== step) {
        const event = await this.evaluate(signal);
        if (event) yield event;
        if (event?.best && step > 0) yield await this.save('best');
      }
      const due = step > 0 && step % config.checkpointInterval === 0;
      const left = signal?.aborted === true && step > 0;
      if ((due || done || left) && this.state.savedAt !== step) yield await this.save('last');
      if (done || signal?.aborted) {
        yield { kind: done ? 'done' : 'stopped', step };
        return;
      }
      const event = await this.update(signal);
      if (event) yield event;
    }
  }

  dispose(): void {
    this.optimizer.dispose();
  }

  /** One update, or none when the signal is aborted before it is complete. */
  private async update(signal?: AbortSignal): Promise<StepEvent | null> {
    const { model, config, clock } = this.options;
    const { batchSize: B, gradAccumSteps } = config;
    const { blockSize: T } = model.config;
    const start = clock.now();
    const { step } = this.state;
    model.parameters.zeroGradients();
    using sums = new UpdateSums(model.runtime, gradAccumSteps);
    for (let microStep = 0; microStep < gradAccumSteps; microStep++) {
      if (signal?.aborted) return null;
      const batch = await this.batches.take(this.key(microStep), this.nextKey(microStep));
      runMicroStep(model, batch, 1 / gradAccumSteps, this.pass(microStep), sums);
      await clock.yield();
    }
    const lr = learningRate(step, config);
    this.optimizer.update(step + 1, lr, sums.squares, sums.nonFinite);
    const { microSteps, gradNorm, finite } = await sums.read();
    let loss = 0;
    const extras: { auxLoss?: number; meanSteps?: number } = {};
    for (const [microStep, found] of microSteps.entries()) {
      loss += found.loss / gradAccumSteps;
      if (!Number.isFinite(loss)) throw await this.diverged('loss', loss, microStep);
      for (const name of ['auxLoss', 'meanSteps'] as const) {
        const value = found[name];
        if (value !== null) extras[name] = (extras[name] ?? 0) + value / gradAccumSteps;
      }
    }
    if (!finite) {
      const [what, value] = Number.isFinite(gradNorm)
        ? (['auxiliary loss', extras.auxLoss ?? Number.NaN] as const)
        : (['gradient norm', gradNorm] as const);
      throw await this.diverged(what, value, gradAccumSteps - 1);
    }
    const stepTokens = B * T * gradAccumSteps;
    this.state = { ...this.state, step: step + 1, tokensSeen: this.state.tokensSeen + stepTokens };
    const stepMs = clock.now() - start;
    const event = {
      kind: 'step',
      step: step + 1,
      loss,
      lr,
      gradNorm,
      stepMs,
      tokensPerSecond: (stepTokens / stepMs) * 1000,
      tokensSeen: this.state.tokensSeen,
      ...extras,
    } as const;
    await appendMetrics(this.options.store, event);
    return event;
  }

  /** Losses on fixed batches, or null when the signal is aborted before they are complete. Throws TrainingError. */
  private async evaluate(signal?: AbortSignal): Promise<EvalEvent | null> {
    const { model, config, train, val, clock } = this.options;
    const batches = { B: config.batchSize, count: config.evalBatches, seed: config.seed };
    const trainLoss = await estimateLoss(model, train, batches, clock, signal);
    const valLoss = await estimateLoss(model, val, batches, clock, signal);
    if (trainLoss === null || valLoss === null) return null;
    if (!Number.isFinite(trainLoss + valLoss))
      throw await this.diverged('evaluation loss', trainLoss + valLoss);
    const { step, tokensSeen, bestValLoss } = this.state;
    const best = valLoss < (bestValLoss ?? Number.POSITIVE_INFINITY);
    this.state = { ...this.state, evaluatedAt: step, bestValLoss: best ? valLoss : bestValLoss };
    const event = { kind: 'eval', step, trainLoss, valLoss, tokensSeen, best } as const;
    await appendMetrics(this.options.store, event);
    return event;
  }

  private async save(which: CheckpointKind): Promise<CheckpointEvent> {
    const { model, store } = this.options;
    const { step } = this.state;
    const { parameters, runtime } = model;
    const { backend } = runtime;
    using found = runtime.empty([2]);
    const [out, nonFinite] = [0, 1].map((i) => backend.slice(found.storage, i, 1));
    backend.sumSquares({ out, nonFinite, inp: parameters.storage });
    const [sum] = await found.read();
    if (!Number.isFinite(sum)) throw await this.diverged('sum of squared weights', sum);
    if (which === 'last') this.state = { ...this.state, savedAt: step };
    await saveCheckpoint(store, which, model, this.optimizer, this.state);
    return { kind: 'checkpoint', step, which };
  }

  private pass(microStep: number): TrainPass {
    const { model, config } = this.options;
    return trainingOptions(model, config, this.key(microStep), this.checkpointed);
  }

  /** The error that ends the run, with the first tensor that is not finite in a repetition of the micro-step. */
  private async diverged(what: string, value: number, microStep = 0): Promise<TrainingError> {
    const culprit = await firstNonFinite(
      this.options.model,
      await this.batch(this.key(microStep)),
      this.pass(microStep),
    );
    const { step } = this.state;
    return new TrainingError(
      `step ${step + 1}`,
      `the ${what} must be finite`,
      value,
      `first tensor that is not: ${culprit ?? 'none found'}; ${await this.wayOut()}`,
    );
  }

  /** What to do about a divergence. The latest checkpoint is no way out where nothing has succeeded from there. */
  private async wayOut(): Promise<string> {
    const { store } = this.options;
    const at = await resumableStep(store);
    if (at === null) return 'there is no checkpoint yet; try a lower lr';
    if (this.step > at) return `the checkpoint of step ${at} is intact; try a lower lr`;
    const back = await wayBack(store, at);
    return `no update from the checkpoint of step ${at} has succeeded: ${back ? `${back}, or ` : ''}try a lower lr`;
  }

  /** The counter of a micro-step of the next update. */
  private key(microStep: number): BatchKey {
    return { seed: this.options.config.seed, step: this.state.step, microStep };
  }

  /** The counter after a micro-step's; null where the run ends. */
  private nextKey(microStep: number): BatchKey | null {
    const { gradAccumSteps, maxSteps } = this.options.config;
    const key = this.key(microStep + 1);
    if (key.microStep < gradAccumSteps) return key;
    return key.step + 1 < maxSteps ? { ...key, step: key.step + 1, microStep: 0 } : null;
  }

  private batch(key: BatchKey): Promise<Batch> {
    const { model, config, train } = this.options;
    const { blockSize, vocabSize } = model.config;
    return randomBatch(train, config.batchSize, blockSize, vocabSize, key);
  }
}

/** How a micro-step runs the model; the first `checkpointed` applications are recomputed in the backward pass. */
export function trainingOptions(
  { config: { nLoop } }: GPT,
  config: TrainConfig,
  key: DropoutKey,
  checkpointed: number,
): TrainPass {
  const { loopSampling, backpropLoops, exitLoss, ponderCost, oracle, oracleLambda, oracleSigma } = config;
  return {
    dropout: key,
    objective: { exitLoss, ponderCost, oracle, oracleLambda, oracleSigma },
    backpropLoops,
    ...(loopSampling === 'fixed' ? {} : { loops: sampleLoops(loopSampling, nLoop, key) }),
    checkpoint: (application) => application < checkpointed,
  };
}

/** Forward and backward of one micro-step; gradients are added to the parameters', times `lossScale`, losses to `sums`. */
function runMicroStep(
  model: GPT,
  { tokens, targets, B }: Batch,
  lossScale: number,
  forward: TrainPass,
  sums: UpdateSums,
): void {
  const { runtime } = model;
  const tape = new Tape(runtime);
  try {
    using output = runtime.recording(tape, () => model.loss(tokens, targets, B, lossScale, forward));
    tape.backward();
    sums.add(
      output,
      targets.reduce((count, target) => count + (target >= 0 ? 1 : 0), 0),
    );
  } finally {
    tape.clear();
  }
}

/** A micro-step by itself, and what it found. */
export async function microStepLoss(
  model: GPT,
  batch: Batch,
  lossScale: number,
  forward: TrainPass,
): Promise<MicroStep> {
  using sums = new UpdateSums(model.runtime, 1);
  runMicroStep(model, batch, lossScale, forward, sums);
  return (await sums.read()).microSteps[0];
}

/** How many applications, from the first, are recomputed in the backward pass. */
export function checkpointedApplications({ config }: GPT, train: TrainConfig): number {
  const { activationMemory, batchSize, loopSampling, exitLoss } = train;
  if (activationMemory === 'unlimited') return 0;
  if (activationMemory === 'checkpoint') return Number.POSITIVE_INFINITY;
  // A sampled count may exceed nLoop, and every exit that is learned passes through the coda.
  const loops = mostLoops(loopSampling, config.nLoop);
  const codas = exitLoss === 'uniform' || exitLoss === 'linear' ? (loops - 1) * config.nCoda : 0;
  const own = depthOf(config).loopsFreely(config) ? loops : undefined;
  const applications = applicationCount(config, own) + codas * config.nInnerLoop;
  return applicationsToCheckpoint(config, batchSize, config.blockSize, activationMemory * 1e6, applications);
}

/**
 * The trainer: steps, evaluations and checkpoints of one run, reported as a stream of events. It must not import files
 * or terminals: it works over a given store and clock, and its caller shows the events.
 *
 * Everything random is a function of (seed, step, micro-step), so a run resumed from a checkpoint repeats the bits of a
 * run that was never stopped.
 */
import { type Batch, type BatchKey, randomBatch, requireTokens } from '../evaluate/batches.js';
import { ConfigError } from '../errors.js';
import { applicationCount } from '../models/config.js';
import { applicationsToCheckpoint } from '../models/cost.js';
import { depthOf } from '../models/depth/kinds.js';
import type { TrainPass } from '../models/exits/pass.js';
import type { GPT } from '../models/gpt.js';
import type { Store } from '../platform.js';
import type { DropoutKey } from '../random.js';
import { Tape } from '../tensor/tape.js';
import { WeightAverage } from './average.js';
import {
  type CheckpointKind,
  newCheckpointState,
  resumableStep,
  type TrainState,
  wayBack,
} from './checkpoint.js';
import type { TrainConfig } from './config.js';
import { firstNonFinite } from './diagnose.js';
import { TrainingError } from './errors.js';
import { Evaluation, type EvaluationOptions } from './evaluation.js';
import type { CheckpointEvent, EvalEvent, StepEvent, TrainEvent } from './events.js';
import { UpdateGradient } from './gradient.js';
import { evaluatedLoops, mostLoops, sampleLoops, scheduledLoops } from './loops.js';
import { appendMetrics, EMPTY_LOG, type Metrics, readMetrics, writeMetrics } from './metrics.js';
import { ownerOfMicroStep } from './micro-step-tree.js';
import { createOptimizer, type Optimizer } from './optimizer.js';
import { ALONE, broadcastText, gatherNumbers, type Peers, throwTogether } from './peers.js';
import { ReadAhead } from './read-ahead.js';
import { type HeldState, loadTogether, saveTogether } from './shared-checkpoint.js';
import { learningRate } from './schedule.js';
import { type MicroStep, UpdateSums } from './update-sums.js';
import { requireSameWeights } from './same-weights.js';

export { TrainingError };

export interface TrainerOptions extends EvaluationOptions {
  /** The run's store. With several processes, rank 0 reads and writes it. */
  readonly store: Store;
  /** The processes that train together; by default this process alone. */
  readonly peers?: Peers;
  /** Whether each process holds a part of the optimizer's moments, and updates that part of the weights (ZeRO-1). */
  readonly shardOptimizer?: boolean;
  /** Updates between comparisons of the processes' weights; 0 for none. */
  readonly verifyEvery?: number;
}

export class Trainer {
  private readonly peers: Peers;
  private readonly sharded: boolean;
  private readonly gradient: UpdateGradient;
  private readonly optimizer: Optimizer;
  private readonly average: WeightAverage | null;
  private readonly checkpointed: number;
  private readonly batches = new ReadAhead((key) => this.batch(key));
  private state: TrainState = newCheckpointState();
  private saveWanted = false;
  private readonly evaluation: Evaluation;

  constructor(private readonly options: TrainerOptions) {
    const { model, config } = options;
    for (const source of [options.train, options.val]) requireTokens(source, model.config.blockSize + 1);
    this.peers = options.peers ?? ALONE;
    this.sharded = options.shardOptimizer === true && this.peers.size > 1;
    if (this.sharded && config.optimizer === 'muon') {
      const rule = 'must not be given where optimizer is muon, which needs whole matrices';
      throw new ConfigError('shardOptimizer', rule, true);
    }
    this.gradient = new UpdateGradient(model.parameters, config.gradAccumSteps, this.peers, this.sharded);
    const held = this.sharded ? this.gradient.ownBlocks : undefined;
    this.optimizer = createOptimizer(model.parameters, config, held);
    this.average = config.emaDecay > 0 ? new WeightAverage(model.parameters, config.emaDecay) : null;
    this.checkpointed = checkpointedApplications(model, config);
    this.evaluation = new Evaluation(options, this.peers);
  }

  /** Updates made so far. */
  get step(): number {
    return this.state.step;
  }

  /** The run's state. */
  get progress(): TrainState {
    return this.state;
  }

  /** Requests a checkpoint after the current update. */
  saveSoon(): void {
    this.saveWanted = true;
  }

  /**
   * Resumes from the store's latest checkpoint, or starts with initial weights if it has none; returns the log so far
   * on rank 0. Throws CheckpointError, and the signal's reason if it is aborted meanwhile.
   */
  async start(signal?: AbortSignal): Promise<Metrics> {
    const { model, config, store, clock } = this.options;
    const found = this.leads && (await resumableStep(store)) !== null;
    const resumed = (await broadcastText(this.peers, 0, found ? 'resumed' : '')) !== '';
    if (resumed) {
      const { state, averaged } = await loadTogether(store, model.parameters, this.held, this.peers, signal);
      this.state = state;
      if (!averaged) this.average?.begin();
    } else {
      for (const _ of model.parameters.initialising(config.seed)) {
        await clock.yield();
        signal?.throwIfAborted();
      }
      this.average?.begin();
    }
    const log = resumed && this.leads ? await readMetrics(store, this.state) : EMPTY_LOG;
    if (this.leads) await writeMetrics(store, log);
    await this.evaluation.resume(log);
    return log;
  }

  /**
   * Trains until maxSteps or until `signal` is aborted; a checkpoint is written either way, unless there is no step to
   * save. At the end the model has the average of the weights, if there is one. Throws TrainingError.
   */
  async *run(signal?: AbortSignal): AsyncGenerator<TrainEvent> {
    try {
      yield* this.steps(signal);
    } finally {
      await this.batches.close();
    }
  }

  private async *steps(signal?: AbortSignal): AsyncGenerator<TrainEvent> {
    const { config, verifyEvery = 0 } = this.options;
    while (true) {
      const { step } = this.state;
      const done = step >= config.maxSteps;
      const { stopping, saving } = await this.agree(signal);
      if ((step % config.evalInterval === 0 || done) && this.state.evaluatedAt !== step) {
        const event = await this.evaluate(this.alone(signal));
        if (event) yield event;
        if (event?.best && step > 0) yield await this.save('best');
      }
      const due = step > 0 && step % config.checkpointInterval === 0;
      const left = (stopping || this.alone(signal)?.aborted === true) && step > 0;
      const asked = saving && step > 0;
      if ((due || done || left || asked) && this.state.savedAt !== step) yield await this.save('last');
      if (done || stopping || this.alone(signal)?.aborted) {
        if (done) this.average?.publish();
        yield { kind: done ? 'done' : 'stopped', step };
        return;
      }
      const event = await this.update(this.alone(signal));
      if (event) yield event;
      if (this.peers.size > 1 && verifyEvery > 0 && this.state.step % verifyEvery === 0) {
        await requireSameWeights(this.peers, this.options.model, this.options.store, this.state.step);
      }
    }
  }

  dispose(): void {
    this.gradient.dispose();
    this.optimizer.dispose();
    this.average?.dispose();
  }

  /** This process's state besides the weights. */
  private get held(): HeldState {
    const { optimizer, gradient, sharded, average } = this;
    const blocks = sharded ? gradient.blocks : null;
    return { moments: optimizer.moments, blocks, average: average?.storage ?? null };
  }

  /** Whether this process keeps the run: exactly one does. */
  private get leads(): boolean {
    return this.peers.rank === 0;
  }

  /**
   * The signal if this process is alone and may stop at any moment; several processes stop together, between updates.
   */
  private alone(signal: AbortSignal | undefined): AbortSignal | undefined {
    return this.peers.size === 1 ? signal : undefined;
  }

  /** Whether any process must stop, or save: then all do. */
  private async agree(signal?: AbortSignal): Promise<{ stopping: boolean; saving: boolean }> {
    const wishes = [signal?.aborted === true, this.saveWanted];
    this.saveWanted = false;
    const all = await gatherNumbers(this.peers, wishes.map(Number));
    const [stopping, saving] = wishes.map((_, i) => all.some((of) => of[i] !== 0));
    return { stopping, saving };
  }

  /** One update, or null if the signal is aborted before it is complete. */
  private async update(signal?: AbortSignal): Promise<StepEvent | null> {
    const { model, config, clock } = this.options;
    const { batchSize: B, gradAccumSteps } = config;
    const { blockSize: T } = model.config;
    const start = clock.now();
    const { step } = this.state;
    const { gradient, peers } = this;
    const { from, to } = gradient.own;
    using sums = new UpdateSums(model.runtime, to - from);
    let waitMs = 0;
    for (let microStep = from; microStep < to; microStep++) {
      if (signal?.aborted) {
        gradient.drop();
        return null;
      }
      const batch = await this.batches.take(this.key(microStep), this.nextKey(microStep));
      gradient.begin();
      const last = async (tape: Tape) => {
        waitMs = await gradient.finishAll({ tape, tokens: batch.tokens }, clock);
      };
      const backward = microStep + 1 === to ? last : undefined;
      await runMicroStep(model, batch, 1 / gradAccumSteps, this.pass(microStep), sums, backward);
      if (!backward) gradient.finish(microStep);
      await clock.yield();
    }
    if (from === to) waitMs = await gradient.finishAll(null, clock);
    await gradient.sumSquares(sums.squares, sums.nonFinite);
    const all = peers.size > 1 ? await sums.readTogether(peers, gradAccumSteps) : null;
    const lr = learningRate(step, config);
    this.optimizer.update(step + 1, lr, sums.squares, sums.nonFinite);
    if (this.sharded) await gradient.gather(model.parameters.storage);
    this.average?.update(sums.nonFinite);
    const { microSteps, gradNorm, finite } = all ?? (await sums.read());
    let loss = 0;
    const extras: { auxLoss?: number; meanSteps?: number } = {};
    for (const [microStep, found] of microSteps.entries()) {
      loss += found.loss / gradAccumSteps;
      if (!Number.isFinite(loss)) await this.diverged('loss', loss, microStep);
      for (const name of ['auxLoss', 'meanSteps'] as const) {
        const value = found[name];
        if (value !== null) extras[name] = (extras[name] ?? 0) + value / gradAccumSteps;
      }
    }
    if (!finite) {
      const [what, value] = Number.isFinite(gradNorm)
        ? (['auxiliary loss', extras.auxLoss ?? Number.NaN] as const)
        : (['gradient norm', gradNorm] as const);
      await this.diverged(what, value, gradAccumSteps - 1);
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
      ...(peers.size > 1 ? { waitMs } : {}),
      ...this.loopsOf(step + 1),
      ...extras,
    } as const;
    if (this.leads) await appendMetrics(this.options.store, event);
    return event;
  }

  /** Losses on fixed batches, or null if the signal is aborted before they are complete. Throws TrainingError. */
  private async evaluate(signal?: AbortSignal): Promise<EvalEvent | null> {
    const pass = this.loopsOf(this.state.step);
    const evaluated = () => this.evaluation.run(pass, signal);
    const plain = this.average && (await this.evaluation.valLoss(pass, signal));
    const found = this.average ? await this.average.during(evaluated) : await evaluated();
    if (!found || (this.average && plain === null)) return null;
    const { trainLoss, valLoss, ...rest } = found;
    if (!Number.isFinite(trainLoss + valLoss)) await this.diverged('evaluation loss', trainLoss + valLoss);
    const { step, tokensSeen, bestValLoss, bestLoops } = this.state;
    // Only losses with the same loops compare: with other loops, the best loss starts anew.
    const { nLoop } = this.options.model.config;
    const { loops = nLoop } = pass;
    const former = (bestLoops ?? nLoop) === loops ? bestValLoss : null;
    const best = valLoss < (former ?? Number.POSITIVE_INFINITY);
    const lowest = best ? { bestValLoss: valLoss, bestLoops: loops } : {};
    this.state = { ...this.state, ...lowest, evaluatedAt: step };
    const own = plain === null ? {} : { plainValLoss: plain };
    const event = { kind: 'eval', step, trainLoss, valLoss, ...own, tokensSeen, best, ...rest } as const;
    if (this.leads) await appendMetrics(this.options.store, event);
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
    if (!Number.isFinite(sum)) await this.diverged('sum of squared weights', sum);
    if (which === 'last') this.state = { ...this.state, savedAt: step };
    await saveTogether(store, which, model.parameters, this.held, this.peers, this.state);
    return { kind: 'checkpoint', step, which };
  }

  private pass(microStep: number): TrainPass {
    const { model, config } = this.options;
    return trainingOptions(model, config, this.key(microStep), this.checkpointed);
  }

  /**
   * Ends the run with an error that names the first tensor that is not finite when the micro-step is repeated; without
   * a micro-step, the next update's first.
   */
  private async diverged(what: string, value: number, microStep: number | null = null): Promise<never> {
    const { peers, options } = this;
    const { gradAccumSteps } = options.config;
    const { step } = this.state;
    const at = microStep ?? 0;
    const owner = ownerOfMicroStep(at, peers.size, gradAccumSteps);
    const found =
      peers.rank === owner
        ? await firstNonFinite(options.model, await this.batch(this.key(at)), this.pass(at))
        : null;
    const culprit = await broadcastText(peers, owner, found ?? 'none found');
    const where = peers.size > 1 && microStep !== null ? ` (rank ${owner})` : '';
    return throwTogether(
      peers,
      new TrainingError(
        `step ${step + 1}${where}`,
        `the ${what} must be finite`,
        value,
        `first tensor that is not: ${culprit}; ${await this.wayOut()}`,
      ),
    );
  }

  /** Advice after a divergence. The latest checkpoint does not help if no update has succeeded from it. */
  private async wayOut(): Promise<string> {
    const { store } = this.options;
    const at = await resumableStep(store);
    if (at === null) return 'there is no checkpoint yet; try a lower lr';
    if (this.step > at) return `the checkpoint of step ${at} is intact; try a lower lr`;
    const back = await wayBack(store, at);
    return `no update from the checkpoint of step ${at} has succeeded: ${back ? `${back}, or ` : ''}try a lower lr`;
  }

  /** Loops of the last of `updates` updates; absent if the schedule is constant. */
  private loopsOf(updates: number): { readonly loops?: number } {
    const { model, config } = this.options;
    return evaluatedLoops(updates, config, model.config.nLoop);
  }

  /** The counter of a micro-step of the next update. */
  private key(microStep: number): BatchKey {
    return { seed: this.options.config.seed, step: this.state.step, microStep };
  }

  /** This process's counter after a micro-step's; null at the end of the run. */
  private nextKey(microStep: number): BatchKey | null {
    const { from, to } = this.gradient.own;
    const key = this.key(microStep + 1);
    if (key.microStep < to) return key;
    return key.step + 1 < this.options.config.maxSteps
      ? { ...key, step: key.step + 1, microStep: from }
      : null;
  }

  private batch(key: BatchKey): Promise<Batch> {
    const { model, config, train } = this.options;
    const { blockSize, vocabSize } = model.config;
    return randomBatch(train, config.batchSize, blockSize, vocabSize, key);
  }
}

/** The options of a micro-step's pass; the first `checkpointed` applications are recomputed in the backward pass. */
export function trainingOptions(
  { config: { nLoop } }: GPT,
  config: TrainConfig,
  key: DropoutKey,
  checkpointed: number,
): TrainPass {
  const { loopSampling, backpropLoops, exitLoss, ponderCost, oracle, oracleLambda, oracleSigma } = config;
  const loops =
    loopSampling === 'fixed'
      ? scheduledLoops(key.step, config, nLoop)
      : sampleLoops(loopSampling, nLoop, key);
  const fixed = loopSampling === 'fixed' && config.loopSchedule === 'constant';
  return {
    dropout: key,
    objective: { exitLoss, ponderCost, oracle, oracleLambda, oracleSigma },
    backpropLoops,
    ...(fixed ? {} : { loops }),
    checkpoint: (application) => application < checkpointed,
  };
}

/**
 * Forward and backward of one micro-step; gradients, times `lossScale`, are added to the parameters' gradients, losses
 * to `sums`.
 */
async function runMicroStep(
  model: GPT,
  { tokens, targets, B }: Batch,
  lossScale: number,
  forward: TrainPass,
  sums: UpdateSums,
  backward: (tape: Tape) => Promise<void> | void = (tape) => tape.backward(),
): Promise<void> {
  const { runtime } = model;
  const tape = new Tape(runtime);
  try {
    using output = runtime.recording(tape, () => model.loss(tokens, targets, B, lossScale, forward));
    await backward(tape);
    sums.add(
      output,
      targets.reduce((count, target) => count + (target >= 0 ? 1 : 0), 0),
    );
  } finally {
    tape.clear();
  }
}

/** A single micro-step, and its result. */
export async function microStepLoss(
  model: GPT,
  batch: Batch,
  lossScale: number,
  forward: TrainPass,
): Promise<MicroStep> {
  using sums = new UpdateSums(model.runtime, 1);
  await runMicroStep(model, batch, lossScale, forward, sums);
  return (await sums.read()).microSteps[0];
}

/** How many applications, from the first, are recomputed in the backward pass. */
export function checkpointedApplications({ config }: GPT, train: TrainConfig): number {
  const { activationMemory, batchSize, loopSampling, exitLoss } = train;
  if (activationMemory === 'unlimited') return 0;
  if (activationMemory === 'checkpoint') return Number.POSITIVE_INFINITY;
  // A sampled count may exceed nLoop, and every trained exit passes through the coda.
  const loops = mostLoops(loopSampling, config.nLoop);
  const codas = exitLoss === 'uniform' || exitLoss === 'linear' ? (loops - 1) * config.nCoda : 0;
  const own = depthOf(config).loopsFreely(config) ? loops : undefined;
  const applications = applicationCount(config, own) + codas * config.nInnerLoop;
  return applicationsToCheckpoint(config, batchSize, config.blockSize, activationMemory * 1e6, applications);
}

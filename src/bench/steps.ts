/**
 * Times whole training steps and evaluations on random tokens, by phase and by kernel. Several models take turns step
 * by step, so that a noisy machine disturbs all of them alike.
 */
import type { Backend } from '../backend/backend.js';
import { forwardFlopsPerToken } from '../models/cost.js';
import { depthOf } from '../models/depth/kinds.js';
import { GPT } from '../models/gpt.js';
import { hashWords } from '../random.js';
import { Tape } from '../tensor/tape.js';
import { Runtime } from '../tensor/tensor.js';
import type { Batch } from '../evaluate/batches.js';
import type { Clock } from '../platform.js';
import type { RunConfig } from '../train/config.js';
import { total } from '../evaluate/evaluation.js';
import { meanLoops, withAllLoops } from '../train/loops.js';
import { UpdateGradient } from '../train/gradient.js';
import { WeightAverage } from '../train/average.js';
import { createOptimizer, type Optimizer } from '../train/optimizer.js';
import { ALONE } from '../train/peers.js';
import { UpdateSums } from '../train/update-sums.js';
import { checkpointedApplications, trainingOptions } from '../train/trainer.js';
import { mean, median, type Spread, spread } from '../statistics.js';
import type { LimitMeter } from './limits.js';
import { settle } from './settle.js';
import { type KernelMs, kernelMs, perStep, timed } from './timed.js';

export interface BenchmarkModel {
  readonly name: string;
  readonly config: RunConfig;
}

export interface StepsResult {
  readonly name: string;
  readonly batchSize: number;
  readonly blockSize: number;
  readonly stepMs: Spread;
  /** Computed from the median step. */
  readonly tokensPerSecond: number;
  /** Forward and backward FLOPs a second, without recomputation. */
  readonly flopsPerSecond: number;
  /** Share of the limit of multiply-adds that is measured beside the steps; null if it cannot be measured. */
  readonly mfu: number | null;
  readonly phaseMs: { readonly forward: number; readonly backward: number; readonly optimizer: number };
  /** A forward pass alone, as in an evaluation. */
  readonly evaluation: { readonly ms: number; readonly tokensPerSecond: number; readonly mfu: number | null };
  readonly kernelMs: KernelMs;
  /** Mean milliseconds of a step, of which `kernelMs` are parts. */
  readonly meanMs: number;
  /** Bytes that the pool holds for activations and gradients of activations. */
  readonly activationBytes: number;
}

/** Least milliseconds of untimed steps. */
const WARM_MS = 500;

/**
 * Takes `steps` timed steps of each model, after untimed steps have settled. The very first step is checked: an
 * untrained model's loss must be near that of random logits. `onStep` is called after every timed step.
 */
export async function benchmarkSteps(
  models: readonly BenchmarkModel[],
  steps: number,
  backend: Backend,
  meter: LimitMeter | null,
  clock: Clock,
  onStep: (done: number, of: number) => void,
): Promise<StepsResult[]> {
  const entrants = models.map((model) => new Entrant(model, backend, meter, clock));
  const of = steps * entrants.length;
  let done = 0;
  for (const entrant of entrants) await entrant.warmUp();
  for (let step = 1; step <= steps; step++) {
    for (const entrant of entrants) {
      await entrant.step(step);
      onStep(++done, of);
      await clock.yield();
    }
  }
  for (const entrant of entrants) await entrant.profile();
  const results = entrants.map((entrant) => entrant.result());
  for (const entrant of entrants) entrant.dispose();
  return results;
}

/** One model being timed. */
class Entrant {
  private readonly kernels = new Map<string, number>();
  private readonly runtime: Runtime;
  private readonly model: GPT;
  private readonly optimizer: Optimizer;
  private readonly average: WeightAverage | null;
  private readonly gradient: UpdateGradient;
  private readonly checkpointed: number;
  private readonly phases = { forward: [] as number[], backward: [] as number[], optimizer: [] as number[] };
  private profiled: ReadonlyMap<string, number> | null = null;
  private readonly evaluations: number[] = [];
  /** FLOPs a second that the machine reaches around each step. */
  private readonly limits: number[] = [];

  constructor(
    private readonly entry: BenchmarkModel,
    private readonly backend: Backend,
    private readonly meter: LimitMeter | null,
    private readonly clock: Clock,
  ) {
    const { model, train } = entry.config;
    this.runtime = new Runtime(timed(backend, clock, this.kernels));
    this.model = new GPT(model, this.runtime, { train: true });
    this.model.parameters.initialise(train.seed);
    this.optimizer = createOptimizer(this.model.parameters, train);
    this.average = train.emaDecay > 0 ? new WeightAverage(this.model.parameters, train.emaDecay) : null;
    this.gradient = new UpdateGradient(this.model.parameters, 1, ALONE);
    this.checkpointed = checkpointedApplications(this.model, train);
  }

  /** Takes untimed steps until their times settle. */
  async warmUp(): Promise<void> {
    const { phases, clock } = this;
    await this.step(0);
    let step = 1;
    await settle(clock, WARM_MS, async () => {
      await this.step(step++);
      return this.stepMs().at(-1)!;
    });
    for (const times of [...Object.values(phases), this.evaluations, this.limits]) times.length = 0;
    this.kernels.clear();
  }

  private stepMs(): number[] {
    const { forward, backward, optimizer } = this.phases;
    return forward.map((ms, i) => ms + backward[i] + optimizer[i]);
  }

  async step(step: number): Promise<void> {
    const { meter, backend } = this;
    const batch = randomTokens(this.entry.config, step);
    const before = await meter?.sample(backend.precision);
    const [forward, backward, optimizer] = await this.update(step, batch);
    if (step === 0) return;
    this.phases.forward.push(forward);
    this.phases.backward.push(backward);
    this.phases.optimizer.push(optimizer);
    this.evaluations.push(await this.evaluate(batch));
    const after = await meter?.sample(backend.precision);
    if (before && after) this.limits.push((before + after) / 2);
  }

  /** Times the kernels of one more update by the device's own clock, if calls do not show their time. */
  async profile(): Promise<void> {
    const step = this.stepMs().length + 1;
    const batch = randomTokens(this.entry.config, step);
    const update = async () => void (await this.update(step, batch));
    this.profiled = (await this.backend.limits?.profile?.(update)) ?? null;
  }

  /** Milliseconds of the phases of an update. The loss of step 0 is checked. */
  private async update(step: number, { tokens, targets, B }: Batch): Promise<[number, number, number]> {
    const { model, optimizer, clock } = this;
    const key = { seed: 1, step, microStep: 0 };
    // A schedule's steps are timed with all loops; sampled counts at the mean count, or in turns at the two next to it.
    const { train } = this.entry.config;
    const allLoops = withAllLoops(train);
    const drawn = trainingOptions(model, allLoops, key, this.checkpointed);
    const { loopSampling } = train;
    const loops = meanLoops(allLoops, model.config.nLoop);
    const beside = step % 2 === 0 ? Math.floor(loops) : Math.ceil(loops);
    const forward = loopSampling === 'fixed' ? drawn : { ...drawn, loops: beside };
    const times = [clock.now()];
    model.parameters.zeroGradients();
    const tape = new Tape(this.runtime);
    using output = this.runtime.recording(tape, () => model.loss(tokens, targets, B, 1, forward));
    const values = await output.losses.read();
    times.push(clock.now());
    tape.backward();
    await output.losses.read();
    times.push(clock.now());
    using sums = new UpdateSums(this.runtime, 1);
    await this.gradient.sumSquares(sums.squares, sums.nonFinite);
    optimizer.update(step + 1, 1e-4, sums.squares, sums.nonFinite);
    this.average?.update(sums.nonFinite);
    await sums.read();
    times.push(clock.now());
    if (step === 0) {
      const loss = total(values) / values.length;
      // If embeddings are scaled, logits start with variance σ² = 1, which adds σ²/2 to the loss.
      const { scale } = depthOf(model.config).embedding(model.config);
      const expected = Math.log(model.config.vocabSize) + (scale > 1 ? 0.5 : 0);
      if (!(Math.abs(loss - expected) < 0.5)) {
        throw new Error(`${this.entry.name}: first loss ${loss}, an untrained model has about ${expected}`);
      }
      this.kernels.clear();
    }
    return [times[1] - times[0], times[2] - times[1], times[3] - times[2]];
  }

  /**
   * Milliseconds of a forward pass, including the packing of the weights that were just updated. Its kernels are not
   * counted with those of the step, and the next step packs its weights again, as in training.
   */
  private async evaluate({ tokens, targets, B }: Batch): Promise<number> {
    const kernels = new Map(this.kernels);
    const start = this.clock.now();
    using output = this.model.score(tokens, targets, B);
    await output.losses.read();
    const ms = this.clock.now() - start;
    this.kernels.clear();
    for (const [name, time] of kernels) this.kernels.set(name, time);
    this.backend.write(this.model.parameters.storage, new Float32Array(0)); // no change, but packings are stale
    return ms;
  }

  result(): StepsResult {
    const { forward, backward, optimizer } = this.phases;
    const stepMs = this.stepMs();
    const { model, train } = this.entry.config;
    const tokens = train.batchSize * model.blockSize;
    const tokensPerSecond = (tokens * 1000) / median(stepMs);
    const evaluatedPerSecond = (tokens * 1000) / median(this.evaluations);
    const forwardFlops = forwardFlopsPerToken(model, model.blockSize);
    const share = (flops: number) => (this.limits.length > 0 ? flops / median(this.limits) : null);
    return {
      name: this.entry.name,
      batchSize: train.batchSize,
      blockSize: model.blockSize,
      stepMs: spread(stepMs),
      tokensPerSecond,
      flopsPerSecond: 3 * forwardFlops * tokensPerSecond,
      mfu: share(3 * forwardFlops * tokensPerSecond),
      phaseMs: { forward: median(forward), backward: median(backward), optimizer: median(optimizer) },
      evaluation: {
        ms: median(this.evaluations),
        tokensPerSecond: evaluatedPerSecond,
        mfu: share(forwardFlops * evaluatedPerSecond),
      },
      kernelMs: this.profiled
        ? perStep(this.profiled, 1)
        : kernelMs(this.backend, this.kernels, stepMs.length),
      meanMs: mean(stepMs),
      activationBytes: this.runtime.pool.bytes,
    };
  }

  dispose(): void {
    this.model.dispose();
    this.gradient.dispose();
    this.optimizer.dispose();
    this.average?.dispose();
    this.runtime.pool.trim();
  }
}

function randomTokens({ model, train }: RunConfig, step: number): Batch {
  const [B, T] = [train.batchSize, model.blockSize];
  const draw = (stream: number) =>
    Int32Array.from({ length: B * T }, (_, i) => hashWords(stream, step, i) % model.vocabSize);
  return { B, T, tokens: draw(0), targets: draw(1) };
}

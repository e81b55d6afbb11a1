/**
 * The speed of a suite's models, side by side: training steps in turns, and what skipping halted tokens saves in an
 * evaluation. Apart from the trainings, which other work may have slowed.
 */
import type { Backend } from '../backend/backend.js';
import { GPT } from '../models/gpt.js';
import { Runtime } from '../tensor/tensor.js';
import { batchAt, type TokenSource } from '../evaluate/batches.js';
import { loadWeights } from '../train/checkpoint.js';
import type { Clock, Store } from '../platform.js';
import type { RunConfig } from '../train/config.js';
import { benchmarkSteps } from '../bench/steps.js';
import type { Provenance } from './result.js';
import { median, type Spread } from '../statistics.js';

/** Timed steps of each model; ratios of a dozen differed by a fifth from one time to the next. */
const STEPS = 40;
/** Evaluations of each kind in turns. */
const TURNS = 7;

export interface TimedModel {
  readonly name: string;
  readonly config: RunConfig;
  /** A trained run, whose tokens halt where they have learned to. */
  readonly store: Store;
}

export interface Timing {
  readonly name: string;
  readonly stepMs: Spread;
  readonly tokensPerSecond: number;
  /**
   * Milliseconds of evaluating one batch with halted tokens skipped, over those with every token computed and the
   * halted ones thrown away; null if no token halts early.
   */
  readonly skippingRatio: number | null;
  readonly provenance: Provenance;
}

export async function measureTimings(
  models: readonly TimedModel[],
  val: TokenSource,
  backend: Backend,
  clock: Clock,
  provenance: Provenance,
  onStep: (done: number, of: number) => void,
): Promise<Timing[]> {
  const steps = await benchmarkSteps(models, STEPS, backend, null, clock, onStep);
  const timings: Timing[] = [];
  for (const [i, { name, config, store }] of models.entries()) {
    const { stepMs, tokensPerSecond } = steps[i];
    const skippingRatio =
      config.model.halting === 'none' ? null : await skipping(config, store, val, backend, clock);
    timings.push({ name, stepMs, tokensPerSecond, skippingRatio, provenance });
  }
  return timings;
}

async function skipping(
  { model: config, train }: RunConfig,
  store: Store,
  val: TokenSource,
  backend: Backend,
  clock: Clock,
): Promise<number> {
  const { blockSize: T, vocabSize } = config;
  const B = train.batchSize;
  const offsets = Array.from({ length: B }, (_, b) => b * T);
  const { tokens, targets } = await batchAt(val, offsets, T, vocabSize);
  const models: GPT[] = [];
  for (const used of [backend, computingAll(backend)]) {
    const model = new GPT(config, new Runtime(used), { train: false });
    await loadWeights(store, model, 'last');
    models.push(model);
  }
  const times: [number[], number[]] = [[], []];
  for (let turn = 0; turn <= TURNS; turn++) {
    for (const [k, model] of models.entries()) {
      const start = clock.now();
      using output = model.score(tokens, targets, B);
      await output.losses.read();
      if (turn > 0) times[k].push(clock.now() - start); // the first packs the weights
    }
  }
  for (const model of models) {
    model.dispose();
    model.runtime.pool.trim();
  }
  return median(times[0]) / median(times[1]);
}

/** The backend as one that cannot tell which rows run, so that nothing is skipped. */
function computingAll(backend: Backend): Backend {
  return new Proxy(backend, {
    get(target, name) {
      if (name === 'compact') return () => null;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

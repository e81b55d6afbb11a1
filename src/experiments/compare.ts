/**
 * A comparison: every model of a suite trained on the same tokens, then scored on the whole held-out text and asked for a
 * sample. A comparison that was cut off goes on where it was. Knows no terminal: it tells what happens as events.
 */
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { ConfigError } from '../errors.js';
import { generate } from '../generate/generate.js';
import { type ModelCost, modelCost } from '../models/cost.js';
import { GPT } from '../models/gpt.js';
import type { Runtime } from '../tensor/tensor.js';
import type { TokenSource } from '../train/batches.js';
import type { Clock } from '../train/clock.js';
import type { RunConfig } from '../train/config.js';
import { evaluate } from '../train/evaluation.js';
import { createRun, readRunConfig, runExists } from '../train/run.js';
import type { Store } from '../train/store.js';
import { median } from './statistics.js';
import { type EvalEvent, METRICS_FILE, type StepEvent, type TrainEvent, Trainer } from '../train/trainer.js';

/** One model of a comparison. */
export interface Entrant {
  readonly name: string;
  readonly label: string;
  readonly config: RunConfig;
  readonly store: Store;
}

export interface ComparisonData {
  readonly train: TokenSource;
  readonly val: TokenSource;
  /** Bytes of the held-out text, for bits per byte; null where not known. */
  readonly valBytes: number | null;
  readonly tokenizer: Tokenizer;
}

/** A point of a learning curve. */
export interface CurvePoint {
  readonly step: number;
  readonly tokensSeen: number;
  readonly trainLoss: number;
  readonly valLoss: number;
}

/** What a comparison found of one model. */
export interface Result {
  readonly name: string;
  readonly label: string;
  readonly cost: ModelCost;
  readonly tokensSeen: number;
  /** Nats per token on fixed batches of the training text, at the end. */
  readonly trainLoss: number;
  /** Nats per token on the whole held-out text, at the end. */
  readonly valLoss: number;
  readonly bpb: number | null;
  /** Median over the training steps. */
  readonly tokensPerSecond: number;
  readonly stepMs: number;
  readonly curve: readonly CurvePoint[];
  readonly sample: string;
}

export type ComparisonEvent =
  | { readonly kind: 'start'; readonly entrant: Entrant; readonly step: number }
  | { readonly kind: 'train'; readonly entrant: Entrant; readonly event: TrainEvent }
  | { readonly kind: 'result'; readonly entrant: Entrant; readonly result: Result };

export interface ComparisonOptions {
  readonly entrants: readonly Entrant[];
  readonly data: ComparisonData;
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly prompt: string;
  readonly sampleTokens: number;
}

/** Trains and scores one entrant after the other; ends early, resumable, when `signal` is aborted. */
export async function* compare(
  options: ComparisonOptions,
  signal?: AbortSignal,
): AsyncGenerator<ComparisonEvent> {
  const { entrants, data, runtime, clock } = options;
  for (const entrant of entrants) {
    if (signal?.aborted) return;
    const { config, store } = entrant;
    const model = new GPT(config.model, runtime, { train: true });
    const trainer = new Trainer({
      model,
      config: config.train,
      train: data.train,
      val: data.val,
      store,
      clock,
    });
    try {
      await requireSameRun(entrant);
      await createRun(store, config, data.tokenizer);
      await trainer.start();
      yield { kind: 'start', entrant, step: trainer.step };
      for await (const event of trainer.run(signal)) yield { kind: 'train', entrant, event };
      if (signal?.aborted) return;
      yield { kind: 'result', entrant, result: await score(entrant, model, options) };
    } finally {
      trainer.dispose();
      model.dispose();
      runtime.pool.trim();
    }
  }
}

/** Throws ConfigError where an entrant's folder holds a run of another configuration, from another version of the suite. */
async function requireSameRun({ name, config, store }: Entrant): Promise<void> {
  if (!(await runExists(store))) return;
  if (JSON.stringify(await readRunConfig(store, name)) === JSON.stringify(config)) return;
  throw new ConfigError(
    name,
    'its folder must hold a run of this suite, or none',
    'another configuration',
    'choose another folder, or delete this one',
  );
}

async function score(entrant: Entrant, model: GPT, options: ComparisonOptions): Promise<Result> {
  const { data, clock, prompt, sampleTokens } = options;
  const { name, label, config, store } = entrant;
  const metrics = new TextDecoder()
    .decode(await store.read(METRICS_FILE))
    .trim()
    .split('\n');
  const events = metrics.map((line) => JSON.parse(line) as StepEvent | EvalEvent);
  const steps = events.filter((event): event is StepEvent => event.kind === 'step');
  const evals = events.filter((event): event is EvalEvent => event.kind === 'eval');
  const { loss, bpb } = await evaluate(
    model,
    data.val,
    { B: config.train.batchSize, bytes: data.valBytes },
    clock,
  );
  const sampling = { temperature: 0.8, topK: 50, topP: null, seed: config.train.seed };
  let sample = '';
  for await (const { text } of generate(model, data.tokenizer, prompt, {
    ...sampling,
    tokens: sampleTokens,
  })) {
    sample += text;
  }
  return {
    name,
    label,
    cost: modelCost(config.model),
    tokensSeen: evals.at(-1)!.tokensSeen,
    trainLoss: evals.at(-1)!.trainLoss,
    valLoss: loss,
    bpb,
    tokensPerSecond: median(steps.map((step) => step.tokensPerSecond)),
    stepMs: median(steps.map((step) => step.stepMs)),
    curve: evals.map(({ step, tokensSeen, trainLoss, valLoss }) => ({
      step,
      tokensSeen,
      trainLoss,
      valLoss,
    })),
    sample,
  };
}

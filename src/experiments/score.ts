/** The record of a finished run: its losses, how it behaves from exit to exit, and a sample. */
import { evaluate } from '../evaluate/evaluation.js';
import type { TokenSource } from '../evaluate/batches.js';
import { modelCost } from '../models/cost.js';
import type { GPT } from '../models/gpt.js';
import type { Clock, Store } from '../platform.js';
import { mean, median } from '../statistics.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { RunConfig } from '../train/config.js';
import { readMetrics } from '../train/metrics.js';
import { analyse, firstTokens } from './analysis.js';
import type { Provenance, RunResult } from './result.js';
import { sampleOf } from './sample.js';

/** Held-out tokens that the analysis of a model reads. */
const ANALYSED_TOKENS = 32_768;
const SAMPLE_TOKENS = 200;

export interface FinishedRun {
  readonly name: string;
  readonly label: string;
  readonly config: RunConfig;
  /** With the weights of its last step. */
  readonly model: GPT;
  /** Its folder. */
  readonly store: Store;
  readonly tokensSeen: number;
  /** Nats per token on fixed batches of the training text. */
  readonly trainLoss: number;
  readonly val: TokenSource;
  /** Bytes of the held-out text; null if not known. */
  readonly valBytes: number | null;
  /** The text in words, by which results are known to be of the same. */
  readonly text: string;
  readonly tokenizer: Tokenizer | null;
  readonly prompt: string;
  readonly provenance: Provenance;
  /** Held-out tokens to score; all by default. */
  readonly mostTokens?: number;
}

/** Scores a run; `onProgress` receives the fraction done of reading the held-out text, which is most of the work. */
export async function scoreRun(
  run: FinishedRun,
  clock: Clock,
  onProgress: (fraction: number) => void = () => {},
): Promise<RunResult> {
  const { name, label, config, model, store, tokensSeen, trainLoss, provenance, tokenizer, text } = run;
  const { mostTokens = run.val.length } = run;
  const T = config.model.blockSize;
  const val = firstTokens(run.val, Math.max(T, mostTokens) + 1);
  const bytes = val.length < run.val.length ? null : run.valBytes;
  const B = Math.min(config.train.batchSize, Math.max(1, Math.floor((val.length - 1) / T)));
  const { events } = await readMetrics(store);
  const stepMs = events.flatMap((event) => (event.kind === 'step' ? [event.stepMs] : []));
  const alike = config.train.loopSampling === 'fixed' && config.train.loopSchedule === 'constant';
  const curve = events.flatMap((event) => (event.kind === 'eval' ? [event] : []));
  const found = await evaluate(model, val, { B, bytes, onProgress }, clock);
  return {
    name,
    label,
    seed: config.train.seed,
    config,
    cost: modelCost(config.model),
    tokensSeen,
    trainLoss,
    valLoss: found.loss,
    bpb: found.bpb,
    meanSteps: found.meanSteps,
    // The mean, where the steps differ by their loops.
    stepMs: alike ? median(stepMs) : mean(stepMs),
    curve: curve.map(({ step, tokensSeen: seen, trainLoss: own, valLoss }) => ({
      step,
      tokensSeen: seen,
      trainLoss: own,
      valLoss,
    })),
    analysis: await analyse(model, val, Math.min(ANALYSED_TOKENS, val.length - 1), B, clock),
    sample: await sampleOf(
      model,
      tokenizer,
      run.prompt,
      { seed: config.train.seed, maxTokens: SAMPLE_TOKENS },
      clock,
    ),
    provenance,
    heldOut: { text, tokens: found.tokens },
  };
}

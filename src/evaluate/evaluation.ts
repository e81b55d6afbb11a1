/** Losses on held-out text: a quick estimate on fixed batches, and the whole of a source. */
import { ConfigError } from '../errors.js';
import { averagesExits, exitCount, type ModelConfig } from '../models/config.js';
import type { ScorePass } from '../models/exits/pass.js';
import type { GPT } from '../models/gpt.js';
import { type Batch, batchAt, randomBatch, requireTokens, type TokenSource } from './batches.js';
import type { Clock } from '../platform.js';

/** Step number that marks the batches of an evaluation, which no training step reaches. */
export const EVALUATION = 0xffffffff;

/** Fixed batches, drawn by a seed. */
export interface FixedBatches {
  readonly B: number;
  readonly count: number;
  readonly seed: number;
}

/** Mean loss in nats per token of fixed batches; null if the signal is aborted meanwhile. */
export async function estimateLoss(
  model: GPT,
  source: TokenSource,
  batches: FixedBatches,
  clock: Clock,
  signal?: AbortSignal,
  pass: ScorePass = {},
): Promise<number | null> {
  const found = await scoreBatches(model, source, batches, () => true, clock, signal, pass);
  return found && meanOfBatches(found.losses);
}

/** The mean of batches' values, in their order. */
export function meanOfBatches(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/**
 * The options with which all tokens of a model take every step. Under ACT tokens still halt: its output is a mean up to
 * the step at which a token halts.
 */
export function everyStep(config: ModelConfig): Pick<ScorePass, 'earlyExit'> {
  return averagesExits(config) ? {} : { earlyExit: false };
}

/** Whether a model can run `loops` loops. */
export function canLoop(model: GPT, loops: number): boolean {
  if (!Number.isInteger(loops) || loops < 1) return false;
  try {
    model.requireOptions({ loops });
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

/** The scores of batches, in order. */
export interface BatchScores {
  readonly losses: number[];
  /** Mean steps before a token halted; 0 if none can. */
  readonly meanSteps: number[];
}

/** Scores each batch, with 0 for batches that are not `wanted`; null if the signal is aborted meanwhile. */
export async function scoreBatches(
  model: GPT,
  source: TokenSource,
  { B, count, seed }: FixedBatches,
  wanted: (batch: number) => boolean,
  clock: Clock,
  signal?: AbortSignal,
  pass: ScorePass = {},
): Promise<BatchScores | null> {
  const { blockSize: T, vocabSize } = model.config;
  const none = () => new Array<number>(count).fill(0);
  const found = { losses: none(), meanSteps: none() };
  for (let i = 0; i < count; i++) {
    if (!wanted(i)) continue;
    if (signal?.aborted) return null;
    const batch = await randomBatch(source, B, T, vocabSize, { seed, step: EVALUATION, microStep: i });
    const { losses, steps } = await scoreBatch(model, batch, pass);
    found.losses[i] = total(losses) / losses.length;
    if (steps) found.meanSteps[i] = total(steps) / steps.length;
    await clock.yield();
  }
  return found;
}

/**
 * A warning if a loss in nats per token is above the loss of guessing all tokens with equal probability; otherwise
 * null.
 */
export function worseThanGuessing(loss: number, vocabSize: number): string | null {
  const guessing = Math.log(vocabSize);
  if (loss <= guessing) return null;
  return `above ${guessing.toFixed(4)}, the loss of guessing among ${vocabSize} tokens`;
}

/** The result of an evaluation of a whole source. */
export interface Evaluation {
  /** Loops, steps or layers that were run; all by default. */
  readonly loops: number;
  /** Predicted tokens. */
  readonly tokens: number;
  /** Nats per token. */
  readonly loss: number;
  readonly perplexity: number;
  /** Bits per byte of the text; null if the number of bytes is unknown. */
  readonly bpb: number | null;
  /** Numbers of tokens that halted after 1, 2, … steps; null if none may halt early. */
  readonly stepCounts: readonly number[] | null;
  /** The mean number of steps; null likewise. */
  readonly meanSteps: number | null;
}

/** How a model is run: see ScorePass. */
export type RunOptions = Omit<ScorePass, 'findWrong'>;

/**
 * Loss over every token of a source but its first, in consecutive sequences of the block size (the last one shorter).
 * `bytes` is the size of the source's text. `onProgress` receives the fraction done.
 */
export async function evaluate(
  model: GPT,
  source: TokenSource,
  options: {
    readonly B: number;
    readonly bytes: number | null;
    readonly onProgress?: (fraction: number) => void;
  } & RunOptions,
  clock: Clock,
): Promise<Evaluation> {
  requireTokens(source, 2);
  const { blockSize, vocabSize } = model.config;
  const predicted = source.length - 1;
  const whole = Math.floor(predicted / blockSize);
  const tally = new Tally();
  const run = runOptions(options);
  const score = async (offsets: number[], T: number) => {
    const batch = await batchAt(source, offsets, T, vocabSize);
    tally.add(batch.targets, await scoreBatch(model, batch, run));
    options.onProgress?.((offsets.at(-1)! + T) / predicted);
    await clock.yield();
  };
  for (let first = 0; first < whole; first += options.B) {
    const count = Math.min(options.B, whole - first);
    await score(
      Array.from({ length: count }, (_, i) => (first + i) * blockSize),
      blockSize,
    );
  }
  if (predicted > whole * blockSize) await score([whole * blockSize], predicted - whole * blockSize);
  const { nats, tokens } = tally;
  const loss = nats / tokens;
  return {
    loops: options.loops ?? exitCount(model.config),
    tokens,
    loss,
    perplexity: Math.exp(loss),
    bpb: options.bytes === null ? null : nats / Math.LN2 / options.bytes,
    ...tally.steps(),
  };
}

/** Only the fields of RunOptions that are set. */
export function runOptions({ loops, earlyExit, exit }: RunOptions): RunOptions {
  return Object.fromEntries(
    Object.entries({ loops, earlyExit, exit }).filter(([, value]) => value !== undefined),
  );
}

/** The result of a pass, row by row. */
export interface Scores {
  /** Nats; 0 if the target is −1. */
  readonly losses: ArrayLike<number> & Iterable<number>;
  /** Steps before the row halted; null if all rows took every step. */
  readonly steps: Int32Array | null;
  /** 1 if the most probable token is not the target; null unless requested. */
  readonly wrong: ArrayLike<number> | null;
}

/** Runs a batch. */
export async function scoreBatch(
  model: GPT,
  { tokens, targets, B }: Pick<Batch, 'tokens' | 'targets' | 'B'>,
  pass: ScorePass,
): Promise<Scores> {
  using output = model.score(tokens, targets, B, pass);
  const { stepsPerRow, wrong } = output;
  const steps = stepsPerRow ? ((await stepsPerRow.read()) as Int32Array) : null;
  return { losses: await output.losses.read(), steps, wrong: wrong && (await wrong.read()) };
}

/** Sums the results of passes over the counted tokens: those whose target is not −1. */
export class Tally {
  nats = 0;
  tokens = 0;
  private readonly counts: number[] = [];

  add(targets: Int32Array, { losses, steps }: Scores): void {
    this.nats += total(losses);
    for (let r = 0; r < targets.length; r++) {
      if (targets[r] < 0) continue;
      this.tokens++;
      if (steps) this.counts[steps[r] - 1] = (this.counts[steps[r] - 1] ?? 0) + 1;
    }
  }

  steps(): Pick<Evaluation, 'stepCounts' | 'meanSteps'> {
    if (this.counts.length === 0) return { stepCounts: null, meanSteps: null };
    const stepCounts = Array.from(this.counts, (count) => count ?? 0);
    return { stepCounts, meanSteps: total(stepCounts.map((count, i) => count * (i + 1))) / this.tokens };
  }
}

/** Sum in double precision. */
export function total(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

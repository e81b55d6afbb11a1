/** Losses on held-out text: a quick estimate on fixed batches, and the whole of a source. */
import type { GPT } from '../models/gpt.js';
import { type Batch, batchAt, randomBatch, requireTokens, type TokenSource } from './batches.js';
import type { Clock } from './clock.js';

/** Step number that marks the batches of an evaluation, which no training step reaches. */
const EVALUATION = 0xffffffff;

/** Mean loss in nats per token of the fixed batches that a seed names; null when the signal is aborted meanwhile. */
export async function estimateLoss(
  model: GPT,
  source: TokenSource,
  batches: { readonly B: number; readonly count: number; readonly seed: number },
  clock: Clock,
  signal?: AbortSignal,
): Promise<number | null> {
  const { blockSize: T, vocabSize } = model.config;
  let sum = 0;
  for (let i = 0; i < batches.count; i++) {
    if (signal?.aborted) return null;
    const key = { seed: batches.seed, step: EVALUATION, microStep: i };
    const losses = await rowLosses(model, await randomBatch(source, batches.B, T, vocabSize, key));
    sum += total(losses) / losses.length;
    await clock.yield();
  }
  return sum / batches.count;
}

/** What an evaluation of a whole source found. */
export interface Evaluation {
  /** Outer loops that were run; the trained count where none was asked for. */
  readonly loops: number;
  /** Predicted tokens. */
  readonly tokens: number;
  /** Nats per token. */
  readonly loss: number;
  readonly perplexity: number;
  /** Bits per byte of the text; null where the number of bytes is not known. */
  readonly bpb: number | null;
}

/**
 * Loss over every token of a source but its first, in consecutive sequences of the block size (the last one shorter).
 * `bytes` is the size of the source's text. `onProgress` receives the fraction done.
 */
export async function evaluate(
  model: GPT,
  source: TokenSource,
  options: {
    readonly B: number;
    readonly loops?: number;
    readonly bytes: number | null;
    readonly onProgress?: (fraction: number) => void;
  },
  clock: Clock,
): Promise<Evaluation> {
  requireTokens(source, 2);
  const { blockSize, vocabSize, nLoop } = model.config;
  const predicted = source.length - 1;
  const whole = Math.floor(predicted / blockSize);
  let nats = 0;
  const score = async (offsets: number[], T: number) => {
    const losses = await rowLosses(model, await batchAt(source, offsets, T, vocabSize), options.loops);
    nats += total(losses);
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
  const loss = nats / predicted;
  return {
    loops: options.loops ?? nLoop,
    tokens: predicted,
    loss,
    perplexity: Math.exp(loss),
    bpb: options.bytes === null ? null : nats / Math.LN2 / options.bytes,
  };
}

async function rowLosses(
  model: GPT,
  { tokens, targets, B }: Batch,
  loops?: number,
): Promise<ArrayLike<number> & Iterable<number>> {
  using losses = model.loss(tokens, targets, B, 1, loops === undefined ? {} : { loops });
  return losses.read();
}

/** Sum in double precision. */
export function total(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

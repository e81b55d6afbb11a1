/**
 * Perplexity of a text of any length by a sliding window, as Hugging Face's guide "Perplexity of fixed-length models"
 * does it: windows of the block size begin every `stride` tokens, and each counts only the tokens that no former window
 * has read. Every counted token except those of the first window thus has at least blockSize − stride tokens before it.
 *
 * A window predicts its tokens from one another, so its first one is never predicted: the text's first token, and with
 * stride = blockSize (disjoint windows) the first of each window. The guide weights each window's mean loss by its
 * counted tokens less one; here all counted tokens have equal weight.
 */
import { ConfigError } from '../errors.js';
import { exitCount } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
import { batchAt, requireTokens, type TokenSource } from './batches.js';
import type { Clock } from '../platform.js';
import { type Evaluation, type RunOptions, runOptions, scoreBatch, Tally } from './evaluation.js';

/** Tokens `start` to `end` of a text, scored from `counted` on. */
export interface Window {
  readonly start: number;
  readonly end: number;
  readonly counted: number;
}

/** The windows over a text of `length` tokens, without windows that would score nothing. */
export function slidingWindows(length: number, size: number, stride: number): Window[] {
  const windows: Window[] = [];
  let seen = 0;
  for (let start = 0; seen < length; start += stride) {
    const end = Math.min(start + size, length);
    const counted = Math.max(seen, start + 1);
    if (counted < end) windows.push({ start, end, counted });
    seen = end;
  }
  return windows;
}

/**
 * Scores a text. `bytes` is its size; bits per byte are the mean loss of the counted tokens times the tokens of a byte,
 * counted over the whole text, so that tokens that are never predicted do not count as free.
 *
 * @throws ConfigError for a stride outside 1..blockSize, DataError for a text of a single token
 */
export async function slidingLoss(
  model: GPT,
  text: TokenSource,
  options: {
    readonly B: number;
    readonly bytes: number;
    readonly stride: number;
    readonly onProgress?: (fraction: number) => void;
  } & RunOptions,
  clock: Clock,
): Promise<Evaluation> {
  const { blockSize, vocabSize } = model.config;
  const { B, stride, bytes } = options;
  requireTokens(text, 2);
  if (blockSize < 2) throw new ConfigError('blockSize', 'must be at least 2 to predict within it', blockSize);
  if (!Number.isInteger(stride) || stride < 1 || stride > blockSize) {
    throw new ConfigError('stride', `must be a whole number from 1 to blockSize = ${blockSize}`, stride);
  }
  const windows = slidingWindows(text.length, blockSize, stride);
  const tally = new Tally();
  const run = runOptions(options);
  for (let first = 0; first < windows.length; ) {
    const T = windows[first].end - windows[first].start - 1;
    const group = windows.slice(first, first + B).filter(({ start, end }) => end - start - 1 === T);
    const offsets = group.map(({ start }) => start);
    const batch = await batchAt(text, offsets, T, vocabSize);
    for (const [b, { start, counted }] of group.entries()) {
      // Row t predicts token start + t + 1.
      batch.targets.fill(-1, b * T, b * T + counted - start - 1);
    }
    tally.add(batch.targets, await scoreBatch(model, batch, run));
    first += group.length;
    options.onProgress?.(first / windows.length);
    await clock.yield();
  }
  const loss = tally.nats / tally.tokens;
  return {
    loops: options.loops ?? exitCount(model.config),
    tokens: tally.tokens,
    loss,
    perplexity: Math.exp(loss),
    bpb: ((loss / Math.LN2) * text.length) / bytes,
    ...tally.steps(),
  };
}

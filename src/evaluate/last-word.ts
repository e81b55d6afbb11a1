/**
 * How well a model predicts the last word of texts, as in LAMBADA (Paperno et al. 2016, arXiv 1606.06031) with the
 * scoring of EleutherAI's evaluation harness (lambada_openai). The context is everything before the last space; the
 * target is the space and the rest. The target is right if each of its tokens is the most probable one, given the true
 * tokens before it.
 */
import { DataError } from '../errors.js';
import { exitCount } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Clock } from '../platform.js';
import { type Evaluation, type RunOptions, runOptions, scoreBatch, Tally } from './evaluation.js';

/** A text cut before its last word. */
export interface LastWord {
  /** Empty if the text is a single word. */
  readonly context: string;
  /** The last word with the white space before it. */
  readonly target: string;
}

/** Cuts a text before its last word, ignoring white space at its end; null if it has no word. */
export function cutLastWord(text: string): LastWord | null {
  const trimmed = text.trimEnd();
  if (trimmed === '') return null;
  const space = trimmed.lastIndexOf(' ');
  if (space < 0) return { context: '', target: ` ${trimmed}` };
  const context = trimmed.slice(0, space).trimEnd();
  return { context, target: trimmed.slice(context.length) };
}

/** A text as tokens. */
export interface EncodedLastWord {
  /** The end of the context, and the target. */
  readonly ids: Uint16Array;
  /** How many of the ids, at the end, are the target. */
  readonly targetTokens: number;
  /** Bytes of the target in UTF-8. */
  readonly targetBytes: number;
}

/**
 * Encodes a whole text, so that its tokens are those that a model reads, and cuts it at the left to the block size. An
 * empty context is the end of a text. Throws DataError if the target alone does not fit.
 */
export function encodeLastWord(
  { context, target }: LastWord,
  tokenizer: Tokenizer,
  blockSize: number,
): EncodedLastWord {
  const before = tokenizer.encode(context);
  const all = tokenizer.encode(context + target);
  const targetTokens = all.length - before.length;
  if (targetTokens < 1 || targetTokens > blockSize) {
    throw new DataError('last word', `must have 1 to ${blockSize} tokens (blockSize)`, targetTokens);
  }
  if (before.length === 0 && tokenizer.eot === null) {
    throw new DataError('last word', `must have a context for tokenizer ${tokenizer.name}`, target);
  }
  const ids = before.length > 0 ? all : Uint16Array.of(tokenizer.eot!, ...all);
  const targetBytes = new TextEncoder().encode(target).length;
  // The last token is only predicted, so that blockSize + 1 tokens fit.
  return { ids: ids.slice(-(blockSize + 1)), targetTokens, targetBytes };
}

export interface LastWordEvaluation extends Omit<Evaluation, 'loss' | 'perplexity' | 'bpb'> {
  /** Predicted words, one per text. */
  readonly words: number;
  /** Share of the words of which every token was the most probable one. */
  readonly accuracy: number;
  /** Nats per word. */
  readonly loss: number;
  /** e^loss, of whole words. */
  readonly perplexity: number;
  /** Bits per byte of the words, including the space before each. */
  readonly bpb: number;
}

/**
 * Scores texts, of which there is at least one; `tokens` are those of the words. Throws DataError for an id beyond the
 * vocabulary.
 */
export async function lastWordLoss(
  model: GPT,
  texts: readonly EncodedLastWord[],
  options: { readonly B: number; readonly onProgress?: (fraction: number) => void } & RunOptions,
  clock: Clock,
): Promise<LastWordEvaluation> {
  const run = { ...runOptions(options), findWrong: true };
  const tally = new Tally();
  let right = 0;
  let bytes = 0;
  let done = 0;
  for (const group of batchesOfOneLength(texts, options.B)) {
    const batch = batchOf(group, model.config.vocabSize);
    const scores = await scoreBatch(model, batch, run);
    tally.add(batch.targets, scores);
    for (const [b, { targetTokens, targetBytes }] of group.entries()) {
      const end = (b + 1) * batch.T;
      let wrong = 0;
      for (let r = end - targetTokens; r < end; r++) wrong += scores.wrong![r];
      if (wrong === 0) right++;
      bytes += targetBytes;
    }
    done += group.length;
    options.onProgress?.(done / texts.length);
    await clock.yield();
  }
  const loss = tally.nats / texts.length;
  return {
    loops: options.loops ?? exitCount(model.config),
    words: texts.length,
    tokens: tally.tokens,
    accuracy: right / texts.length,
    loss,
    perplexity: Math.exp(loss),
    bpb: tally.nats / Math.LN2 / bytes,
    ...tally.steps(),
  };
}

/**
 * Batches of at most B texts of equal length: padding would cost time, and halting rules over whole sequences would see
 * it.
 */
function* batchesOfOneLength(texts: readonly EncodedLastWord[], B: number): Generator<EncodedLastWord[]> {
  const byLength = new Map<number, EncodedLastWord[]>();
  for (const text of texts) {
    const alike = byLength.get(text.ids.length);
    if (alike) alike.push(text);
    else byLength.set(text.ids.length, [text]);
  }
  for (const alike of byLength.values()) {
    for (let first = 0; first < alike.length; first += B) yield alike.slice(first, first + B);
  }
}

/** A batch in which only the targets' tokens count. */
function batchOf(group: readonly EncodedLastWord[], vocabSize: number) {
  const T = group[0].ids.length - 1;
  const B = group.length;
  const tokens = new Int32Array(B * T);
  const targets = new Int32Array(B * T).fill(-1);
  for (const [b, { ids, targetTokens }] of group.entries()) {
    for (const id of ids) {
      if (id >= vocabSize) {
        throw new DataError('token id', `must be below the model's vocabSize = ${vocabSize}`, id);
      }
    }
    tokens.set(ids.subarray(0, T), b * T);
    targets.set(ids.subarray(-targetTokens), (b + 1) * T - targetTokens);
  }
  return { B, T, tokens, targets };
}

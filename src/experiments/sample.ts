/** Text that a model generates during training, and at the end. */
import { Model } from '../generate/model.js';
import type { GPT } from '../models/gpt.js';
import type { Clock } from '../platform.js';
import { type Tokenizer, tokensBeyond } from '../tokenizer/tokenizer.js';
import type { EvalNotes } from '../train/events.js';

/** Tokens of a sample at an evaluation: few, since they are made one after the other. */
const SHORT_SAMPLE = 60;

export interface SampleOptions {
  readonly seed: number;
  readonly maxTokens: number;
  /** The model's own by default. */
  readonly loops?: number;
}

/** The model's continuation of a prompt; empty if the data has no tokenizer. */
export async function sampleOf(
  model: GPT,
  tokenizer: Tokenizer | null,
  prompt: string,
  { seed, maxTokens, loops }: SampleOptions,
  clock: Clock,
  signal?: AbortSignal,
): Promise<string> {
  if (!tokenizer) return '';
  const options = {
    ...{ temperature: 0.8, topK: 50, seed, maxTokens },
    ...(loops === undefined ? {} : { loops }),
    ...(signal ? { signal } : {}),
  };
  // Characters have no token that begins a text; the first of nanoGPT's is the line break, from which it samples.
  const beginning = prompt === '' && tokenizer.eot === null ? [0] : prompt;
  const own = new Model(model, tokenizer, clock);
  try {
    let sample = '';
    for await (const { text } of own.generate(beginning, options)) sample += text;
    return sample;
  } finally {
    await own.release(); // the weights are the training's
  }
}

/** The notes of an evaluation besides losses. */
export interface Noted {
  readonly model: GPT;
  readonly tokenizer: Tokenizer | null;
  readonly prompt: string;
  readonly seed: number;
  readonly clock: Clock;
  /** Bytes of resident memory. */
  readonly memory?: (() => number) | undefined;
}

/** A short sample, the same seed's each time, and the memory in use. */
export function evalNotes({ model, tokenizer, prompt, seed, clock, memory }: Noted) {
  const { vocabSize, blockSize } = model.config;
  const writes = tokenizer !== null && tokensBeyond(tokenizer, vocabSize) !== undefined;
  const options = { seed, maxTokens: Math.min(SHORT_SAMPLE, blockSize) };
  return async (signal?: AbortSignal, pass: Pick<SampleOptions, 'loops'> = {}): Promise<EvalNotes | null> => {
    const asked = { ...options, ...pass };
    const sample = writes ? await sampleOf(model, tokenizer, prompt, asked, clock, signal) : null;
    if (signal?.aborted) return null;
    return {
      ...(sample === null ? {} : { sample: `${prompt}${sample}` }),
      ...(memory ? { memoryBytes: memory() } : {}),
    };
  };
}

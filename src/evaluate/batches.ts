/** Batches of token sequences, chosen by a pure function of the seed and the step. It must not import files. */
import { DataError } from '../errors.js';
import { hashWords } from '../random.js';

/** A long run of token ids with random access; a token shard is one (see `data/shard.ts`). */
export interface TokenSource {
  /** Named in errors: the shard's file. */
  readonly name: string;
  /** Number of tokens. */
  readonly length: number;
  /** The remedy if more tokens are needed, for messages. */
  readonly tooShort?: string | undefined;
  read(offset: number, count: number): Promise<Uint16Array>;
}

/** A TokenSource over token ids in memory; `name` is for messages. */
export function tokensOf(name: string, ids: Uint16Array): TokenSource {
  return { name, length: ids.length, read: async (offset, count) => ids.subarray(offset, offset + count) };
}

/** B sequences of T tokens and, for each position, the token that follows; both (B, T). */
export interface Batch {
  readonly B: number;
  readonly T: number;
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
}

/** The counter from which a random batch is drawn. */
export interface BatchKey {
  readonly seed: number;
  readonly step: number;
  readonly microStep: number;
}

/**
 * Draws B sequences at uniformly random offsets, as nanoGPT does. Throws DataError for a short source or a large id.
 */
export async function randomBatch(
  source: TokenSource,
  B: number,
  T: number,
  vocabSize: number,
  key: BatchKey,
): Promise<Batch> {
  requireTokens(source, T + 1);
  const offsets = Array.from({ length: B }, (_, row) => {
    const draw = (word: number) => hashWords(key.seed, key.step, key.microStep, row, word);
    const fraction = (draw(0) * 2 ** 21 + (draw(1) >>> 11)) / 2 ** 53;
    return Math.floor(fraction * (source.length - T));
  });
  return batchAt(source, offsets, T, vocabSize);
}

/** The sequences that start at the given offsets. */
export async function batchAt(
  source: TokenSource,
  offsets: readonly number[],
  T: number,
  vocabSize: number,
): Promise<Batch> {
  const B = offsets.length;
  const tokens = new Int32Array(B * T);
  const targets = new Int32Array(B * T);
  const reads = offsets.map((offset) => source.read(offset, T + 1));
  // All reads end before the first error is thrown, so that none is pending when the source is closed.
  await Promise.allSettled(reads);
  for (const [b, offset] of offsets.entries()) {
    const ids = await reads[b];
    for (let t = 0; t <= T; t++) {
      if (ids[t] >= vocabSize) {
        const where = `${source.name}, token ${offset + t}`;
        throw new DataError(where, `must be below the model's vocabSize = ${vocabSize}`, ids[t]);
      }
    }
    tokens.set(ids.subarray(0, T), b * T);
    targets.set(ids.subarray(1, T + 1), b * T);
  }
  return { B, T, tokens, targets };
}

/** Throws DataError if a source has fewer than `least` tokens. */
export function requireTokens(source: TokenSource, least: number): void {
  if (source.length >= least) return;
  throw new DataError(
    source.name,
    `must hold at least ${least} tokens, one sequence and its last target`,
    source.length,
    `choose a smaller blockSize or ${source.tooShort ?? 'more text'}`,
  );
}

/**
 * Runs a model over growing sequences: each call hands it the new tokens of some sequences and takes the logits after the
 * last of them. What came before is in a key/value cache. Knows no sampling and no text.
 */
import { PAGE_POSITIONS } from '../backend/backend.js';
import { ConfigError } from '../errors.js';
import { exitCount } from '../models/config.js';
import { cacheSlots } from '../models/cost.js';
import type { ExitOptions } from '../models/exits/options.js';
import type { DecodePass } from '../models/exits/pass.js';
import type { GPT, RowLogits } from '../models/gpt.js';
import { CachedBatch, CachedSequence, KeyValueCache } from './cache.js';

/** How every token of a sequence is computed. */
export interface SequenceOptions {
  /** Loops, steps or layers for each token; the trained count where absent. */
  readonly loops?: number;
  /** By what tokens leave early; the model's own halting rule, where it has one, by default. */
  readonly exit?: ExitOptions;
}

/** New tokens of one sequence, at least one. */
export interface Extension {
  readonly sequence: Sequence;
  readonly tokens: ArrayLike<number>;
}

/** What follows the last token of each of B sequences. */
export interface Next {
  /** (B, V). */
  readonly logits: Float32Array;
  /** Loops, steps or layers that each last token took (B). */
  readonly steps: Int32Array;
}

/** A sequence that a decoder holds; `dispose` gives its memory back. */
export class Sequence implements Disposable {
  constructor(
    readonly options: SequenceOptions,
    readonly cached: CachedSequence,
  ) {}

  /** Tokens that it has been extended by. */
  get length(): number {
    return this.cached.length;
  }

  /** Takes the tokens of another sequence with the same options for its own, which must have none. */
  copy(other: Sequence): void {
    this.cached.copy(other.cached);
  }

  /** Forgets all but the first `length` tokens. */
  cut(length: number): void {
    this.cached.length = Math.min(length, this.cached.length);
  }

  dispose(): void {
    this.cached[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

export class Decoder implements Disposable {
  readonly cache: KeyValueCache;
  private readonly trainedSteps: number;

  constructor(readonly model: GPT) {
    this.trainedSteps = exitCount(model.config);
    this.cache = new KeyValueCache(model.runtime, model.config);
  }

  /** Starts an empty sequence. Throws ConfigError for options that the model does not have. */
  open(options: SequenceOptions = {}): Sequence {
    this.model.requireOptions(options);
    return new Sequence(options, new CachedSequence(this.cache));
  }

  /** Bytes of the cache that a sequence of so many tokens takes. */
  cacheBytes(tokens: number, { loops }: SequenceOptions): number {
    const pages = Math.ceil(tokens / PAGE_POSITIONS) * cacheSlots(this.model.config, loops);
    return pages * this.cache.pageBytes;
  }

  /**
   * Takes the new tokens of sequences that differ from each other. A row's bits depend on its own sequence only: not on
   * the others, and not on how its tokens are cut into calls. Throws ConfigError where a sequence would grow beyond the
   * block size, before any has changed.
   */
  async extend(batch: readonly Extension[]): Promise<Next> {
    const { blockSize, vocabSize: V } = this.model.config;
    for (const { sequence, tokens } of batch) {
      const length = sequence.length + tokens.length;
      if (length <= blockSize) continue;
      throw new ConfigError('sequence', `must have at most blockSize = ${blockSize} tokens`, length);
    }
    const logits = new Float32Array(batch.length * V);
    const steps = new Int32Array(batch.length);
    // Those with the same options can share a pass.
    for (const members of groupsOf(batch.keys(), (b) => batch[b].sequence.options)) {
      const { options } = batch[members[0]].sequence;
      const next = await this.pass(
        members.map((b) => batch[b]),
        options,
      );
      for (const [i, b] of members.entries()) {
        logits.set(next.logits.subarray(i * V, (i + 1) * V), b * V);
        steps[b] = next.steps?.[i] ?? options.loops ?? this.trainedSteps;
      }
    }
    return { logits, steps };
  }

  /** One forward pass over sequences with the same options: logits after the last token of each, or after every token. */
  async pass(parts: readonly Extension[], options: DecodePass, everyToken = false): Promise<RowLogits> {
    using batch = new CachedBatch(
      this.cache,
      parts.map(({ sequence, tokens }) => ({ sequence: sequence.cached, count: tokens.length })),
    );
    const tokens = Int32Array.from(parts.flatMap((part) => Array.from(part.tokens)));
    let end = 0;
    const ends = parts.map((part) => {
      end += part.tokens.length;
      return end - 1;
    });
    const rows = everyToken ? Int32Array.from(tokens.keys()) : Int32Array.from(ends);
    const next = await this.model.logitsAt(tokens, batch, rows, options);
    batch.commit();
    return next;
  }

  dispose(): void {
    this.cache[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Items with equal keys together, in the order in which they first come. */
export function groupsOf<Item>(items: Iterable<Item>, keyOf: (item: Item) => unknown): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = JSON.stringify(keyOf(item));
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups.values()];
}

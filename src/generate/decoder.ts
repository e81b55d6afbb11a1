/**
 * Runs a model over growing sequences: each call takes the new tokens of some sequences and returns the logits after
 * the last of them. Former tokens are in a key/value cache. It must not import sampling or text.
 */
import { PAGE_POSITIONS } from '../backend/backend.js';
import { ConfigError } from '../errors.js';
import { exitCount } from '../models/config.js';
import { cacheSlots } from '../models/cost.js';
import type { ExitOptions } from '../models/exits/options.js';
import type { DecodePass } from '../models/exits/pass.js';
import type { GPT, RowLogits } from '../models/gpt.js';
import type { RowScores } from '../models/losses.js';
import { CachedBatch, CachedSequence, KeyValueCache } from './cache.js';

/** How every token of a sequence is computed. */
export interface SequenceOptions {
  /** Loops, steps or layers for each token; the trained count by default. */
  readonly loops?: number;
  /** How tokens exit early; by default the model's own halting rule, if it has one. */
  readonly exit?: ExitOptions;
}

/** New tokens of one sequence, at least one. */
export interface Extension {
  readonly sequence: Sequence;
  readonly tokens: ArrayLike<number>;
  /** The tokens to score after each of these (n), −1 for none; absent for no scores. */
  readonly targets?: Int32Array;
  /** Whether to return the logits wherever there is a target; false by default. */
  readonly targetLogits?: boolean;
  /** Whether to compute the logits after the last token; true by default. */
  readonly goesOn?: boolean;
}

/** What follows the last token of each of B sequences. */
export interface Next {
  /** (B, V); zero for a sequence with `goesOn` false. */
  readonly logits: Float32Array;
  /** Loops, steps or layers that each last token took (B); zero likewise. */
  readonly steps: Int32Array;
  /** The scores of each sequence's targets, in their order; null for sequences without targets (B). */
  readonly scores: readonly (RowScores | null)[];
}

/** A sequence of a decoder; `dispose` releases its memory. */
export class Sequence implements Disposable {
  constructor(
    readonly options: SequenceOptions,
    readonly cached: CachedSequence,
  ) {}

  /** Number of tokens in it. */
  get length(): number {
    return this.cached.length;
  }

  /**
   * Copies the first tokens of another sequence with the same options, by default all, to this sequence, which must be
   * empty. `length` may be less than all if sequences are divisible.
   */
  copy(other: Sequence, length = other.length): void {
    this.cached.copy(other.cached, length);
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

  /**
   * Whether a sequence's first tokens are a valid sequence too. They are not if a token's keys depend on which other
   * tokens are in its call, or its exit on a mean over all of them.
   */
  get divisible(): boolean {
    const { kvSharing, halting } = this.model.config;
    return kvSharing !== 'last-loop' && halting !== 'sequence';
  }

  /** Starts an empty sequence. Throws ConfigError for options that the model does not have. */
  open(options: SequenceOptions = {}): Sequence {
    this.model.requireOptions(options);
    return new Sequence(options, new CachedSequence(this.cache));
  }

  /** Bytes of cache that a sequence of `tokens` tokens takes. */
  cacheBytes(tokens: number, { loops }: SequenceOptions): number {
    const pages = Math.ceil(tokens / PAGE_POSITIONS) * cacheSlots(this.model.config, loops);
    return pages * this.cache.pageBytes;
  }

  /**
   * Takes new tokens of distinct sequences. A row's bits depend on its own sequence only: not on other sequences, and
   * not on how its tokens are cut into calls. Throws ConfigError, before any sequence has changed, if one would grow
   * beyond the block size.
   *
   * @param into memory of at least batch.length · V elements that the logits may use, for a caller that reads them at
   * once
   */
  async extend(batch: readonly Extension[], into: Float32Array | null = null): Promise<Next> {
    const { blockSize, vocabSize: V } = this.model.config;
    for (const { sequence, tokens } of batch) {
      const length = sequence.length + tokens.length;
      if (length <= blockSize) continue;
      throw new ConfigError('sequence', `must have at most blockSize = ${blockSize} tokens`, length);
    }
    let logits: Float32Array | null = null;
    const steps = new Int32Array(batch.length);
    const scores: (RowScores | null)[] = batch.map(() => null);
    // Sequences with the same options can share a pass.
    const keyOf = (b: number) => [batch[b].sequence.options, batch[b].targetLogits ?? false];
    const groups = groupsOf(batch.keys(), keyOf);
    for (const members of groups) {
      const { options } = batch[members[0]].sequence;
      const parts = members.map((b) => batch[b]);
      const next = await this.pass(parts, options, false, groups.length === 1 ? into : null);
      // Returned as they are if there is only one pass.
      const whole = next.logits.length === batch.length * V;
      if (whole) logits = next.logits;
      else logits ??= new Float32Array(batch.length * V);
      let row = 0;
      let scored = 0;
      for (const [i, b] of members.entries()) {
        const { targets, goesOn = true } = parts[i];
        if (targets && next.scores) {
          const end = scored + targets.reduce((count, id) => count + (id >= 0 ? 1 : 0), 0);
          if (end > scored) scores[b] = partOf(next.scores, scored, end, V);
          scored = end;
        }
        if (!goesOn) continue;
        if (!whole) logits.set(next.logits.subarray(row * V, (row + 1) * V), b * V);
        steps[b] = next.steps?.[row] ?? options.loops ?? this.trainedSteps;
        row++;
      }
    }
    return { logits: logits ?? new Float32Array(), steps, scores };
  }

  /**
   * One forward pass over sequences with the same options: logits after the last token of each sequence that goes on,
   * or after every token, and the targets' scores.
   */
  async pass(
    parts: readonly Extension[],
    options: DecodePass,
    everyToken = false,
    into: Float32Array | null = null,
  ): Promise<RowLogits> {
    using batch = new CachedBatch(
      this.cache,
      parts.map(({ sequence, tokens }) => ({ sequence: sequence.cached, count: tokens.length })),
    );
    const tokens = Int32Array.from(parts.flatMap((part) => Array.from(part.tokens)));
    const ends: number[] = [];
    const scored = { rows: [] as number[], targets: [] as number[] };
    let first = 0;
    for (const { tokens: own, targets, goesOn = true } of parts) {
      for (const [i, id] of (targets ?? []).entries()) {
        if (id < 0) continue;
        scored.rows.push(first + i);
        scored.targets.push(id);
      }
      first += own.length;
      if (goesOn) ends.push(first - 1);
    }
    const rows = everyToken ? Int32Array.from(tokens.keys()) : Int32Array.from(ends);
    const asked = scored.rows.length > 0 && {
      rows: Int32Array.from(scored.rows),
      targets: Int32Array.from(scored.targets),
      wantLogits: parts[0].targetLogits ?? false,
    };
    const next = await this.model.logitsAt(tokens, batch, rows, options, asked || null, into);
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

/** The scores of the rows [start, end). */
function partOf(
  { losses, argmax, maxProb, logits }: RowScores,
  start: number,
  end: number,
  V: number,
): RowScores {
  return {
    losses: losses.subarray(start, end),
    argmax: argmax.subarray(start, end),
    maxProb: maxProb.subarray(start, end),
    logits: logits?.subarray(start * V, end * V) ?? null,
  };
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

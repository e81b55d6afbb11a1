/**
 * Keys and values that loops share, so that a cache holds k slots a layer instead of one a loop: loop n has the slot n
 * mod k (k = 1 where other papers speak of the first or the last loop). The setting decides which loop fills a slot:
 *
 * - `first-loop`: the first of its loops. Later loops have queries only, and attend to that loop's keys and values at
 *   every position, including their own; Mixture-of-Recursions (arXiv 2507.10524) calls this "recursive KV sharing".
 *   Training and decoding compute the same.
 * - `last-loop`: each of its loops in turn. In decoding, a token attends to the past as the last loop left it (arXiv
 *   2510.25741), and to the tokens of its own pass as the current loop has them. Training has no past, so it does not
 *   change; a decoder's output depends on how the tokens are cut into passes.
 */
import type { Tensor } from '../tensor/tensor.js';
import { alias } from '../tensor/ops.js';
import type { ApplicationPlace } from './batch.js';
import type { ModelConfig } from './model-fields.js';

/** Keys and values (R, H·HS) of an application, at their columns beside its queries. */
export interface KeptKeys {
  readonly qkv: Tensor;
  /** Whether a tape recorded how they were made. */
  readonly recorded: boolean;
}

/** Keys and values that the loops of one pass share. */
export class KeyValueSharing implements Disposable {
  private readonly kept = new Map<string, KeptKeys>();
  private readonly loops: number;
  private readonly first: boolean;

  /** Null if every application has its own keys and values. */
  static of(config: ModelConfig): KeyValueSharing | null {
    return config.kvSharing === 'per-application' ? null : new KeyValueSharing(config);
  }

  private constructor({ kvSharing, kvLoops }: ModelConfig) {
    this.first = kvSharing === 'first-loop';
    this.loops = kvLoops;
  }

  /** Where the keys and values of `place` are cached. */
  slot(place: ApplicationPlace): ApplicationPlace {
    return { ...place, loop: place.loop % this.loops };
  }

  /** The keys and values that `place` uses; null for its own. */
  keysAt(place: ApplicationPlace): KeptKeys | null {
    return place.loop < this.loops ? null : (this.kept.get(keyOf(this.slot(place))) ?? null);
  }

  /** Whether a later loop needs the keys and values of `place`. */
  lends(place: ApplicationPlace): boolean {
    return this.first && place.loop < this.loops;
  }

  /** Keeps the keys and values of an application that lends them. */
  keep(place: ApplicationPlace, qkv: Tensor): void {
    this.kept.set(keyOf(place), { qkv: alias(qkv), recorded: qkv.runtime.tape !== null });
  }

  [Symbol.dispose](): void {
    for (const { qkv } of this.kept.values()) qkv.dispose();
    this.kept.clear();
  }
}

function keyOf({ loop, layer, inner }: ApplicationPlace): string {
  return `${loop}.${layer}.${inner}`;
}

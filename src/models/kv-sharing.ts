/**
 * Keys and values that loops share, so that a cache holds k slots a layer instead of one a loop: loop n has the slot
 * n mod k (k = 1 where the paper's rivals speak of the first or the last loop). Who fills a slot is the setting:
 *
 * - `first-loop`: the first of its loops. The later ones bring queries only, and attend to that loop's keys and values at
 *   every position, their own included: what "recursive KV sharing" is to Mixture-of-Recursions (arXiv 2507.10524). It is
 *   the same computation in training and in decoding.
 * - `last-loop`: each of them in turn. Decoding, a token then sees the past as the last loop left it (arXiv 2510.25741), and the
 *   tokens of its own pass as they stand. Training has no past, so nothing changes there, and what a decoder says depends on how
 *   the tokens were cut into passes.
 */
import type { Tensor } from '../tensor/tensor.js';
import { alias } from '../tensor/ops.js';
import type { ApplicationPlace } from './batch.js';
import type { ModelConfig } from './model-fields.js';

/** Keys and values (R, H·HS) of an application, in their places beside its queries. */
export interface KeptKeys {
  readonly qkv: Tensor;
  /** Whether a tape recorded how they were made. */
  readonly recorded: boolean;
}

/** What the loops of one pass share. */
export class KeyValueSharing implements Disposable {
  private readonly kept = new Map<string, KeptKeys>();
  private readonly loops: number;
  private readonly first: boolean;

  /** Null where every application has keys and values of its own. */
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

  /** The keys and values that `place` is to use; null where its own. */
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

/**
 * The context of one forward pass: the batch, the loop count, dropout, which rows run, and which block applications are
 * checkpointed. It numbers the applications in order of execution. It does not depend on the depth rule or on exits.
 */
import type { Dropout } from '../backend/backend.js';
import type { Application, Block, DropoutSite } from '../nn/block.js';
import { type DropoutKey, maskKey } from '../random.js';
import { type Heads, placeHeads, withKeysOf } from '../tensor/attention-ops.js';
import { alias, checkpoint } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ApplicationPlace, Batch } from './batch.js';
import type { ModelConfig } from './model-fields.js';
import { KeyValueSharing } from './kv-sharing.js';
import type { RunningRows } from './running-rows.js';

/** Options of how blocks are applied, common to every kind of pass. */
export interface ContextOptions {
  /** Loops over the stack, or steps, if the depth allows a choice; the trained count by default. */
  readonly loops?: number;
  /** The key of the masks and of all other draws; absent for no dropout. */
  readonly dropout?: DropoutKey;
  /** Whether an application keeps only its input and is recomputed in the backward pass. */
  readonly checkpoint?: (application: number) => boolean;
}

/** What a model keeps beside its parameters; the model owns it. */
export interface ModelConstants {
  /** Cosines and sines of the positions (P, HS), if they rotate queries and keys. */
  readonly rotation: Tensor | null;
  /** The states that loops may start from (P, C), if they are random. */
  readonly initialStates: Tensor | null;
}

const SITES: readonly DropoutSite[] = ['embedding', 'attention', 'attentionOutput', 'mlpOutput'];
/** Application index of everything outside the blocks. */
const OUTSIDE = 0xffffffff;

/** State that the contexts of one pass share. */
interface Shared {
  readonly sharing: KeyValueSharing | null;
  /** Applications so far. */
  applications: number;
}

export class ForwardContext implements Disposable {
  constructor(
    readonly batch: Batch,
    private readonly config: ModelConfig,
    private readonly options: ContextOptions,
    readonly constants: ModelConstants,
    /** Null while every row runs. */
    private readonly running: RunningRows | null = null,
    private readonly shared: Shared = { sharing: KeyValueSharing.of(config), applications: 0 },
  ) {}

  [Symbol.dispose](): void {
    this.shared.sharing?.[Symbol.dispose]();
  }

  get loops(): number | undefined {
    return this.options.loops;
  }

  /** The key of this pass's draws; null in evaluation and decoding, which draw nothing. */
  get key(): DropoutKey | null {
    return this.options.dropout ?? null;
  }

  /** The same pass over the rows that still run; needs no disposal. */
  among(running: RunningRows | null): ForwardContext {
    return new ForwardContext(this.batch, this.config, this.options, this.constants, running, this.shared);
  }

  /**
   * Runs a block as the next application; the caller owns the result. A halted row keeps its state; the block still
   * normalises that state and projects it to a key and a value, so that other rows can attend to it.
   */
  apply(block: Block, x: Tensor, place: ApplicationPlace): Tensor {
    const { batch, running, shared } = this;
    const { sharing } = shared;
    const index = shared.applications++;
    const rows = running?.rows ?? null;
    const dropout = (site: DropoutSite) => this.mask(index, site);
    const slot = sharing?.slot(place) ?? place;
    const lends = sharing?.lends(place) ?? false;
    const keys = sharing?.keysAt(place) ?? null;
    const at: Application = {
      T: batch.T,
      changed: (h) => (running ? running.computed(h) : alias(h)),
      dropout,
      attend: (qkv, heads) => {
        using placed = this.place(qkv, heads);
        if (lends) sharing!.keep(place, placed);
        using own = keys ? withKeysOf(placed, keys.qkv, heads, keys.recorded) : alias(placed);
        return batch.attend(own, heads, slot, dropout('attention'), rows);
      },
    };
    const run = (h: Tensor) => {
      if (!running) return block.forward(h, at);
      using y = block.forward(h, at);
      return running.merge(y, h);
    };
    const kept = [...(running ? [running.mask] : []), ...(keys ? [keys.qkv] : [])];
    // Keys and values that an application lends must be on the tape itself.
    const y = this.options.checkpoint?.(index) && !lends ? checkpoint(x, run, kept) : run(x);
    x.runtime.observe?.(
      `application ${index} (loop ${place.loop + 1}, layer ${place.layer}, inner ${place.inner + 1})`,
      y,
    );
    return y;
  }

  /** `qkv` with its queries and keys normalised and rotated as the model is configured; the caller owns the result. */
  private place(qkv: Tensor, heads: Heads): Tensor {
    const { config } = this;
    const { rotation } = this.constants;
    const eps = config.qkNorm ? config.layerNormEpsilon : null;
    if (eps === null && !rotation) return alias(qkv);
    return placeHeads(qkv, this.batch.positions, heads, { eps, rotation });
  }

  /** `next` in the running rows, `former` in the halted rows; the caller owns the result. */
  keepHalted(next: Tensor, former: Tensor): Tensor {
    return this.running ? this.running.keep(next, former) : alias(next);
  }

  /** Feeds x through `body` `count` times and frees the states between; the caller owns the result. */
  loop(count: number, x: Tensor, body: (x: Tensor, i: number) => Tensor): Tensor {
    let h = x;
    for (let i = 0; i < count; i++) {
      const former = h;
      try {
        h = body(former, i);
      } finally {
        if (former !== x) former.dispose();
      }
    }
    return h === x ? alias(x) : h;
  }

  /** The dropout mask of the embedding. */
  embeddingDropout(): Dropout | null {
    return this.mask(OUTSIDE, 'embedding');
  }

  private mask(application: number, site: DropoutSite): Dropout | null {
    const key = this.options.dropout;
    const p = this.config.dropout;
    if (!key || p === 0) return null;
    return { p, key: maskKey(key, application, SITES.indexOf(site)), firstSample: 0 };
  }
}

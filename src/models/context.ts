/**
 * The context of one forward pass: the batch, the loop count, dropout, and which block applications are checkpointed.
 * It numbers the applications in order of execution. Knows no depth rule.
 */
import type { Dropout } from '../backend/backend.js';
import type { Application, Block, DropoutSite } from '../nn/block.js';
import { hashWords } from '../nn/random.js';
import { alias, checkpoint } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';

/** Names the masks of one micro-step: dropout is a function of these and of the place. */
export interface DropoutKey {
  readonly seed: number;
  readonly step: number;
  readonly microStep: number;
}

export interface ForwardOptions {
  /** Loops over the stack, where the depth allows a choice; the trained count by default. */
  readonly loops?: number;
  /** Present in training only. */
  readonly dropout?: DropoutKey;
  /** Whether an application keeps its input only and is computed again in the backward pass. */
  readonly checkpoint?: (application: number) => boolean;
}

/** Where an application stands in the model. */
export interface ApplicationPlace {
  readonly loop: number;
  readonly layer: number;
  readonly inner: number;
}

const SITES: readonly DropoutSite[] = ['embedding', 'attention', 'attentionOutput', 'mlpOutput'];
/** Application index of what lies outside every block. */
const OUTSIDE = 0xffffffff;

export class ForwardContext {
  readonly loops: number | undefined;
  private applications = 0;

  constructor(
    readonly B: number,
    readonly T: number,
    private readonly dropoutRate: number,
    private readonly options: ForwardOptions = {},
  ) {
    this.loops = options.loops;
  }

  /** Runs a block as the next application; the caller owns the result. */
  apply(block: Block, x: Tensor, place: ApplicationPlace): Tensor {
    const index = this.applications++;
    const { B, T } = this;
    const at: Application = { B, T, dropout: (site) => this.mask(index, site) };
    const run = (h: Tensor) => block.forward(h, at);
    const y = this.options.checkpoint?.(index) ? checkpoint(x, run) : run(x);
    x.runtime.observe?.(
      `application ${index} (loop ${place.loop + 1}, layer ${place.layer}, inner ${place.inner + 1})`,
      y,
    );
    return y;
  }

  /** Feeds x through `body` `count` times, freeing what lies between; the caller owns the result. */
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
    if (!key || this.dropoutRate === 0) return null;
    return {
      p: this.dropoutRate,
      key: [hashWords(key.seed, key.step, key.microStep), hashWords(application, SITES.indexOf(site))],
      firstSample: 0,
    };
  }
}

/**
 * The context of one forward pass: the batch, the loop count, dropout, which rows still run, and which block applications
 * are checkpointed. It numbers the applications in order of execution. Knows no depth rule.
 */
import type { Dropout } from '../backend/backend.js';
import type { Application, Block, DropoutSite } from '../nn/block.js';
import { type DropoutKey, maskKey } from '../random.js';
import { alias, checkpoint, withKeysOf } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ApplicationPlace, Batch } from './batch.js';
import type { ModelConfig } from './config.js';
import type { ExitOptions } from './exits/options.js';
import { KeyValueSharing } from './kv-sharing.js';
import type { Objective } from './exits/objective.js';
import type { RunningRows } from './running-rows.js';

export interface ForwardOptions {
  /** Loops over the stack, or steps, where the depth allows a choice; the trained count by default. */
  readonly loops?: number;
  /** Only the last so many loops pass gradients back; 0 or absent for all. */
  readonly backpropLoops?: number;
  /** Whether a halting rule may stop rows early; true by default. */
  readonly earlyExit?: boolean;
  /** By what rows leave early; the model's own halting rule, where it has one, by default. */
  readonly exit?: ExitOptions;
  /** Names the masks and whatever else is drawn; present in training only. */
  readonly dropout?: DropoutKey;
  /** What is learned beyond the loss at the end; read in training only. */
  readonly objective?: Objective;
  /** Whether to say which rows' most probable token is not their target; read outside training only. */
  readonly findWrong?: boolean;
  /** Where the walk begins, in place of its first state; outside training, and without halting. */
  readonly from?: Waypoint;
  /** Sees the state after the last step (R, C), before a coda; without halting. */
  readonly onLastState?: (state: Tensor) => void;
  /** Whether an application keeps its input only and is computed again in the backward pass. */
  readonly checkpoint?: (application: number) => boolean;
}

/** The state (R, C) that so many steps left, for a pass with more steps to go on from. */
export interface Waypoint {
  readonly steps: number;
  readonly state: Tensor;
}

/** What the loss wants of a pass, beyond the state at its end. */
export interface Pass {
  /** The state at every exit, none of which stops a row. */
  readonly collectExits: boolean;
  /** Exits drawn beforehand (R), i32, at which rows stop; null for none. */
  readonly drawnExits: Tensor | null;
  /** What a step of ACT costs, in nats. */
  readonly ponderCost: number;
  /** Factor on what the depth adds to the loss. */
  readonly auxScale: number;
}

export const PLAIN_PASS: Pass = { collectExits: false, drawnExits: null, ponderCost: 0, auxScale: 1 };

const SITES: readonly DropoutSite[] = ['embedding', 'attention', 'attentionOutput', 'mlpOutput'];
/** Application index of what lies outside every block. */
const OUTSIDE = 0xffffffff;

export class ForwardContext implements Disposable {
  /** Null while every row runs. */
  running: RunningRows | null = null;
  /** The state that the first step was given (R, C), where the pass collects exits. */
  entry: Tensor | null = null;
  private readonly sharing: KeyValueSharing | null;
  private readonly dropoutRate: number;
  private applications = 0;

  constructor(
    readonly batch: Batch,
    config: ModelConfig,
    readonly options: ForwardOptions = {},
    readonly pass: Pass = PLAIN_PASS,
  ) {
    this.dropoutRate = config.dropout;
    this.sharing = KeyValueSharing.of(config);
  }

  [Symbol.dispose](): void {
    this.entry?.dispose();
    this.sharing?.[Symbol.dispose]();
  }

  get loops(): number | undefined {
    return this.options.loops;
  }

  /**
   * Runs a block as the next application; the caller owns the result. A halted row keeps its state, which the block
   * still normalises and projects to a key and a value for the others to attend to.
   */
  apply(block: Block, x: Tensor, place: ApplicationPlace): Tensor {
    const index = this.applications++;
    const { batch, running, sharing } = this;
    const rows = running?.rows ?? null;
    const dropout = (site: DropoutSite) => this.mask(index, site);
    const slot = sharing?.slot(place) ?? place;
    const lends = sharing?.lends(place) ?? false;
    const keys = sharing?.keysAt(place) ?? null;
    const at: Application = {
      T: batch.T,
      changed: (h) => (running ? running.computed(h) : alias(h)),
      dropout,
      attend: (qkv, NH) => {
        if (lends) sharing!.keep(place, qkv);
        using own = keys ? withKeysOf(qkv, keys.qkv, keys.recorded) : alias(qkv);
        return batch.attend(own, NH, slot, dropout('attention'), rows);
      },
    };
    const run = (h: Tensor) => {
      if (!running) return block.forward(h, at);
      using y = block.forward(h, at);
      return running.merge(y, h);
    };
    const kept = [...(running ? [running.mask] : []), ...(keys ? [keys.qkv] : [])];
    // What an application lends must be on the tape itself.
    const y = this.options.checkpoint?.(index) && !lends ? checkpoint(x, run, kept) : run(x);
    x.runtime.observe?.(
      `application ${index} (loop ${place.loop + 1}, layer ${place.layer}, inner ${place.inner + 1})`,
      y,
    );
    return y;
  }

  /** `next`, but `former` in the rows that have halted; the caller owns the result. */
  keepHalted(next: Tensor, former: Tensor): Tensor {
    return this.running ? this.running.keep(next, former) : alias(next);
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
    return { p: this.dropoutRate, key: maskKey(key, application, SITES.indexOf(site)), firstSample: 0 };
  }
}

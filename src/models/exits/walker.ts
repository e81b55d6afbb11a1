/**
 * Takes a state from exit to exit: keeps the states that are asked for, truncates back-propagation, and stops rows where
 * a halting rule, or an exit drawn beforehand, says so. Knows no depth rule: a step is a function that it is given.
 */
import { alias, constantOffset, detach } from '../../tensor/ops.js';
import { type Runtime, Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { DepthOutput, type Step, type Walker } from '../depth/depth.js';
import { RunningRows } from '../running-rows.js';
import type { ExitRule } from './rule.js';

export class ExitWalker implements Walker {
  /** The model's own rule, and whatever else an exit can be decided by, by name. */
  constructor(
    private readonly own: ExitRule | null,
    private readonly criteria: Readonly<Record<string, ExitRule>>,
  ) {}

  walk(x: Tensor, count: number, step: Step, ctx: ForwardContext): DepthOutput {
    const { runtime } = x;
    const { drawnExits, collectExits } = ctx.pass;
    const { exit, earlyExit } = ctx.options;
    const rule = exit?.criterion ? this.criteria[exit.criterion] : this.own;
    const decides = rule !== null && !runtime.tape && !collectExits && earlyExit !== false && count > 1;
    if (!decides && !drawnExits && !collectExits && !isTruncated(0, count, ctx)) {
      const { steps, state } = ctx.options.from ?? { steps: 0, state: x };
      const last = ctx.loop(count - steps, state, (h, i) => step(h, steps + i));
      ctx.options.onLastState?.(last);
      return new DepthOutput(last);
    }
    using decision = decides ? rule.start(ctx, x) : null;
    using rows = decision || drawnExits ? new RowsLeft(runtime, x.shape[0]) : null;
    using owned = new OwnedStates(x);
    if (collectExits) ctx.entry = alias(x);
    for (let n = 0; n < count; n++) {
      rows?.count();
      const h = owned.advance(truncatedStep(x, owned.state, n, count, step, ctx));
      if (collectExits) owned.exits.push(isTruncated(n, count, ctx) ? detach(h) : alias(h));
      if (!rows || rows.none || n === count - 1) continue;
      rows.stop((mask) => {
        const { backend } = runtime;
        if (drawnExits) backend.stopAt({ running: mask.storage, exits: drawnExits.storage, depth: n });
        decision?.decide(mask, h, n);
      });
      ctx.running = rows.running;
      if (rows.none && !ctx.batch.cached) break;
    }
    ctx.running = null;
    return new DepthOutput(alias(owned.state), owned.takeExits(), null, rows ? rows.takeCounts() : null);
  }
}

/** The state on its way and the exits kept so far, given back if the way ends early. */
export class OwnedStates implements Disposable {
  readonly exits: Tensor[] = [];
  private current: Tensor;

  constructor(private readonly first: Tensor) {
    this.current = first;
  }

  get state(): Tensor {
    return this.current;
  }

  /** Takes the next state and gives the former one back. */
  advance(next: Tensor): Tensor {
    if (this.current !== this.first) this.current.dispose();
    this.current = next;
    return next;
  }

  takeExits(): Tensor[] {
    return this.exits.splice(0);
  }

  [Symbol.dispose](): void {
    this.advance(this.first);
    for (const exit of this.exits) exit.dispose();
  }
}

/** Whether step n of `count` lies before the last ones, through which alone gradients pass. */
export function isTruncated(n: number, count: number, ctx: ForwardContext): boolean {
  const last = ctx.options.backpropLoops ?? 0;
  return last > 0 && n < count - last;
}

/**
 * Step n, without gradients where it is truncated. After the last such step the state counts as the first one plus a
 * constant: the gradient goes on to whatever made the first one, as along the residual path, or nothing would train the
 * embedding of positions and the prelude.
 */
export function truncatedStep(
  first: Tensor,
  h: Tensor,
  n: number,
  count: number,
  step: Step,
  ctx: ForwardContext,
): Tensor {
  if (!isTruncated(n, count, ctx)) return step(h, n);
  const next = first.runtime.recording(null, () => step(h, n));
  if (isTruncated(n + 1, count, ctx)) return next;
  using owned = next;
  return constantOffset(owned, first);
}

/** Which rows still run, and how many steps each has taken. */
export class RowsLeft implements Disposable {
  private readonly counts: Tensor;
  private mask: Tensor;
  private rows: Tensor | null = null;
  private taken = false;

  constructor(
    private readonly runtime: Runtime,
    private readonly R: number,
  ) {
    this.counts = runtime.from(new Int32Array(R), [R]);
    this.mask = runtime.from(new Int32Array(R).fill(1), [R]);
  }

  /** For the context: halted rows are skipped where nothing records, and masked where a tape does. */
  get running(): RunningRows {
    return new RunningRows(this.mask, this.rows);
  }

  /** Whether it is known that no row is left. */
  get none(): boolean {
    return this.rows?.size === 0;
  }

  /** Counts a step for each row that runs. */
  count(): void {
    this.runtime.backend.countRunning({ counts: this.counts.storage, running: this.mask.storage });
  }

  /** Lets `change` clear elements of a copy of the mask. */
  stop(change: (mask: Tensor) => void): void {
    const { runtime, R } = this;
    const next = runtime.empty([R], 'i32');
    runtime.backend.copy(next.storage, this.mask.storage);
    change(next);
    this.replace(next);
  }

  /** Takes a new mask. */
  replace(mask: Tensor): void {
    const { runtime } = this;
    this.mask.dispose();
    this.mask = mask;
    this.rows?.dispose();
    const rows = runtime.tape ? null : runtime.backend.compact(mask.storage);
    this.rows = rows && Tensor.over(runtime, [rows.length], rows);
  }

  takeCounts(): Tensor {
    this.taken = true;
    return this.counts;
  }

  [Symbol.dispose](): void {
    this.mask.dispose();
    this.rows?.dispose();
    if (!this.taken) this.counts.dispose();
  }
}

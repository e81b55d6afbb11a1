/**
 * Takes a state from exit to exit: keeps requested states, truncates back-propagation, and stops rows where a halting
 * rule, or an exit drawn beforehand, says so. It must not import a depth rule: a step is a function that it receives.
 */
import type { DropoutKey } from '../../random.js';
import { alias, constantOffset, detach } from '../../tensor/ops.js';
import { type Runtime, Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { DepthOutput, type Step } from '../depth/depth.js';
import { RunningRows } from '../running-rows.js';
import { drawExits } from './objective.js';
import type { Pass } from './pass.js';
import type { ExitRule } from './rule.js';

/** The key of draws when the caller gives none. */
const FIRST: DropoutKey = { seed: 0, step: 0, microStep: 0 };

/** Runs a depth's walk for one pass. */
export interface Walker {
  walk(x: Tensor, count: number, step: Step, ctx: ForwardContext, pass: Pass): DepthOutput;
}

export class ExitWalker implements Walker {
  /** The model's own rule, and the other criteria by name. */
  constructor(
    private readonly own: ExitRule | null,
    private readonly criteria: Readonly<Record<string, ExitRule>>,
  ) {}

  walk(x: Tensor, count: number, step: Step, ctx: ForwardContext, pass: Pass): DepthOutput {
    const { runtime, shape } = x;
    const { exit, earlyExit, everyExit } = pass;
    const rule = exit?.criterion ? this.criteria[exit.criterion] : this.own;
    const decides = rule !== null && !everyExit && earlyExit !== false && count > 1;
    const draws = pass.objective?.exitLoss === 'mixed';
    if (!decides && !draws && !everyExit && !isTruncated(0, count, pass)) {
      const { steps, state } = pass.from ?? { steps: 0, state: x };
      const last = ctx.loop(count - steps, state, (h, i) => step(h, steps + i, ctx));
      pass.onLastState?.(last);
      return new DepthOutput({ x: last });
    }
    using decision = decides ? rule.start(x, ctx, exit?.threshold) : null;
    using drawn = draws ? runtime.from(drawExits(pass.dropout ?? FIRST, shape[0], count), [shape[0]]) : null;
    using rows = decision || drawn ? new RowsLeft(runtime, shape[0]) : null;
    using owned = new OwnedStates(x);
    let running: RunningRows | null = null;
    for (let n = 0; n < count; n++) {
      rows?.count();
      const next = truncatedStep(x, owned.state, n, count, step, ctx.among(running), pass);
      const h = owned.advance(next);
      if (everyExit) owned.exits.push(isTruncated(n, count, pass) ? detach(h) : alias(h));
      if (!rows || rows.none || n === count - 1) continue;
      rows.stop((mask) => {
        const { backend } = runtime;
        if (drawn) backend.stopAt({ running: mask.storage, exits: drawn.storage, depth: n });
        decision?.decide(mask, h, n, running);
      });
      running = rows.running;
      if (rows.none && !ctx.batch.cached) break;
    }
    return new DepthOutput({
      x: alias(owned.state),
      exits: owned.takeExits(),
      entry: everyExit ? alias(x) : null,
      stepsPerRow: rows ? rows.takeCounts() : null,
    });
  }
}

/** The current state and the exits kept so far; released if the walk throws. */
export class OwnedStates implements Disposable {
  readonly exits: Tensor[] = [];
  private current: Tensor;

  constructor(private readonly first: Tensor) {
    this.current = first;
  }

  get state(): Tensor {
    return this.current;
  }

  /** Takes the next state and releases the former one. */
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

/** Whether step n of `count` lies before the last `backpropLoops`, through which alone gradients pass. */
export function isTruncated(n: number, count: number, { backpropLoops: last = 0 }: Pass): boolean {
  return last > 0 && n < count - last;
}

/**
 * Step n, without gradients where it is truncated. After the last such step the state counts as the first state plus a
 * constant: the gradient passes to the first state, as along the residual path. Otherwise nothing would train the
 * embedding of positions and the prelude.
 */
export function truncatedStep(
  first: Tensor,
  h: Tensor,
  n: number,
  count: number,
  step: Step,
  ctx: ForwardContext,
  pass: Pass,
): Tensor {
  if (!isTruncated(n, count, pass)) return step(h, n, ctx);
  const next = first.runtime.recording(null, () => step(h, n, ctx));
  if (isTruncated(n + 1, count, pass)) return next;
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

  /** For the context: halted rows are skipped without a tape, and masked while a tape records. */
  get running(): RunningRows {
    return new RunningRows(this.mask, this.rows);
  }

  /** Whether it is known that no row runs. */
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

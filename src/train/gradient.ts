/**
 * The gradient of an update: the gradients of micro-steps, each computed in the parameters' own buffer, are added in
 * the order of the tree over micro-steps. The sums of other processes are added by block, while the last backward pass
 * still runs.
 */
import type { Backend, Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';
import type { Clock } from '../platform.js';
import type { Buffer } from '../tensor/pool.js';
import type { Tape } from '../tensor/tape.js';
import { BlockExchange, type Ready, type Round } from './block-exchange.js';
import { blocksOf, ownerOf, type Range } from './blocks.js';
import { GradientSchedule, type ReadyAfter } from './gradient-schedule.js';
import { halves, microStepsOf, type Run } from './micro-step-tree.js';
import { broadcastText, gatherNumbers, type Peers } from './peers.js';
import { RunSums } from './run-sums.js';
import { TouchedRows } from './touched-rows.js';

/** The last micro-step of a process: its tape, and the tokens that it reads. */
export interface LastPass {
  readonly tape: Tape;
  readonly tokens: Int32Array;
}

export class UpdateGradient {
  /** The micro-steps of an update that this process computes. */
  readonly own: Run;
  readonly blocks: readonly Range[];
  /** Sums of complete runs; after the last micro-step, the last run's sum is in the parameters' buffer. */
  private readonly pending: Buffer[] = [];
  private readonly backend: Backend;
  private readonly flat: Storage;
  /** The sum of squares of each block. */
  private readonly squares: Storage;
  private readonly exchange: BlockExchange;
  private readonly schedule: GradientSchedule;
  /** Rounds in the order in which a backward pass completes them; null before the first pass. */
  private order: readonly number[] | null = null;

  constructor(
    private readonly parameters: Parameters,
    private readonly microSteps: number,
    private readonly peers: Peers,
    /** Whether each process needs only its own blocks of the sum. */
    private readonly sharded = false,
  ) {
    const { runtime, gradient } = parameters;
    if (!gradient) throw new Error('UpdateGradient: the model was allocated without gradients');
    this.backend = runtime.backend;
    this.flat = gradient;
    this.own = microStepsOf(peers.rank, peers.size, microSteps);
    this.blocks = blocksOf(gradient.length);
    this.squares = this.backend.allocate(this.backend.dtype, this.blocks.length);
    this.exchange = new BlockExchange(this.backend, this.blocks, peers);
    this.schedule = new GradientSchedule(parameters, this.blocks);
  }

  /** The blocks that this process sums. */
  get ownBlocks(): readonly Range[] {
    return this.blocks.filter((_, i) => ownerOf(i, this.peers.size) === this.peers.rank);
  }

  /** Before each micro-step, which adds to the parameters' buffer. */
  begin(): void {
    this.parameters.zeroGradients();
  }

  /** After each micro-step but the last, in order. */
  finish(microStep: number): void {
    const { backend, flat, pending } = this;
    let sum: Buffer | null = null; // in the parameters' buffer, until the next micro-step needs the buffer
    for (const left of this.leftOf(microStep)) {
      backend.accumulate({ out: left.storage, inp: sum?.storage ?? flat });
      sum?.release();
      sum = left;
    }
    if (!sum) {
      sum = this.parameters.runtime.pool.take(backend.dtype, flat.length);
      backend.copy(sum.storage, flat);
    }
    pending.push(sum);
  }

  /**
   * The backward pass of this process's last micro-step over `tokens`, null if it has none. Afterwards the parameters'
   * buffer holds the sum of all micro-steps of all processes, or the needed blocks of it. Returns the milliseconds of
   * waiting for others' values after the pass.
   */
  async finishAll(last: LastPass | null, clock: Clock): Promise<number> {
    const lefts = last ? this.leftOf(this.own.to - 1) : [];
    try {
      if (this.peers.size > 1) return await this.exchangeDuring(last, lefts, clock);
      last?.tape.backward();
      this.sums(lefts).addLefts({ offset: 0, length: this.flat.length });
      return 0;
    } finally {
      for (const left of lefts) left.release();
      this.drop();
    }
  }

  /** Drops the micro-steps of an abandoned update. */
  drop(): void {
    for (const sum of this.pending.splice(0)) sum.release();
  }

  /** Fills every block of a storage in the gradient's layout from the process that owns the block. */
  gather(flat: Storage): Promise<void> {
    return this.exchange.run([this.exchange.gathers(flat)]);
  }

  /**
   * out (2) = the sum of squares of the whole gradient; `nonFinite (1)` becomes 1 if blocks of this process are not
   * finite.
   */
  async sumSquares(out: Storage, nonFinite: Storage): Promise<void> {
    const { backend, peers, blocks, flat, squares, sharded } = this;
    for (const [i, { offset, length }] of blocks.entries()) {
      if (sharded && ownerOf(i, peers.size) !== peers.rank) continue;
      const inp = backend.slice(flat, offset, length);
      backend.sumSquares({ out: backend.slice(squares, i, 1), nonFinite, inp });
    }
    if (sharded) {
      const found = await backend.read(squares);
      const all = await gatherNumbers(peers, Array.from(found));
      for (const i of found.keys()) found[i] = all[ownerOf(i, peers.size)][i];
      backend.write(squares, found);
    }
    backend.sum({ out, nonFinite, inp: squares });
  }

  dispose(): void {
    this.drop();
    this.backend.free(this.squares);
  }

  /** Takes the sums of the runs whose right neighbours end with a micro-step, the nearest first. */
  private leftOf(microStep: number): Buffer[] {
    const count = runsEndingWith(microStep, this.own, this.microSteps) - 1;
    return Array.from({ length: count }, () => this.pending.pop()!);
  }

  private sums(lefts: readonly Buffer[]): RunSums {
    const storages = (of: readonly Buffer[]) => of.map(({ storage }) => storage);
    const { runtime } = this.parameters;
    return new RunSums(
      runtime,
      this.peers,
      this.microSteps,
      storages(this.pending),
      this.flat,
      storages(lefts),
    );
  }

  private async exchangeDuring(
    last: LastPass | null,
    lefts: readonly Buffer[],
    clock: Clock,
  ): Promise<number> {
    const { peers, parameters, flat, sharded, schedule } = this;
    using rows = await TouchedRows.of(peers, parameters, last?.tokens ?? new Int32Array());
    const copy = rows?.take(flat);
    const nodes = last?.tape.length ?? 0;
    const seen = schedule.of(nodes, rows !== null);
    // Blocks count as complete at the end if no pass was observed, or the order of rounds is not agreed on.
    const readyAfter = this.order && seen;
    const progress = new Progress(last ? 0 : Number.POSITIVE_INFINITY);
    const ready: Ready = (round) =>
      progress.reached(readyAfter ? roundReady(this.exchange.rounds[round], readyAfter, this.blocks) : nodes);
    const stages = [this.sums(lefts).adds(), ...(sharded ? [] : [this.exchange.gathers(flat)])];
    const exchanging = this.exchange.run(stages, this.order ?? undefined, ready);
    exchanging.catch(() => {}); // awaited below
    const pass = async () => {
      if (!last) return;
      await schedule.follow(nodes, rows !== null, last.tape.walk(), (ran) => {
        progress.reach(ran);
        // Lets arrived values be processed.
        return readyAfter ? clock.yield() : undefined;
      });
    };
    await (rows ? rows.redirecting(copy!, pass) : pass());
    progress.reach(Number.POSITIVE_INFINITY);
    const start = clock.now();
    await exchanging;
    if (rows) await this.exchangeRows(rows, copy!, lefts);
    const waited = clock.now() - start;
    this.order ??= await this.agreedOrder(schedule.of(nodes, rows !== null));
    return waited;
  }

  /** The same for the separate rows of the embedding. */
  private async exchangeRows(rows: TouchedRows, copy: Buffer, lefts: readonly Buffer[]): Promise<void> {
    const { parameters, peers, microSteps, backend, flat } = this;
    const [former, before] = [this.pending, lefts].map((sums) =>
      sums.map(({ storage }) => rows.take(storage)),
    );
    const storages = (of: readonly Buffer[]) => of.map(({ storage }) => storage);
    const { runtime } = parameters;
    const sums = new RunSums(runtime, peers, microSteps, storages(former), copy.storage, storages(before));
    const exchange = new BlockExchange(backend, blocksOf(rows.length), peers);
    await exchange.run([sums.adds(), exchange.gathers(copy.storage)]);
    rows.put(flat, copy);
    for (const buffer of [...former, ...before, copy]) buffer.release();
  }

  /** The order in which rank 0's backward pass completes the rounds. */
  private async agreedOrder(seen: ReadyAfter | null): Promise<readonly number[]> {
    const { rounds } = this.exchange;
    const after = seen ? rounds.map((round) => roundReady(round, seen, this.blocks)) : [];
    const own = [...rounds.keys()].sort((a, b) => after[a] - after[b] || a - b);
    return JSON.parse(await broadcastText(this.peers, 0, JSON.stringify(own)));
  }
}

/** How many nodes of a backward pass have run when all blocks of a round are complete. */
function roundReady(round: Round, readyAfter: ReadyAfter, blocks: readonly Range[]): number {
  const [{ length: blockLength }] = blocks;
  return Math.max(...round.map((block) => (block ? readyAfter[block.offset / blockLength] : 0)));
}

/**
 * How many runs of the tree within `own` end with a micro-step: the micro-step itself, and those of which it is the
 * last.
 */
function runsEndingWith(microStep: number, own: Run, microSteps: number): number {
  let run: Run = { from: 0, to: microSteps };
  let count = 0;
  while (true) {
    if (run.to === microStep + 1 && run.from >= own.from) count++;
    if (run.to - run.from === 1) return count;
    run = halves(run).find(({ to }) => microStep < to)!;
  }
}

/** The progress of a backward pass, and the callers that wait for it. */
class Progress {
  private wake = () => {};

  constructor(private nodes: number) {}

  reach(nodes: number): void {
    this.nodes = nodes;
    this.wake();
  }

  async reached(nodes: number): Promise<void> {
    while (this.nodes < nodes) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

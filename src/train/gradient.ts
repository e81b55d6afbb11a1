/**
 * The gradient of an update: micro-steps' gradients, each made in the parameters' own buffer, are added in the order of the
 * tree over micro-steps, and what other processes hold of them is added by block, while the last backward pass still runs. Knows
 * no model.
 */
import type { Backend, HostArray, Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';
import type { Clock } from '../platform.js';
import type { Buffer } from '../tensor/pool.js';
import type { Tape } from '../tensor/tape.js';
import { BlockExchange, message, type Ready, type Round, type Stage } from './block-exchange.js';
import { blocksOf, ownerOf, type Range } from './blocks.js';
import { GradientSchedule, type ReadyAfter } from './gradient-schedule.js';
import { halves, microStepsOf, type Run, runsWithin, sumOverTree } from './micro-step-tree.js';
import { broadcastText, gatherNumbers, type Message, othersOf, type Peers } from './peers.js';

export class UpdateGradient {
  /** The micro-steps of an update that this process computes. */
  readonly own: Run;
  readonly blocks: readonly Range[];
  /** The micro-steps of each rank, as runs of the tree. */
  private readonly runs: readonly (readonly Run[])[];
  /** Sums of runs that are complete; that of the last one, once all are made, is in the parameters' buffer. */
  private readonly pending: Buffer[] = [];
  private readonly backend: Backend;
  private readonly flat: Storage;
  /** The sum of squares of each block. */
  private readonly squares: Storage;
  private readonly exchange: BlockExchange;
  private readonly schedule: GradientSchedule;
  /** Rounds in the order in which a backward pass completes them; null until one has been seen. */
  private order: readonly number[] | null = null;

  constructor(
    private readonly parameters: Parameters,
    private readonly microSteps: number,
    private readonly peers: Peers,
    /** Whether each process needs its own blocks of the sum alone. */
    private readonly sharded = false,
  ) {
    const { runtime, gradient } = parameters;
    if (!gradient) throw new Error('UpdateGradient: the model was allocated without gradients');
    this.backend = runtime.backend;
    this.flat = gradient;
    this.own = microStepsOf(peers.rank, peers.size, microSteps);
    this.runs = Array.from({ length: peers.size }, (_, rank) =>
      runsWithin(microStepsOf(rank, peers.size, microSteps), microSteps),
    );
    this.blocks = blocksOf(gradient.length);
    this.squares = this.backend.allocate(this.backend.dtype, this.blocks.length);
    this.exchange = new BlockExchange(this.backend, this.blocks, peers);
    this.schedule = new GradientSchedule(parameters, this.blocks);
  }

  /** The blocks that this process adds up. */
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
    let sum: Buffer | null = null; // in the parameters' buffer, until it must make room for the next micro-step
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
   * The backward pass of this process's last micro-step, null where it has none; then the parameters' buffer holds the sum of all
   * micro-steps of all processes, or the blocks of it that are needed. Returns the milliseconds that the pass was over and
   * others' values were not here yet.
   */
  async finishAll(tape: Tape | null, clock: Clock): Promise<number> {
    const lefts = tape ? this.leftOf(this.own.to - 1) : [];
    try {
      if (this.peers.size > 1) return await this.exchangeDuring(tape, lefts, clock);
      tape?.backward();
      this.addLefts(lefts, { offset: 0, length: this.flat.length });
      return 0;
    } finally {
      for (const left of lefts) left.release();
      this.drop();
    }
  }

  /** Forgets the micro-steps of an update that is given up. */
  drop(): void {
    for (const sum of this.pending.splice(0)) sum.release();
  }

  /** Fills every block of a storage that is laid out as the gradient is from the process whose block it is. */
  gather(flat: Storage): Promise<void> {
    return this.exchange.run([this.exchange.gathers(flat)]);
  }

  /** out (2) = the sum of squares of the whole gradient; `nonFinite (1)` becomes 1 where blocks that are here are not finite. */
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

  /** Takes, the nearest first, the sums of the runs whose right neighbours end with a micro-step. */
  private leftOf(microStep: number): Buffer[] {
    const count = runsEndingWith(microStep, this.own, this.microSteps) - 1;
    return Array.from({ length: count }, () => this.pending.pop()!);
  }

  /** Adds to a part of the parameters' buffer what lies before it in the tree. */
  private addLefts(lefts: readonly Buffer[], { offset, length }: Range): void {
    const { backend, flat } = this;
    const part = (whole: Storage) => backend.slice(whole, offset, length);
    for (const left of lefts) backend.accumulate({ out: part(flat), inp: part(left.storage) });
  }

  private async exchangeDuring(tape: Tape | null, lefts: readonly Buffer[], clock: Clock): Promise<number> {
    const nodes = tape?.length ?? 0;
    const seen = this.schedule.of(nodes);
    // Blocks are complete at the end where nothing is known, or the order of rounds is not agreed on.
    const readyAfter = this.order && seen;
    const progress = new Progress(tape ? 0 : Number.POSITIVE_INFINITY);
    const ready: Ready = (round) =>
      progress.reached(readyAfter ? roundReady(this.exchange.rounds[round], readyAfter, this.blocks) : nodes);
    const stages = [this.adds(lefts), ...(this.sharded ? [] : [this.exchange.gathers(this.flat)])];
    const exchanging = this.exchange.run(stages, this.order ?? undefined, ready);
    exchanging.catch(() => {}); // it is awaited below
    if (tape) {
      await this.schedule.follow(nodes, tape.walk(), (ran) => {
        progress.reach(ran);
        // What has arrived meanwhile is worked on.
        return readyAfter ? clock.yield() : undefined;
      });
    }
    progress.reach(Number.POSITIVE_INFINITY);
    const start = clock.now();
    await exchanging;
    const waited = clock.now() - start;
    this.order ??= await this.agreedOrder(nodes);
    return waited;
  }

  /** The order in which rank 0's backward pass completes the rounds. */
  private async agreedOrder(nodes: number): Promise<readonly number[]> {
    const { rounds } = this.exchange;
    const seen = this.schedule.of(nodes);
    const after = seen ? rounds.map((round) => roundReady(round, seen, this.blocks)) : [];
    const own = [...rounds.keys()].sort((a, b) => after[a] - after[b] || a - b);
    return JSON.parse(await broadcastText(this.peers, 0, JSON.stringify(own)));
  }

  /** Sends what this process holds of others' blocks, and adds what others hold of its own to them. */
  private adds(lefts: readonly Buffer[]): Stage {
    const { peers, backend, runs } = this;
    const others = othersOf(peers);
    // The parameters' buffer holds the last run.
    const sums = [...this.pending.map(({ storage }) => storage), this.flat].slice(0, runs[peers.rank].length);
    return async (round, take) => {
      const sends: Message[] = [];
      for (const block of round) if (block) this.addLefts(lefts, block);
      for (const peer of others) {
        const block = round[peer];
        if (!block || sums.length === 0) continue;
        const { offset, length } = block;
        const values = take(sums.length * length);
        for (const [i, sum] of sums.entries()) {
          await backend.read(
            backend.slice(sum, offset, length),
            values.subarray(i * length, (i + 1) * length),
          );
        }
        sends.push(message(peer, values));
      }
      const own = round[peers.rank];
      const received = runs.map((of, peer) => take(own && peer !== peers.rank ? of.length * own.length : 0));
      const theirs = others.filter((peer) => received[peer].length > 0);
      return {
        sends,
        receives: theirs.map((peer) => message(peer, received[peer])),
        end: () => own && this.addUp(own, sums, received),
      };
    };
  }

  /** The gradient's block, from the sums of all runs. */
  private addUp({ offset, length }: Range, sums: readonly Storage[], received: readonly HostArray[]): void {
    const { backend, microSteps, flat, parameters, peers } = this;
    const result = backend.slice(flat, offset, length);
    const held = new Map<string, Storage>();
    const taken: Buffer[] = [];
    for (const [rank, runs] of this.runs.entries()) {
      for (const [i, run] of runs.entries()) {
        if (rank === peers.rank) {
          held.set(key(run), sums[i] === flat ? result : backend.slice(sums[i], offset, length));
          continue;
        }
        const buffer = parameters.runtime.pool.take(backend.dtype, length);
        taken.push(buffer);
        backend.write(buffer.storage, received[rank].subarray(i * length, (i + 1) * length));
        held.set(key(run), buffer.storage);
      }
    }
    const sum = sumOverTree(
      microSteps,
      (run) => held.get(key(run)),
      (left, right) => {
        backend.accumulate({ out: left, inp: right });
        return left;
      },
    );
    if (sum !== result) backend.copy(result, sum);
    for (const buffer of taken) buffer.release();
  }
}

const key = ({ from, to }: Run): string => `${from} ${to}`;

/** How many nodes of a backward pass have run when all blocks of a round are complete. */
function roundReady(round: Round, readyAfter: ReadyAfter, blocks: readonly Range[]): number {
  const [{ length: blockLength }] = blocks;
  return Math.max(...round.map((block) => (block ? readyAfter[block.offset / blockLength] : 0)));
}

/** How many runs of the tree within `own` end with a micro-step: the micro-step itself, and those of which it is the last. */
function runsEndingWith(microStep: number, own: Run, microSteps: number): number {
  let run: Run = { from: 0, to: microSteps };
  let count = 0;
  while (true) {
    if (run.to === microStep + 1 && run.from >= own.from) count++;
    if (run.to - run.from === 1) return count;
    run = halves(run).find(({ to }) => microStep < to)!;
  }
}

/** How far a backward pass has come, and who waits for it. */
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

/**
 * The gradient of an update: micro-steps' gradients, each made in the parameters' own buffer, are added in the order of the
 * tree over micro-steps, and what other processes hold of them is added by block. Knows no model.
 */
import type { Backend, HostArray, Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';
import type { Buffer } from '../tensor/pool.js';
import { blocksOf, ownerOf, type Range } from './blocks.js';
import { halves, microStepsOf, type Run, runsWithin, sumOverTree } from './micro-step-tree.js';
import { gatherNumbers, type Message, othersOf, type Peers } from './peers.js';

/** Rounds of blocks that are under way at a time. */
const UNDER_WAY = 3;

/** What a process sends and receives of one block of each rank. */
interface Round {
  readonly sends: readonly Message[];
  readonly receives: readonly Message[];
  /** Called when all has arrived. */
  end(): void;
}

export class UpdateGradient {
  /** The micro-steps of an update that this process computes. */
  readonly own: Run;
  readonly blocks: readonly Range[];
  /** Sums of the runs that are complete; that of the last one, once all are made, is in the parameters' buffer. */
  private readonly pending: Buffer[] = [];
  private readonly backend: Backend;
  private readonly flat: Storage;
  /** The sum of squares of each block. */
  private readonly squares: Storage;
  /** Arrays of the host that wait for the next round, by length. */
  private readonly idle = new Map<number, HostArray[]>();

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
    this.blocks = blocksOf(gradient.length);
    this.squares = this.backend.allocate(this.backend.dtype, this.blocks.length);
  }

  /** The blocks that this process adds up. */
  get ownBlocks(): readonly Range[] {
    return this.blocks.filter((_, i) => ownerOf(i, this.peers.size) === this.peers.rank);
  }

  /** Before each micro-step, which adds to the parameters' buffer. */
  begin(): void {
    this.parameters.zeroGradients();
  }

  /** After each micro-step, in order. */
  finish(microStep: number): void {
    const { backend, flat, pending } = this;
    const last = microStep + 1 === this.own.to;
    let sum: Buffer | null = null; // in the parameters' buffer, until it must make room for the next micro-step
    for (let i = runsEndingWith(microStep, this.own, this.microSteps) - 1; i > 0; i--) {
      const left = pending.pop()!;
      if (last) {
        backend.accumulate({ out: flat, inp: left.storage });
        left.release();
      } else {
        backend.accumulate({ out: left.storage, inp: sum?.storage ?? flat });
        sum?.release();
        sum = left;
      }
    }
    if (last) return;
    if (!sum) {
      sum = this.parameters.runtime.pool.take(backend.dtype, flat.length);
      backend.copy(sum.storage, flat);
    }
    pending.push(sum);
  }

  /** Forgets the micro-steps of an update that is given up. */
  drop(): void {
    for (const sum of this.pending.splice(0)) sum.release();
  }

  /** Adds up all micro-steps of all processes: the parameters' buffer then holds the sum, or the blocks of it that are needed. */
  async reduce(): Promise<void> {
    try {
      if (this.peers.size > 1) await this.exchangeBlocks();
    } finally {
      this.drop();
    }
    if (!this.sharded) await this.gather(this.flat);
  }

  /** Fills every block of a storage that is laid out as the gradient is from the process whose block it is. */
  async gather(flat: Storage): Promise<void> {
    const { peers, backend } = this;
    const others = othersOf(peers);
    if (others.length === 0) return;
    await this.inRounds(async (blocks, take) => {
      const own = blocks[peers.rank];
      const values = blocks.map((block) => take(block?.length ?? 0));
      if (own) await backend.read(backend.slice(flat, own.offset, own.length), values[peers.rank]);
      return {
        sends: own ? others.map((peer) => message(peer, values[peers.rank])) : [],
        receives: others.filter((peer) => blocks[peer]).map((peer) => message(peer, values[peer])),
        end: () => {
          for (const peer of others) {
            const block = blocks[peer];
            if (block) backend.write(backend.slice(flat, block.offset, block.length), values[peer]);
          }
        },
      };
    });
  }

  /** out (2) = the sum of squares of the whole gradient; `nonFinite (1)` becomes 1 where the blocks that are here are not finite. */
  async sumSquares(out: Storage, nonFinite: Storage): Promise<void> {
    const { backend, peers, blocks, flat, squares, sharded } = this;
    const summed = blocks.map((_, i) => !sharded || ownerOf(i, peers.size) === peers.rank);
    for (const [i, { offset, length }] of blocks.entries()) {
      if (!summed[i]) continue;
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

  /**
   * Exchanges a block of each rank at a time, null for those that have none left, some rounds being under way at once; `end` is
   * called, in order, when a round's values have arrived.
   */
  private async inRounds(
    begin: (blocks: readonly (Range | null)[], take: (length: number) => HostArray) => Promise<Round>,
  ): Promise<void> {
    const { peers, blocks } = this;
    const underWay: { arrived: Promise<void>; end(): void; taken: HostArray[] }[] = [];
    const finish = async () => {
      const { arrived, end, taken } = underWay.shift()!;
      await arrived;
      end();
      for (const values of taken) this.idle.get(values.length)!.push(values);
    };
    for (let first = 0; first < blocks.length; first += peers.size) {
      const round = Array.from({ length: peers.size }, (_, rank) => blocks[first + rank] ?? null);
      const taken: HostArray[] = [];
      const take = (length: number) => {
        taken.push(this.take(length));
        return taken.at(-1)!;
      };
      const { sends, receives, end } = await begin(round, take);
      underWay.push({ arrived: peers.exchange(sends, receives), end, taken });
      if (underWay.length === UNDER_WAY) await finish();
    }
    while (underWay.length > 0) await finish();
  }

  /** An array in the host's memory, which one of the former rounds may have used. */
  private take(length: number): HostArray {
    const list = this.idle.get(length) ?? [];
    this.idle.set(length, list);
    return list.pop() ?? (this.backend.dtype === 'f32' ? new Float32Array(length) : new Float64Array(length));
  }

  /** Sends what this process holds of others' blocks, and adds what others hold of its own to them. */
  private async exchangeBlocks(): Promise<void> {
    const { peers, backend, microSteps } = this;
    const others = othersOf(peers);
    const runs = Array.from({ length: peers.size }, (_, rank) =>
      runsWithin(microStepsOf(rank, peers.size, microSteps), microSteps),
    );
    // The parameters' buffer holds the last run.
    const sums = [...this.pending.map(({ storage }) => storage), this.flat].slice(0, runs[peers.rank].length);
    await this.inRounds(async (blocks, take) => {
      const sends: Message[] = [];
      for (const peer of others) {
        const block = blocks[peer];
        if (!block || sums.length === 0) continue;
        const values = take(sums.length * block.length);
        for (const [i, sum] of sums.entries()) {
          const part = backend.slice(sum, block.offset, block.length);
          await backend.read(part, values.subarray(i * block.length, (i + 1) * block.length));
        }
        sends.push(message(peer, values));
      }
      const own = blocks[peers.rank];
      const received = runs.map(({ length }, peer) =>
        take(own && peer !== peers.rank ? length * own.length : 0),
      );
      const receives = others
        .filter((peer) => received[peer].length > 0)
        .map((peer) => message(peer, received[peer]));
      return { sends, receives, end: () => own && this.addUp(own, sums, runs, received) };
    });
  }

  /** The gradient's block, from the sums of all runs. */
  private addUp(
    { offset, length }: Range,
    sums: readonly Storage[],
    runs: readonly (readonly Run[])[],
    received: readonly HostArray[],
  ): void {
    const { backend, microSteps } = this;
    const result = backend.slice(this.flat, offset, length);
    const held = new Map<string, Storage>();
    const taken: Buffer[] = [];
    for (const [rank, of] of runs.entries()) {
      for (const [i, run] of of.entries()) {
        if (rank === this.peers.rank) {
          held.set(key(run), sums[i] === this.flat ? result : backend.slice(sums[i], offset, length));
          continue;
        }
        const buffer = this.parameters.runtime.pool.take(backend.dtype, length);
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

function message(peer: number, values: HostArray): Message {
  return { peer, values: values as Message['values'] };
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

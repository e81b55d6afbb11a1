/**
 * A process's part of an update's gradient, the sums of runs of micro-steps, and how the parts of all processes are
 * added to blocks of the whole sum.
 */
import type { HostArray, Storage } from '../backend/backend.js';
import type { Buffer } from '../tensor/pool.js';
import type { Runtime } from '../tensor/tensor.js';
import { message, type Stage } from './block-exchange.js';
import type { Range } from './blocks.js';
import { microStepsOf, type Run, runsWithin, sumOverTree } from './micro-step-tree.js';
import { type Message, othersOf, type Peers } from './peers.js';

export class RunSums {
  /** The micro-steps of each rank, as runs of the tree. */
  private readonly runs: readonly (readonly Run[])[];

  constructor(
    private readonly runtime: Runtime,
    private readonly peers: Peers,
    private readonly microSteps: number,
    /** Sums of this process's runs, except the last. */
    private readonly former: readonly Storage[],
    /** The last micro-step's gradient, then the last run's sum, then the whole sum. */
    private readonly flat: Storage,
    /** The sums to add to the last micro-step for the sum of its run, the nearest first. */
    private readonly lefts: readonly Storage[],
  ) {
    this.runs = Array.from({ length: peers.size }, (_, rank) =>
      runsWithin(microStepsOf(rank, peers.size, microSteps), microSteps),
    );
  }

  /** Computes the last run's sum, in a part of it. */
  addLefts({ offset, length }: Range): void {
    const { backend } = this.runtime;
    const part = (whole: Storage) => backend.slice(whole, offset, length);
    for (const left of this.lefts) backend.accumulate({ out: part(this.flat), inp: part(left) });
  }

  /** Sends this process's parts of others' blocks, and adds others' parts of its own blocks. */
  adds(): Stage {
    const { peers, runtime, runs } = this;
    const { backend } = runtime;
    const others = othersOf(peers);
    const sums = runs[peers.rank].length === 0 ? [] : [...this.former, this.flat];
    return async (round, take) => {
      const sends: Message[] = [];
      for (const block of round) if (block && sums.length > 0) this.addLefts(block);
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

  /** A block of the whole, from the sums of all runs. */
  private addUp({ offset, length }: Range, sums: readonly Storage[], received: readonly HostArray[]): void {
    const { runtime, microSteps, flat, peers } = this;
    const { backend, pool } = runtime;
    const result = backend.slice(flat, offset, length);
    const held = new Map<string, Storage>();
    const taken: Buffer[] = [];
    for (const [rank, runs] of this.runs.entries()) {
      for (const [i, run] of runs.entries()) {
        if (rank === peers.rank) {
          held.set(key(run), sums[i] === flat ? result : backend.slice(sums[i], offset, length));
          continue;
        }
        const buffer = pool.take(backend.dtype, length);
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

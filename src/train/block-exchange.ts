/**
 * Exchanges between processes, by rounds: one block of each rank per round, so that all ranks send and receive the same
 * amount. Several rounds run at once.
 */
import type { Backend, HostArray, Storage } from '../backend/backend.js';
import { ownerOf, type Range } from './blocks.js';
import { type Message, othersOf, type Peers } from './peers.js';

/** Rounds of a stage that run at once. */
const UNDER_WAY = 3;

/** A block of each rank; null for ranks without further blocks. */
export type Round = readonly (Range | null)[];

/** The messages of one process in one round. */
export interface Exchange {
  readonly sends: readonly Message[];
  readonly receives: readonly Message[];
  /** Called when everything has arrived. */
  end(): void;
}

/** The exchange of a round; `take` lends arrays of the host's memory until the end of the round. */
export type Stage = (round: Round, take: (length: number) => HostArray) => Promise<Exchange>;

/** Resolves when a round may begin, in its first stage. */
export type Ready = (round: number) => Promise<void>;

export class BlockExchange {
  readonly rounds: readonly Round[];
  /** Arrays that wait for the next round, by length. */
  private readonly idle = new Map<number, HostArray[]>();

  constructor(
    private readonly backend: Backend,
    blocks: readonly Range[],
    readonly peers: Peers,
  ) {
    const { size } = peers;
    this.rounds = Array.from({ length: Math.ceil(blocks.length / size) }, (_, round) =>
      Array.from({ length: size }, (_, rank) => blocks[round * size + rank] ?? null),
    );
    if (blocks.some((_, i) => this.rounds[Math.floor(i / size)][ownerOf(i, size)] !== blocks[i]))
      throw new Error('BlockExchange: rounds must hold each rank’s own blocks');
  }

  /**
   * Takes every round through all stages. `order`, the order of the rounds, is the same on all ranks, and therefore
   * also the order of all messages.
   */
  async run(
    stages: readonly Stage[],
    order: readonly number[] = [...this.rounds.keys()],
    ready: Ready = async () => {},
  ): Promise<void> {
    const ends = stages.map(() => new Map<number, () => Promise<void>>());
    for (let turn = 0; turn < order.length + stages.length * UNDER_WAY; turn++) {
      for (let stage = 0; stage <= stages.length; stage++) {
        const round = order[turn - stage * UNDER_WAY];
        if (round === undefined) continue;
        if (stage === 0) await ready(round);
        else {
          await ends[stage - 1].get(round)!();
          ends[stage - 1].delete(round);
        }
        if (stage < stages.length) ends[stage].set(round, await this.begin(stages[stage], round));
      }
    }
  }

  /** Fills every block of a storage from the process whose block it is. */
  gathers(flat: Storage): Stage {
    const { peers, backend } = this;
    const others = othersOf(peers);
    const part = ({ offset, length }: Range) => backend.slice(flat, offset, length);
    return async (round, take) => {
      const values = round.map((block) => take(block?.length ?? 0));
      const own = round[peers.rank];
      if (own) await backend.read(part(own), values[peers.rank]);
      const theirs = others.filter((peer) => round[peer]);
      return {
        sends: own ? others.map((peer) => message(peer, values[peers.rank])) : [],
        receives: theirs.map((peer) => message(peer, values[peer])),
        end: () => {
          for (const peer of theirs) backend.write(part(round[peer]!), values[peer]);
        },
      };
    };
  }

  /** Starts a round; returns the function that ends it. */
  private async begin(stage: Stage, round: number): Promise<() => Promise<void>> {
    const taken: HostArray[] = [];
    const { sends, receives, end } = await stage(this.rounds[round], (length) => {
      taken.push(this.take(length));
      return taken.at(-1)!;
    });
    const arrived = this.peers.exchange(sends, receives);
    arrived.catch(() => {}); // awaited later
    return async () => {
      await arrived;
      end();
      for (const values of taken) this.idle.get(values.length)!.push(values);
    };
  }

  private take(length: number): HostArray {
    const list = this.idle.get(length) ?? [];
    this.idle.set(length, list);
    return list.pop() ?? (this.backend.dtype === 'f32' ? new Float32Array(length) : new Float64Array(length));
  }
}

export function message(peer: number, values: HostArray): Message {
  return { peer, values: values as Message['values'] };
}

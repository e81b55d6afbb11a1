/**
 * The processes that train together, and their collective operations. It must not import networks: the environment
 * provides an implementation, and one process alone is the default.
 */

/** Bytes sent to a peer, or received from it. */
export interface Message {
  readonly peer: number;
  readonly values: Uint8Array | Float32Array | Float64Array;
}

export interface Peers {
  /** This process's rank, from 0. */
  readonly rank: number;
  /** Number of processes. */
  readonly size: number;
  /**
   * Sends and receives; resolves when everything is sent and received. Between two processes, messages arrive in the
   * order in which they are sent, and each has the length that the receiver expects. The values must not be changed
   * meanwhile.
   */
  exchange(sends: readonly Message[], receives: readonly Message[]): Promise<void>;
}

/** One process by itself. */
export const ALONE: Peers = {
  rank: 0,
  size: 1,
  async exchange(sends, receives) {
    if (sends.length + receives.length > 0) throw new Error('exchange: there is nobody else');
  },
};

/** The ranks of all others. */
export function othersOf({ rank, size }: Peers): number[] {
  return Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank);
}

/** The numbers of every process, by rank; all give equally many. */
export async function gatherNumbers(peers: Peers, own: readonly number[]): Promise<Float64Array[]> {
  const all = Array.from({ length: peers.size }, () => new Float64Array(own.length));
  all[peers.rank].set(own);
  await exchangeAll(peers, all);
  return all;
}

/** The texts of every process, by rank. */
export async function gatherTexts(peers: Peers, own: string): Promise<string[]> {
  const bytes = new TextEncoder().encode(own);
  const lengths = await gatherNumbers(peers, [bytes.length]);
  const all = lengths.map(([length], rank) => (rank === peers.rank ? bytes : new Uint8Array(length)));
  await exchangeAll(peers, all);
  return all.map((text) => new TextDecoder().decode(text));
}

/** The text of one process, for all. */
export async function broadcastText(peers: Peers, from: number, text: string): Promise<string> {
  return (await gatherTexts(peers, peers.rank === from ? text : ''))[from];
}

/** Sends a text to one process, which receives it by `receiveText`. */
export async function sendText(peers: Peers, peer: number, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  const length = Float64Array.of(bytes.length);
  await peers.exchange(
    [
      { peer, values: length },
      { peer, values: bytes },
    ],
    [],
  );
}

/** The next text that one process sends to this one. */
export async function receiveText(peers: Peers, peer: number): Promise<string> {
  const length = new Float64Array(1);
  await peers.exchange([], [{ peer, values: length }]);
  const bytes = new Uint8Array(length[0]);
  await peers.exchange([], [{ peer, values: bytes }]);
  return new TextDecoder().decode(bytes);
}

/** Resolves when every process has called it. */
export async function barrier(peers: Peers): Promise<void> {
  await gatherNumbers(peers, [0]);
}

/** Fills `all[rank]` of every other rank with that process's values; every process knows the lengths. */
export async function exchangeAll(peers: Peers, all: readonly Message['values'][]): Promise<void> {
  const others = othersOf(peers);
  await peers.exchange(
    others.map((peer) => ({ peer, values: all[peers.rank] })),
    others.map((peer) => ({ peer, values: all[peer] })),
  );
}

/** Throws an error that all processes have found: rank 0 throws it, which ends the others. */
export async function throwTogether(peers: Peers, error: Error): Promise<never> {
  if (peers.rank > 0) await barrier(peers);
  throw error;
}

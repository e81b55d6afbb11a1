/**
 * Encoding shared among processes: rank 0 reads the text, sends batches of it to the process with the least to do, and
 * writes the ids in the order of the text. So the files equal those of one process by construction. Interrupted work
 * resumes with any number of processes, and only rank 0 needs the sources and the folder. The price is that reading and
 * writing remain one thread's work, which bounds the speed (docs/machines.md). The alternative, dividing files among
 * processes, would share that work too; but the documents held out are drawn by the sizes of all documents, and broken
 * records are counted over all files.
 *
 * Like `encoder.ts`, this file handles a tokenizer and batches, not documents or files.
 */
import { tokenizerFromJSON } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { broadcastText, gatherNumbers, othersOf, type Peers, receiveText, sendText } from '../train/peers.js';
import {
  defaultWorkers,
  type EncodeTokenizer,
  type Encoded,
  Encoder,
  type Encoding,
  type Stretch,
} from './encoder.js';

/** What rank 0 sends to the other ranks before the first batch. */
interface Start extends EncodeTokenizer {
  /** Threads of each rank; null for its own default. */
  readonly workers: number | null;
}

/** Sent in place of a batch when there are no more. */
const NOTHING = '';

/** The encoder of rank 0; the other ranks run `helpEncode`. */
export class SharedEncoder implements Encoding {
  readonly capacity: number;
  /** Batches in progress, by rank. */
  readonly #load: number[];
  /** Batches in all, by rank. */
  readonly #given: number[];
  /** The last pending answer of each rank; answers arrive in the order of the batches. */
  readonly #answers: Promise<unknown>[];

  private constructor(
    private readonly peers: Peers,
    private readonly own: Encoder,
    private readonly capacities: readonly number[],
  ) {
    this.capacity = capacities.reduce((sum, capacity) => sum + capacity, 0);
    this.#load = capacities.map(() => 0);
    this.#given = capacities.map(() => 0);
    this.#answers = capacities.map(() => Promise.resolve());
  }

  /** Sends the tokenizer to the other ranks, and receives the number of batches that each can hold. */
  static async open(
    peers: Peers,
    own: Encoder,
    tokenizer: Tokenizer,
    workers: number | null,
  ): Promise<SharedEncoder> {
    const start: Start = { json: tokenizer.toJSON(), token: tokenizer.eotToken, workers };
    await broadcastText(peers, 0, JSON.stringify(start));
    const capacities = (await gatherNumbers(peers, [own.capacity])).map(([capacity]) => capacity);
    return new SharedEncoder(peers, own, capacities);
  }

  async encode(texts: readonly Stretch[]): Promise<Encoded> {
    const rank = this.#freest();
    this.#load[rank]++;
    this.#given[rank]++;
    try {
      return await (rank === this.peers.rank ? this.own.encode(texts) : this.#encodeOn(rank, texts));
    } finally {
      this.#load[rank]--;
    }
  }

  async close(): Promise<void> {
    await this.own.close();
    await Promise.all(othersOf(this.peers).map((rank) => sendText(this.peers, rank, NOTHING)));
  }

  /**
   * The rank for the next batch: another rank while one can hold more, in turns if they are equally free. Rank 0 comes
   * last, since it also reads and writes.
   */
  #freest(): number {
    const fullness = (rank: number) => this.#load[rank] / this.capacities[rank];
    const others = othersOf(this.peers).filter((rank) => fullness(rank) < 1);
    others.sort((a, b) => fullness(a) - fullness(b) || this.#given[a] - this.#given[b]);
    return others[0] ?? this.peers.rank;
  }

  #encodeOn(rank: number, texts: readonly Stretch[]): Promise<Encoded> {
    const sent = sendText(this.peers, rank, JSON.stringify(texts));
    const answer = this.#answers[rank].then(async () => {
      await sent;
      return receiveEncoded(this.peers, rank, texts.length);
    });
    this.#answers[rank] = answer;
    return answer;
  }
}

/** Encodes the batches that rank 0 sends, until there are no more. An error is thrown on the rank where it happens. */
export async function helpEncode(peers: Peers): Promise<void> {
  const { json, token, workers }: Start = JSON.parse(await broadcastText(peers, 0, ''));
  const tokenizer = await tokenizerFromJSON(json, undefined, { token: token ?? undefined });
  const encoder = new Encoder(tokenizer, workers ?? defaultWorkers());
  let fail: (error: Error) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  const next = () => Promise.race([receiveText(peers, 0), failure]);
  try {
    // One more than the threads need, so that a batch is on its way while others are encoded.
    await gatherNumbers(peers, [encoder.capacity + 1]);
    let answered = Promise.resolve();
    for (let text = await next(); text !== NOTHING; text = await next()) {
      const encoded = encoder.encode(JSON.parse(text));
      answered = Promise.all([encoded, answered]).then(([found]) => sendEncoded(peers, found));
      answered.catch(fail);
    }
    await answered;
  } finally {
    await encoder.close();
  }
}

async function sendEncoded(peers: Peers, { ids, lengths, bytes }: Encoded): Promise<void> {
  const sends = [Float64Array.of(ids.length), Float64Array.from([...lengths, ...bytes]), bytesOf(ids)];
  await peers.exchange(
    sends.map((values) => ({ peer: 0, values })),
    [],
  );
}

async function receiveEncoded(peers: Peers, peer: number, texts: number): Promise<Encoded> {
  const count = new Float64Array(1);
  const sizes = new Float64Array(2 * texts);
  await peers.exchange(
    [],
    [count, sizes].map((values) => ({ peer, values })),
  );
  const ids = new Uint16Array(count[0]);
  await peers.exchange([], [{ peer, values: bytesOf(ids) }]);
  return { ids, lengths: [...sizes.subarray(0, texts)], bytes: [...sizes.subarray(texts)] };
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint16Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

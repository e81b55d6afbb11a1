/**
 * Byte-pair merges: an ordered list of pairs of ids, each with the id that it becomes.
 */
import { Heap } from './heap.js';

/** Keys (rank, position) are packed into one number; positions stay below this. */
const POSITIONS = 2 ** 32;
/** A word of up to this many ids is merged by scanning it; the work grows with the square of the length. */
const SHORT_WORD = 128;
/** Upper bits of the hash that rule out most pairs which do not merge, without a look at the table. */
const SIEVE_BITS = 19;
/** The rank of a pair that does not merge. */
const NONE = 0x7fff_ffff;

/** An ordered table of merges over 16-bit ids; earlier merges go first. */
export class MergeTable {
  /** The pairs in order of rank, left and right ids in turn. */
  readonly pairs: number[] = [];
  readonly #result: number[] = [];
  /** Ranks by pair, with open addressing: the pair and its rank + 1 in turn, 0 where a place is free. */
  #places = new Int32Array(2 << 9);
  /** Shifts a hash to the bits that are a place. */
  #shift = 32 - 9;
  /** A bit for each hash that some pair has. */
  readonly #sieve = new Int32Array((1 << SIEVE_BITS) / 32);
  /** Ranks of the pairs of the current word. */
  readonly #ranks = new Int32Array(SHORT_WORD);

  /** Number of merges. */
  get size(): number {
    return this.#result.length;
  }

  /** Appends the merge (left, right) → result; a pair that is already there keeps its earlier rank. */
  add(left: number, right: number, result: number): void {
    if (this.#rank(left, right) !== NONE) return;
    this.#result.push(result);
    this.pairs.push(left, right);
    if (4 * this.size > this.#places.length) this.#grow();
    else this.#place(left, right, this.size - 1);
  }

  /**
   * Applies the merges to a word, the ids from `start` to `end`: always the merge of lowest rank, the leftmost first,
   * until none applies. O(n log n), so that a word of a million letters is not too slow. The merged ids begin at
   * `start`; returns their end.
   */
  apply(ids: Uint16Array, start: number, end: number): number {
    return end - start <= SHORT_WORD
      ? this.#applyByScan(ids, start, end)
      : this.#applyByQueue(ids, start, end);
  }

  /** Scans the word for each merge: the fastest way for the short words that make up most text. */
  #applyByScan(ids: Uint16Array, start: number, end: number): number {
    const ranks = this.#ranks;
    let last = end - start - 1;
    for (let i = 0; i < last; i++) ranks[i] = this.#rank(ids[start + i], ids[start + i + 1]);
    for (;;) {
      let best = NONE;
      let at = 0;
      for (let i = 0; i < last; i++) {
        if (ranks[i] < best) {
          best = ranks[i];
          at = i;
        }
      }
      if (best === NONE) return start + last + 1;
      ids[start + at] = this.#result[best];
      for (let i = at + 1; i < last; i++) {
        ids[start + i] = ids[start + i + 1];
        ranks[i - 1] = ranks[i];
      }
      last--;
      if (at > 0) ranks[at - 1] = this.#rank(ids[start + at - 1], ids[start + at]);
      if (at < last) ranks[at] = this.#rank(ids[start + at], ids[start + at + 1]);
    }
  }

  #applyByQueue(all: Uint16Array, start: number, end: number): number {
    const ids = Int32Array.from(all.subarray(start, end));
    const n = ids.length;
    const next = Int32Array.from({ length: n }, (_, i) => i + 1);
    const previous = Int32Array.from({ length: n }, (_, i) => i - 1);
    const queue = new Heap<number>((a, b) => a < b);
    const offer = (i: number): void => {
      const rank = this.#rank(ids[i], ids[next[i]]);
      if (rank !== NONE) queue.push(rank * POSITIONS + i);
    };
    for (let i = 0; i + 1 < n; i++) offer(i);
    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const i = entry % POSITIONS;
      const rank = (entry - i) / POSITIONS;
      const j = next[i];
      // Since the pair was queued, it may have been merged away, or have become another pair.
      if (ids[i] < 0 || j >= n || this.#rank(ids[i], ids[j]) !== rank) continue;
      ids[i] = this.#result[rank];
      ids[j] = -1;
      next[i] = next[j];
      if (next[i] < n) {
        previous[next[i]] = i;
        offer(i);
      }
      if (previous[i] >= 0) offer(previous[i]);
    }
    let to = start;
    for (let i = 0; i < n; i = next[i]) all[to++] = ids[i];
    return to;
  }

  #rank(left: number, right: number): number {
    const pair = (left << 16) | right;
    const hash = hashOf(pair);
    const bit = hash >>> (32 - SIEVE_BITS);
    if (((this.#sieve[bit >>> 5] >>> bit) & 1) === 0) return NONE;
    const places = this.#places;
    for (let at = 2 * (hash >>> this.#shift); ; at = (at + 2) & (places.length - 1)) {
      if (places[at + 1] === 0) return NONE;
      if (places[at] === pair) return places[at + 1] - 1;
    }
  }

  #place(left: number, right: number, rank: number): void {
    const pair = (left << 16) | right;
    const hash = hashOf(pair);
    const bit = hash >>> (32 - SIEVE_BITS);
    this.#sieve[bit >>> 5] |= 1 << bit;
    const places = this.#places;
    let at = 2 * (hash >>> this.#shift);
    while (places[at + 1] !== 0) at = (at + 2) & (places.length - 1);
    places[at] = pair;
    places[at + 1] = rank + 1;
  }

  /** Doubles the table, so that from a quarter to half of the places are taken. */
  #grow(): void {
    this.#places = new Int32Array(2 * this.#places.length);
    this.#shift--;
    for (let rank = 0; rank < this.size; rank++) {
      this.#place(this.pairs[2 * rank], this.pairs[2 * rank + 1], rank);
    }
  }
}

const hashOf = (pair: number): number => Math.imul(pair, 0x9e37_79b1);

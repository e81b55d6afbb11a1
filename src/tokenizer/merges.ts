/**
 * Byte-pair merges: an ordered list of pairs of ids and what each becomes. Knows no text and no bytes.
 */
import { Heap } from './heap.js';

/** Keys (rank, position) are packed into one number; positions stay below this. */
const POSITIONS = 2 ** 32;
/** Up to this many ids a word is merged by looking through it; the work grows with the square. */
const SHORT_WORD = 32;

/** An ordered table of merges over 16-bit ids; earlier merges go first. */
export class MergeTable {
  /** The pairs in order of rank, left and right ids in turn. */
  readonly pairs: number[] = [];
  readonly #rankOf = new Map<number, number>();
  readonly #result: number[] = [];

  /** Number of merges. */
  get size(): number {
    return this.#result.length;
  }

  /** Appends the merge (left, right) → result; a pair that is already there keeps its earlier rank. */
  add(left: number, right: number, result: number): void {
    const key = left * 65_536 + right;
    if (this.#rankOf.has(key)) return;
    this.#rankOf.set(key, this.#result.length);
    this.#result.push(result);
    this.pairs.push(left, right);
  }

  /**
   * Applies the merges to the ids of one word: always the merge of lowest rank, the leftmost first, until none
   * applies. O(n log n), so that a word of a million letters is no trap. Changes `ids` and returns it.
   */
  apply(ids: number[]): number[] {
    return ids.length <= SHORT_WORD ? this.#applyByScan(ids) : this.#applyByQueue(ids);
  }

  /** Looks through the whole word for each merge: the fastest way for the words that make up most text. */
  #applyByScan(ids: number[]): number[] {
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      let at = 0;
      for (let i = 0; i + 1 < ids.length; i++) {
        const rank = this.#rank(ids[i], ids[i + 1]);
        if (rank !== undefined && rank < best) {
          best = rank;
          at = i;
        }
      }
      if (best === Number.POSITIVE_INFINITY) return ids;
      ids[at] = this.#result[best];
      ids.splice(at + 1, 1);
    }
  }

  #applyByQueue(ids: number[]): number[] {
    const n = ids.length;
    const next = Int32Array.from({ length: n }, (_, i) => i + 1);
    const previous = Int32Array.from({ length: n }, (_, i) => i - 1);
    const queue = new Heap<number>((a, b) => a < b);
    const offer = (i: number): void => {
      const rank = this.#rank(ids[i], ids[next[i]]);
      if (rank !== undefined) queue.push(rank * POSITIONS + i);
    };
    for (let i = 0; i + 1 < n; i++) offer(i);
    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const i = entry % POSITIONS;
      const rank = (entry - i) / POSITIONS;
      const j = next[i];
      // The pair may have been merged away, or have become another one, since it was queued.
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
    let length = 0;
    for (let i = 0; i < n; i = next[i]) ids[length++] = ids[i];
    ids.length = length;
    return ids;
  }

  #rank(left: number, right: number): number | undefined {
    return this.#rankOf.get(left * 65_536 + right);
  }
}

/**
 * Remembers the ids of words in bounded memory: a word replaces another word in the same place.
 *
 * An entry is 32 numbers of 16 bits, one line of the processor's cache: the word's length, its UTF-16 units, the number
 * of its ids, and the ids. Longer words are rare and are not remembered.
 */

/** 8 MB. */
const ENTRIES = 1 << 17;
const ENTRY = 32;
const IDS = 16;
/** Most UTF-16 units, and most ids, of a cached word. */
export const MOST_REMEMBERED = 15;

export class WordCache {
  readonly #entries = new Uint16Array(ENTRIES * ENTRY);

  /** The place of the word from `start` to `end`, or -1 if the word is too long. */
  place(text: string, start: number, end: number): number {
    if (end - start > MOST_REMEMBERED) return -1;
    let hash = 0;
    for (let i = start; i < end; i++)
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x9e37_79b1) ^ (hash >>> 15);
    return (((hash ^ (hash >>> 15)) >>> 0) % ENTRIES) * ENTRY;
  }

  /** Copies the word's ids to `ids` from `to` on; returns their end, or -1 if its place holds another word or none. */
  recall(place: number, text: string, start: number, end: number, ids: Uint16Array, to: number): number {
    const entries = this.#entries;
    const length = end - start;
    if (entries[place] !== length) return -1;
    for (let i = 1; i <= length; i++) if (entries[place + i] !== text.charCodeAt(start + i - 1)) return -1;
    const count = entries[place + IDS];
    for (let i = 0; i < count; i++) ids[to + i] = entries[place + IDS + 1 + i];
    return to + count;
  }

  /** Remembers the word's ids, which `ids` holds from `from` to `to`. */
  remember(
    place: number,
    text: string,
    start: number,
    end: number,
    ids: Uint16Array,
    from: number,
    to: number,
  ): void {
    if (to - from > MOST_REMEMBERED) return;
    const entries = this.#entries;
    entries[place] = end - start;
    for (let i = start; i < end; i++) entries[place + 1 + i - start] = text.charCodeAt(i);
    entries[place + IDS] = to - from;
    for (let i = from; i < to; i++) entries[place + IDS + 1 + i - from] = ids[i];
  }
}

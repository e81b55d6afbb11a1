/**
 * Splits the bytes of JSON into values: values that follow each other, or the members of an array or object. It holds
 * at most one value and parses none: it handles only brackets and strings, and callers interpret the values.
 */

/** The layout to split: values one after another, or the members of one array or object. */
export type Cut = 'values' | 'members';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;

/** Takes bytes chunk by chunk and returns each value as soon as it is complete. */
export class JsonSplitter {
  /** How many bytes of the last chunk belong to the array or object, once it is closed; -1 before. */
  closedAt = -1;
  /** Bytes held of a value that is not whole yet. */
  heldBytes = 0;
  #held: Uint8Array[] = [];
  /** Depth of the brackets around a value: 1 for members, which an array or object encloses, else 0. */
  readonly #base: number;
  #depth = 0;
  #quoted = false;
  #escaped = false;
  /** Whether a value has begun, and whether a comma requires another. */
  #open = false;
  #wanted = false;

  constructor(cut: Cut) {
    this.#base = cut === 'members' ? 1 : 0;
  }

  /** The values that a chunk completes; with 'members' the first byte pushed is the bracket that encloses them. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let from = 0;
    for (let i = 0; i < chunk.length && this.closedAt < 0; i++) {
      if (this.#quoted) {
        // A fast path: most bytes of a corpus are in strings.
        while (!this.#escaped && i < chunk.length && chunk[i] !== QUOTE && chunk[i] !== BACKSLASH) i++;
        if (i === chunk.length) break;
        this.#quoted = this.#escaped || chunk[i] !== QUOTE;
        this.#escaped = !this.#escaped && chunk[i] === BACKSLASH;
        continue;
      }
      const byte = chunk[i];
      if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) {
        // Successive values that are not objects end at white space.
        if (!this.#open || this.#depth > 0 || this.#base > 0) continue;
        yield this.#take(chunk.subarray(from, i));
        continue;
      }
      const opens = byte === 0x7b || byte === 0x5b;
      const closes = byte === 0x7d || byte === 0x5d;
      if (opens && this.#depth === 0 && this.#base === 1) {
        this.#depth = 1;
        continue;
      }
      if (this.#base === 1 && this.#depth === 1 && (byte === COMMA || closes)) {
        if (this.#open || byte === COMMA || this.#wanted) {
          yield this.#take(this.#open ? chunk.subarray(from, i) : chunk.subarray(i, i));
        }
        this.#wanted = byte === COMMA;
        if (closes) this.closedAt = i + 1;
        continue;
      }
      if (!this.#open) {
        this.#open = true;
        from = i;
      }
      if (byte === QUOTE) this.#quoted = true;
      else if (opens) this.#depth++;
      else if (closes && --this.#depth <= this.#base && this.#base === 0) {
        this.#depth = 0;
        yield this.#take(chunk.subarray(from, i + 1));
      }
    }
    if (!this.#open || this.closedAt >= 0) return;
    this.#held.push(chunk.subarray(from));
    this.heldBytes += chunk.length - from;
  }

  /** The beginning of a value that is not whole. */
  get rest(): Uint8Array {
    return this.#held.length === 1 ? this.#held[0] : Buffer.concat(this.#held);
  }

  #take(last: Uint8Array): Uint8Array {
    const whole = this.#held.length === 0 ? last : Buffer.concat([...this.#held, last]);
    this.#held = [];
    this.heldBytes = 0;
    this.#open = false;
    return whole;
  }
}

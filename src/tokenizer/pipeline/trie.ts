/** A tree of texts, which finds all texts that begin at a place. */

/** Initial size of the hash table; all its sizes are powers of two. */
const PLACES = 1 << 10;

/**
 * Nodes are numbers; the root is 0. A hash table finds each other node by its parent and the UTF-16 unit that leads to
 * it.
 */
export class Trie {
  #places = new Int32Array(PLACES);
  readonly #parents: number[] = [0];
  readonly #units: number[] = [0];
  /** The value of the text that ends at a node, or -1. */
  readonly #values: number[] = [-1];

  /** Adds a text, which is not empty, with a value from 0 on. */
  add(text: string, value: number): void {
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      node = this.#child(node, unit) || this.#newChild(node, unit);
    }
    this.#values[node] = value;
  }

  /** Calls `found` with the end and the value of each text that begins at `start`, the shortest first. */
  prefixes(text: string, start: number, found: (end: number, value: number) => void): void {
    let node = 0;
    for (let i = start; i < text.length; i++) {
      node = this.#child(node, text.charCodeAt(i));
      if (node === 0) return;
      if (this.#values[node] >= 0) found(i + 1, this.#values[node]);
    }
  }

  /** The child that a unit leads to; 0 if there is none. */
  #child(parent: number, unit: number): number {
    const places = this.#places;
    for (let at = hash(parent, unit) & (places.length - 1); ; at = (at + 1) & (places.length - 1)) {
      const node = places[at];
      if (node === 0 || (this.#parents[node] === parent && this.#units[node] === unit)) return node;
    }
  }

  #newChild(parent: number, unit: number): number {
    const node = this.#parents.length;
    this.#parents.push(parent);
    this.#units.push(unit);
    this.#values.push(-1);
    if (2 * node > this.#places.length) {
      this.#places = new Int32Array(2 * this.#places.length);
      for (let one = 1; one < node; one++) this.#place(one);
    }
    this.#place(node);
    return node;
  }

  #place(node: number): void {
    let at = hash(this.#parents[node], this.#units[node]) & (this.#places.length - 1);
    while (this.#places[at] !== 0) at = (at + 1) & (this.#places.length - 1);
    this.#places[at] = node;
  }
}

function hash(parent: number, unit: number): number {
  const mixed = Math.imul(parent, 0x9e37_79b1) ^ Math.imul(unit, 0x85eb_ca6b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** A growing list of numbers, in memory of its own. */
export class Growing {
  private numbers = new Float64Array(256);
  length = 0;

  /** The numbers so far. */
  get values(): Float64Array {
    return this.numbers.subarray(0, this.length);
  }

  last(): number {
    return this.length === 0 ? Number.NaN : this.numbers[this.length - 1];
  }

  /** Writes numbers from index `from` on, and drops those that were there. Null becomes NaN. */
  set(from: number, added: ArrayLike<number | null>): void {
    const length = from + added.length;
    if (length > this.numbers.length) {
      const more = new Float64Array(Math.max(length, 2 * this.numbers.length));
      more.set(this.numbers.subarray(0, from));
      this.numbers = more;
    }
    for (let i = 0; i < added.length; i++) this.numbers[from + i] = added[i] ?? Number.NaN;
    this.length = length;
  }
}

/** Numbers that are added to, in memory that they share with nothing else. */
export class Growing {
  private numbers = new Float64Array(256);
  length = 0;

  /** Those that there are. */
  get values(): Float64Array {
    return this.numbers.subarray(0, this.length);
  }

  last(): number {
    return this.length === 0 ? Number.NaN : this.numbers[this.length - 1];
  }

  /** Writes numbers from a place on; what was there is gone. NaN in place of null. */
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

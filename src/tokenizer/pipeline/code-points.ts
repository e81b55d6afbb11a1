/** Sets of code points, and their spelling in JavaScript's regular expressions. */

/** A set of code points as runs in rising order: first, last, first, last … */
export class CodePoints {
  private constructor(private readonly runs: readonly number[]) {}

  static range(first: number, last = first): CodePoints {
    return new CodePoints([first, last]);
  }

  /** The set of the characters of a text. */
  static of(characters: string): CodePoints {
    return CodePoints.union(
      Array.from(characters, (character) => CodePoints.range(character.codePointAt(0)!)),
    );
  }

  /** Parses runs in the format of `unicode-table.ts`. */
  static parse(table: string): CodePoints {
    const runs: number[] = [];
    let at = 0;
    for (const run of table.split(' ')) {
      const [distance, more = '0'] = run.split('.');
      const first = at + Number.parseInt(distance, 36);
      at = first + Number.parseInt(more, 36);
      runs.push(first, at);
    }
    return new CodePoints(runs);
  }

  static union(sets: readonly CodePoints[]): CodePoints {
    const pairs: [number, number][] = [];
    for (const { runs } of sets) for (let i = 0; i < runs.length; i += 2) pairs.push([runs[i], runs[i + 1]]);
    pairs.sort((a, b) => a[0] - b[0]);
    const joined: number[] = [];
    for (const [first, last] of pairs) {
      const end = joined.length - 1;
      if (end > 0 && first <= joined[end] + 1) joined[end] = Math.max(joined[end], last);
      else joined.push(first, last);
    }
    return new CodePoints(joined);
  }

  or(other: CodePoints): CodePoints {
    return CodePoints.union([this, other]);
  }

  not(): CodePoints {
    const gaps: number[] = [];
    let first = 0;
    for (let i = 0; i < this.runs.length; i += 2) {
      if (this.runs[i] > first) gaps.push(first, this.runs[i] - 1);
      first = this.runs[i + 1] + 1;
    }
    if (first <= 0x10ffff) gaps.push(first, 0x10ffff);
    return new CodePoints(gaps);
  }

  and(other: CodePoints): CodePoints {
    return this.not().or(other.not()).not();
  }

  without(other: CodePoints): CodePoints {
    return this.and(other.not());
  }

  has(codePoint: number): boolean {
    let [low, high] = [0, this.runs.length / 2];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.runs[2 * middle + 1] < codePoint) low = middle + 1;
      else high = middle;
    }
    return codePoint >= this.runs[2 * low];
  }

  eachRun(run: (first: number, last: number) => void): void {
    for (let i = 0; i < this.runs.length; i += 2) run(this.runs[i], this.runs[i + 1]);
  }

  /** An expression for one code point of the set, in brackets, for the flag u. */
  get source(): string {
    let members = '';
    for (let i = 0; i < this.runs.length; i += 2) {
      const [first, last] = [this.runs[i], this.runs[i + 1]];
      members += first === last ? spelled(first) : `${spelled(first)}-${spelled(last)}`;
    }
    return `[${members}]`;
  }
}

/** A code point in an expression with the flag u, inside brackets or outside. */
function spelled(codePoint: number): string {
  const lone = codePoint >= 0xd800 && codePoint <= 0xdfff;
  return codePoint < 0x80 || lone ? `\\u{${codePoint.toString(16)}}` : String.fromCodePoint(codePoint);
}

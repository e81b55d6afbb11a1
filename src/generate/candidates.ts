/**
 * The candidates for the next token: their scores, which of them remain, and the draw among those. Every method takes
 * time linear in the vocabulary, and no memory beyond the constructor's.
 */
import { CheckpointError } from '../errors.js';
import { uniform } from '../random.js';

/**
 * Weights below e^−40 of the largest count as 0: even a whole vocabulary of them sums to less than 2⁻³², the resolution
 * of the random number.
 */
const FLOOR = -40;
/** Steps of the table of exponentials for each unit. */
const RESOLUTION = 64;
const EXP = Float64Array.from({ length: -FLOOR * RESOLUTION + 1 }, (_, i) => Math.exp(-i / RESOLUTION));

/** Upper bounds of eˣ up to the next step, with one more step for rounding. */
const BOUNDS = Float64Array.from({ length: EXP.length + 1 }, (_, i) => EXP[Math.max(0, i - 1)]);

/** eˣ for x from −40 to 0, to 16 digits: a table and a short series, at a quarter of the time of Math.exp. */
function exp(x: number): number {
  const i = (-x * RESOLUTION) | 0;
  const r = x + i / RESOLUTION;
  return EXP[i] * (1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r / 720))))));
}

/** A float's bits are cut into digits of 11, the last of which overlaps the second. */
const DIGITS = [21, 10, 0];
const LARGEST_DIGIT = 2 ** 11 - 1;

export class Candidates {
  /** A score for each of V tokens; a caller may change them between `reset` and `best`. */
  readonly scores: Float32Array;
  private readonly bits: Int32Array;
  /** The remaining tokens, in ascending order, and the weight of each; `ids` is not set while `every` token remains. */
  private readonly ids: Int32Array;
  private every = true;
  private readonly weights: Float64Array;
  private count = 0;
  private max = 0;
  private readonly keys: Uint32Array;
  private readonly bins = new Float64Array(LARGEST_DIGIT + 1);

  constructor(V: number) {
    this.scores = new Float32Array(V);
    this.bits = new Int32Array(this.scores.buffer);
    this.ids = new Int32Array(V);
    this.weights = new Float64Array(V);
    this.keys = new Uint32Array(V);
  }

  /** Restores every token, with `logits (V)` as the scores. */
  reset(logits: Float32Array): void {
    this.scores.set(logits);
    this.count = this.ids.length;
    this.every = true;
  }

  /** Lists the remaining tokens. */
  private list(): void {
    if (!this.every) return;
    for (let i = 0; i < this.count; i++) this.ids[i] = i;
    this.every = false;
  }

  /**
   * The token with the highest score; ties go to the lower id. Throws CheckpointError if a score is NaN or infinite.
   */
  best(): number {
    const { scores } = this;
    let max = scores[0];
    // Each addition waits for the one before; with two sums the wait is half as long.
    let [sum, odd] = [0, 0];
    for (let i = 0; i < scores.length; i += 2) {
      const score = scores[i];
      const next = i + 1 < scores.length ? scores[i + 1] : score;
      sum += score;
      odd += next;
      if (score > max) max = score;
      if (next > max) max = next;
    }
    sum += odd;
    // −∞ marks an excluded token; the sum is NaN if any score is.
    if (Number.isNaN(sum) || !Number.isFinite(max)) {
      const got = Number.isNaN(sum) ? Number.NaN : max;
      throw new CheckpointError('logits', 'must be finite', got, 'the model has diverged');
    }
    this.max = max;
    return scores.indexOf(max);
  }

  /** Computes the weights of the remaining tokens: e^((score − the highest) / temperature). */
  weigh(temperature: number): void {
    this.list();
    const { scores, ids, weights, max } = this;
    let kept = 0;
    for (let j = 0; j < this.count; j++) {
      const id = ids[j];
      const x = (scores[id] - max) / temperature;
      if (x < FLOOR) continue;
      ids[kept] = id;
      weights[kept++] = exp(x);
    }
    this.count = kept;
  }

  /** The sum of the weights. */
  get total(): number {
    let total = 0;
    for (let j = 0; j < this.count; j++) total += this.weights[j];
    return total;
  }

  /** The highest score, as `best` found it. */
  get highest(): number {
    return this.max;
  }

  /** Keeps the k tokens with the highest scores, ties going to the lower id; weights become invalid. */
  keepTop(k: number): void {
    if (k >= this.count) return;
    this.list();
    this.weights.fill(1, 0, this.count);
    this.keepUntil(k);
  }

  /**
   * Keeps the fewest tokens with the highest scores that together have a share p of the weight; ties go to the lower
   * id.
   */
  keepShare(p: number): void {
    if (p === 1) return;
    const { total, count } = this;
    // Tokens with smaller weights, most of a vocabulary, have at most 1 − p together.
    this.keepAbove(((1 - p) * total) / count);
    this.keepUntil(p * total);
  }

  /** Keeps tokens with a weight of at least `least`; the highest is 1. */
  keepAbove(least: number): void {
    const { ids, weights } = this;
    let kept = 0;
    for (let j = 0; j < this.count; j++) {
      if (weights[j] < least) continue;
      ids[kept] = ids[j];
      weights[kept++] = weights[j];
    }
    this.count = kept;
  }

  /**
   * The token with the earliest arrival when token i arrives after an exponential time of rate weight i: each wins with
   * a probability proportional to its weight. The times are functions of (a, b) and the token's id, so that two similar
   * distributions mostly draw the same token. Of equal times the lower id wins.
   */
  draw(a: number, b: number): number {
    const { ids, weights } = this;
    let first = ids[0];
    let best = Number.POSITIVE_INFINITY;
    for (let j = 0; j < this.count; j++) {
      const u = uniform(a, b, ids[j]);
      // −ln u ≥ 1 − u, a bound by which most tokens already lose.
      if (1 - u >= best * weights[j]) continue;
      const time = -Math.log(u) / weights[j];
      if (time >= best) continue;
      best = time;
      first = ids[j];
    }
    return first;
  }

  /**
   * The result of `weigh` and `draw` together, given `best`, the token with the highest score. If nothing else reads
   * the weights, a bound on its weight is enough to rule out most tokens.
   */
  drawWeighed(best: number, temperature: number, a: number, b: number): number {
    const { scores, max } = this;
    let first = best;
    let least = -Math.log(uniform(a, b, best));
    const steps = RESOLUTION / temperature;
    for (let id = 0; id < scores.length; id++) {
      const step = (max - scores[id]) * steps;
      if (step >= BOUNDS.length) continue;
      // See `draw`: of equal times the lower id wins.
      if (1 - uniform(a, b, id) >= least * BOUNDS[step | 0]) continue;
      const x = (scores[id] - max) / temperature;
      if (x < FLOOR) continue;
      const time = -Math.log(uniform(a, b, id)) / exp(x);
      if (time > least || (time === least && id >= first)) continue;
      least = time;
      first = id;
    }
    return first;
  }

  /** The remaining tokens by falling score, ties by rising id. */
  ranked(): number[] {
    this.list();
    const { scores } = this;
    return Array.from(this.ids.subarray(0, this.count)).sort((a, b) => scores[b] - scores[a] || a - b);
  }

  /**
   * Keeps the highest scores until their weights together reach `target`, including the last one. The score where that
   * happens is found digit by digit: a histogram of the weights by the leading digit gives its bin, a histogram by the
   * next digit splits that bin.
   */
  private keepUntil(target: number): void {
    const { ids, keys, weights, bits, bins } = this;
    let { count } = this;
    for (let j = 0; j < count; j++) {
      // A float's bits, as a number that grows with the float; 0 and −0 are one.
      const b = bits[ids[j]];
      keys[j] = (b < 0 ? -0x80000000 - b : b) + 0x80000000;
    }
    let reached = 0;
    let found = 0;
    let mask = 0;
    for (const shift of DIGITS) {
      bins.fill(0);
      for (let j = 0; j < count; j++) {
        if ((keys[j] & mask) === found) bins[(keys[j] >>> shift) & LARGEST_DIGIT] += weights[j];
      }
      let digit = -1;
      for (let d = LARGEST_DIGIT; d >= 0; d--) {
        if (bins[d] === 0) continue;
        if (digit >= 0) reached += bins[digit];
        digit = d;
        // Sums in another order may round to less than the target: then it is the last bin.
        if (reached + bins[d] >= target) break;
      }
      found |= digit << shift;
      mask |= LARGEST_DIGIT << shift;
      // Lower scores are dropped, most of them after the first digit.
      const least = found >>> 0;
      let above = 0;
      for (let j = 0; j < count; j++) {
        if (keys[j] < least) continue;
        ids[above] = ids[j];
        weights[above] = weights[j];
        keys[above++] = keys[j];
      }
      count = above;
    }
    const cut = found >>> 0;
    let kept = 0;
    for (let j = 0; j < count; j++) {
      if (keys[j] === cut) {
        if (reached >= target) continue;
        reached += weights[j];
      }
      ids[kept] = ids[j];
      weights[kept++] = weights[j];
    }
    this.count = kept;
  }
}

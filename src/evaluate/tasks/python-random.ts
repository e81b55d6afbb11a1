/**
 * The random numbers of Python's `random.Random(seed)`: the Mersenne Twister MT19937 (Matsumoto & Nishimura 1998),
 * seeded by an array, with `sample` and `shuffle` as CPython 3.11 draws them. Benchmarks choose their examples by it.
 */
const N = 624;
const M = 397;

export class PythonRandom {
  private readonly state = new Uint32Array(N);
  private at = N;

  /** `seed` is a whole number from 0 to 2³² − 1. */
  constructor(seed: number) {
    const { state } = this;
    state[0] = 19_650_218;
    for (let i = 1; i < N; i++) {
      const before = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = Math.imul(1_812_433_253, before) + i;
    }
    let i = 1;
    const next = () => {
      if (++i < N) return;
      state[0] = state[N - 1];
      i = 1;
    };
    const mix = (factor: number) => Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), factor);
    for (let k = 0; k < N; k++, next()) state[i] = (state[i] ^ mix(1_664_525)) + seed;
    for (let k = 0; k < N - 1; k++, next()) state[i] = (state[i] ^ mix(1_566_083_941)) - i;
    state[0] = 0x80000000;
  }

  /** A whole number of 32 bits. */
  private next(): number {
    const { state } = this;
    if (this.at === N) {
      for (let k = 0; k < N; k++) {
        const y = (state[k] & 0x80000000) | (state[(k + 1) % N] & 0x7fffffff);
        state[k] = state[(k + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** A whole number from 0 to n − 1, for n from 1 to 2³² − 1. */
  below(n: number): number {
    const bits = 32 - Math.clz32(n);
    for (;;) {
      const drawn = this.next() >>> (32 - bits);
      if (drawn < n) return drawn;
    }
  }

  /** k of the items, none twice, in the order drawn; k is at most their number. */
  sample<Item>(items: readonly Item[], k: number): Item[] {
    const n = items.length;
    // Beyond this size, a set of the drawn items is smaller than a list of the rest.
    const most = 21 + (k > 5 ? 4 ** Math.ceil(Math.log(k * 3) / Math.log(4)) : 0);
    if (n > most) {
      const drawn = new Set<number>();
      while (drawn.size < k) drawn.add(this.below(n));
      return Array.from(drawn, (j) => items[j]);
    }
    const pool = [...items];
    return Array.from({ length: k }, (_, i) => {
      const j = this.below(n - i);
      const item = pool[j];
      pool[j] = pool[n - i - 1];
      return item;
    });
  }

  /** The items in another order. */
  shuffled<Item>(items: readonly Item[]): Item[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
    }
    return shuffled;
  }
}

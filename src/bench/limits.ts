/**
 * The machine's limits: multiply-adds that wait for nothing, and memory that is only read. A noisy machine changes from
 * second to second, so work that is quoted as a share of a limit is timed in turns with the limit.
 */
import type { Backend, Precision, Storage } from '../backend/backend.js';
import type { Clock } from '../platform.js';
import { spread, type Spread } from '../statistics.js';

/** Spreads of several measurements; a precision is absent if the machine does not have it. */
export interface MachineLimits {
  /** FLOPs a second on all threads, a multiply-add being two. */
  readonly f32: Spread;
  readonly bf16?: Spread;
  readonly f16?: Spread;
  /** Bytes read a second by all threads. */
  readonly read: Spread;
}

/** The limit of a kernel: products of a precision, or memory. */
export type Limit = Precision | 'read';

/** Milliseconds of one measurement, after as many untimed milliseconds that wake the threads. */
const SAMPLE_MS = 10;

/** Measures limits; null if the backend cannot. */
export class LimitMeter {
  private readonly samples: Record<Limit, number[]> = { f32: [], bf16: [], f16: [], read: [] };
  private readonly iterations: Partial<Record<Precision, number>> = {};
  /** The memory that is read; null until the first sample, so that an earlier peak of resident memory excludes it. */
  private memory: Storage | null = null;

  private constructor(
    private readonly backend: Backend,
    private readonly limits: NonNullable<Backend['limits']>,
    private readonly clock: Clock,
  ) {}

  static open(backend: Backend, clock: Clock): LimitMeter | null {
    return backend.limits ? new LimitMeter(backend, backend.limits, clock) : null;
  }

  /** One measurement of some 10 ms, in FLOPs or bytes a second. */
  async sample(limit: Limit): Promise<number> {
    const { backend, limits, clock } = this;
    let rate: number;
    if (limit === 'read') {
      if (!this.memory) {
        this.memory = backend.allocate('f32', limits.longRead);
        backend.fill(this.memory, 1);
        await limits.read(this.memory); // the first read waits for a GPU's pending work
      }
      const start = clock.now();
      await limits.read(this.memory);
      rate = (limits.longRead * 4 * 1000) / (clock.now() - start);
    } else {
      const run = async (iterations: number) => {
        const start = clock.now();
        const flops = await limits.multiplyAdds(limit, iterations);
        return { flops, ms: clock.now() - start };
      };
      let iterations = this.iterations[limit] ?? 1000;
      await run(iterations);
      let { flops, ms } = await run(iterations);
      while (ms < SAMPLE_MS && this.iterations[limit] === undefined) {
        iterations *= 2;
        ({ flops, ms } = await run(iterations));
      }
      this.iterations[limit] = iterations;
      rate = (flops * 1000) / ms;
    }
    this.samples[limit].push(rate);
    return rate;
  }

  /** All limits, from all samples so far and a few more. */
  async result(): Promise<MachineLimits> {
    const all = [...this.limits.precisions, 'read'] as const;
    for (let i = 0; i < 5; i++) for (const limit of all) await this.sample(limit);
    const found = all.map((limit) => [limit, spread(this.samples[limit])]);
    return Object.fromEntries(found) as unknown as MachineLimits;
  }

  dispose(): void {
    if (this.memory) this.backend.free(this.memory);
    this.memory = null;
  }
}

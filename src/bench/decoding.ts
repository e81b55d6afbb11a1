/**
 * Times decoding: the prefill of a prompt and the tokens after it, for one sequence and for several, at short and long
 * contexts, beside the limits that bind them. Models take turns.
 */
import { Decoder } from '../generate/decoder.js';
import { applicationCount } from '../models/config.js';
import { forwardFlopsPerToken, keyWidth, weightsReadPerToken } from '../models/cost.js';
import { GPT } from '../models/gpt.js';
import { hashWords } from '../random.js';
import { Runtime } from '../tensor/tensor.js';
import type { Clock } from '../platform.js';
import { median, type Spread, spread } from '../statistics.js';
import { total } from '../evaluate/evaluation.js';
import type { LimitMeter } from './limits.js';
import { settle } from './settle.js';
import type { BenchmarkModel } from './steps.js';
import { type KernelMs, kernelMs, timed, type TimedBackend } from './timed.js';

export interface DecodingResult {
  readonly name: string;
  readonly sequences: number;
  /** Tokens of each sequence before the timed tokens. */
  readonly context: number;
  readonly prefill: { readonly tokensPerSecond: number; readonly share: number | null };
  /** Milliseconds of one token for every sequence. */
  readonly stepMs: Spread;
  readonly tokensPerSecond: number;
  /** Least bytes that a step reads: weights, keys and values. */
  readonly bytes: number;
  /** Share of the memory bandwidth measured beside the steps; null if that cannot be measured. */
  readonly share: number | null;
  /** Share of the time spent outside of kernels; null if calls do not show the kernels' time. */
  readonly overhead: number | null;
  readonly kernelMs: KernelMs;
  /** Mean milliseconds of a step, of which `kernelMs` are parts. */
  readonly meanMs: number;
}

const SEQUENCES = [1, 8];
const CONTEXTS = [128, 1024];
/** Tokens of each sequence that are timed in a run, between two measurements of the limit. */
const RUN = 8;
/** Least milliseconds of untimed runs. */
const WARM_MS = 500;

/** Times `runs` runs of decoding for each model, number of sequences and context that fits the block size. */
export async function benchmarkDecoding(
  models: readonly BenchmarkModel[],
  runs: number,
  on: TimedBackend,
  meter: LimitMeter | null,
  clock: Clock,
  onStep: (done: number, of: number) => void,
): Promise<DecodingResult[]> {
  const entrants = models.map((model) => new Entrant(model, on, meter, clock));
  const cases = SEQUENCES.flatMap((sequences) => CONTEXTS.map((context) => ({ sequences, context })));
  const results: DecodingResult[] = [];
  let done = 0;
  for (const entrant of entrants) await entrant.warmUp();
  for (const { sequences, context } of cases) {
    const timings = entrants.map(() => new Timings());
    for (let run = 0; run <= runs; run++) {
      for (const [i, entrant] of entrants.entries()) {
        await entrant.run(sequences, context, run === 0 ? new Timings() : timings[i]); // the first packs and allocates
        onStep(++done, cases.length * entrants.length * (runs + 1));
        await clock.yield();
      }
    }
    for (const [i, entrant] of entrants.entries())
      results.push(entrant.result(sequences, context, timings[i]));
  }
  for (const entrant of entrants) entrant.dispose();
  return results;
}

/** The measurements of one case. */
class Timings {
  readonly prefillMs: number[] = [];
  readonly products: number[] = [];
  readonly stepMs: number[] = [];
  readonly reads: number[] = [];
  readonly kernels = new Map<string, number>();
}

class Entrant {
  private readonly kernels = new Map<string, number>();
  private readonly model: GPT;
  private readonly decoder: Decoder;

  constructor(
    private readonly entry: BenchmarkModel,
    private readonly on: TimedBackend,
    private readonly meter: LimitMeter | null,
    private readonly clock: Clock,
  ) {
    const runtime = new Runtime(timed(on.backend, clock, this.kernels));
    this.model = new GPT(entry.config.model, runtime, { train: false });
    this.model.parameters.initialise(1);
    this.decoder = new Decoder(this.model);
  }

  /** Tokens before the timed tokens: the context, or as many as the block size allows. */
  private promptLength(context: number): number {
    return Math.min(context, this.entry.config.model.blockSize - RUN);
  }

  /** Runs untimed runs until their times settle. */
  async warmUp(): Promise<void> {
    await settle(this.clock, WARM_MS, async () => {
      const timings = new Timings();
      await this.run(1, CONTEXTS[0], timings);
      return median(timings.stepMs);
    });
  }

  async run(count: number, context: number, to: Timings): Promise<void> {
    const { decoder, clock, meter, entry } = this;
    const { backend } = this.on;
    const { vocabSize } = entry.config.model;
    const token = (s: number, t: number) => hashWords(s, t) % vocabSize;
    const length = this.promptLength(context);
    const sequences = Array.from({ length: count }, () => decoder.open());
    try {
      const before = await meter?.sample(backend.precision);
      const start = clock.now();
      for (const [s, sequence] of sequences.entries()) {
        await decoder.extend([{ sequence, tokens: Int32Array.from({ length }, (_, t) => token(s, t)) }]);
      }
      to.prefillMs.push(clock.now() - start);
      if (before) to.products.push(before);
      const bandwidth = await meter?.sample('read');
      this.kernels.clear();
      for (let i = 0; i < RUN; i++) {
        const at = clock.now();
        await decoder.extend(sequences.map((sequence, s) => ({ sequence, tokens: [token(s, length + i)] })));
        to.stepMs.push(clock.now() - at);
      }
      for (const [name, ms] of this.kernels) to.kernels.set(name, (to.kernels.get(name) ?? 0) + ms);
      const after = await meter?.sample('read');
      if (bandwidth && after) to.reads.push((bandwidth + after) / 2);
    } finally {
      for (const sequence of sequences) sequence.dispose();
    }
  }

  result(sequences: number, context: number, timings: Timings): DecodingResult {
    const { config } = this.entry;
    const length = this.promptLength(context);
    const step = median(timings.stepMs);
    const bytes = this.bytes(sequences, length + RUN / 2);
    const prefillTokens = (sequences * length * 1000) / median(timings.prefillMs);
    const flops = prefillTokens * (forwardFlopsPerToken(config.model, length) - this.headFlops(length));
    const steps = timings.stepMs.length;
    const inKernels = kernelMs(this.on.backend, timings.kernels, steps);
    const mean = timings.stepMs.reduce((sum, ms) => sum + ms, 0) / steps;
    return {
      name: this.entry.name,
      sequences,
      context: length,
      prefill: {
        tokensPerSecond: prefillTokens,
        share: timings.products.length > 0 ? flops / median(timings.products) : null,
      },
      stepMs: spread(timings.stepMs),
      tokensPerSecond: (sequences * 1000) / step,
      bytes,
      share: timings.reads.length > 0 ? (bytes * 1000) / step / median(timings.reads) : null,
      overhead: inKernels && 1 - total(Object.values(inKernels)) / mean,
      kernelMs: inKernels,
      meanMs: mean,
    };
  }

  /** FLOPs a token that a prefill saves, since the head reads the last position only. */
  private headFlops(length: number): number {
    const { vocabSize, nEmbd } = this.entry.config.model;
    return 2 * vocabSize * nEmbd * (1 - 1 / length);
  }

  /** Bytes of a step: each application reads its layer's matrices and all keys and values; the head is read once. */
  private bytes(sequences: number, context: number): number {
    const { model } = this.entry.config;
    const { backend, weights } = this.on;
    const width = backend.precision === 'f32' ? 4 : 2;
    // A byte for each weight, and a float for every 64 weights.
    const weightWidth = weights === 'int8' ? 1 + 4 / 64 : width;
    const matrices = weightsReadPerToken(model);
    const keys = applicationCount(model) * 2 * keyWidth(model);
    return matrices * weightWidth + sequences * context * keys * width;
  }

  dispose(): void {
    this.decoder.dispose();
    this.model.dispose();
    this.model.runtime.pool.trim();
  }
}

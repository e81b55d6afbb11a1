/** The number of loops of an update, scheduled or sampled; a pure function of the configuration and the step. */
import { hashWords, uniform } from '../random.js';

/** σ of the log-normal rate (Geiping et al. 2025, arXiv 2502.05171). */
const SIGMA = 0.5;
/** Counts are cut off at this multiple of the mean, to bound the memory of a step. */
const MOST = 3;

/** Fields of TrainConfig. */
interface Schedule {
  readonly loopSchedule: 'constant' | 'switch' | 'grow';
  readonly loopStart: number;
  readonly maxSteps: number;
}
type Sampling = 'fixed' | 'uniform' | 'poisson';

/**
 * Loops of update `step`, counted from 0, of maxSteps = S. From update s₀ = round(loopStart·S) on they are nLoop = N
 * (`switch`), or min(N, 2 + ⌊(step − s₀)(N − 1)/(S − s₀)⌋), each count from 2 to N for equally many updates (`grow`).
 * Before s₀, and always if N is 1, there is one loop. Always N if the schedule is `constant`.
 */
export function scheduledLoops(
  step: number,
  { loopSchedule, loopStart, maxSteps }: Schedule,
  nLoop: number,
): number {
  if (loopSchedule === 'constant') return nLoop;
  const start = Math.round(loopStart * maxSteps);
  if (step < start) return 1;
  if (loopSchedule === 'switch') return nLoop;
  return Math.min(nLoop, 2 + Math.floor(((step - start) * (nLoop - 1)) / (maxSteps - start)));
}

/**
 * Loops of an evaluation after `updates` updates: those of the last update, and therefore nLoop at the end; absent if
 * the schedule is constant.
 */
export function evaluatedLoops(
  updates: number,
  schedule: Schedule,
  nLoop: number,
): { readonly loops?: number } {
  if (schedule.loopSchedule === 'constant') return {};
  return { loops: scheduledLoops(Math.max(0, updates - 1), schedule, nLoop) };
}

/** A training that runs all loops from its first update on, for timing steps. */
export function withAllLoops<T extends Schedule>(train: T): T {
  return { ...train, loopSchedule: 'constant', loopStart: 0 };
}

/**
 * The updates from which on at least 2, 3 … of nLoop loops run, rising; skipped counts repeat the same update.
 */
function* starts({ loopSchedule, loopStart, maxSteps }: Schedule, nLoop: number): Generator<number> {
  const start = Math.round(loopStart * maxSteps);
  const grown = loopSchedule === 'grow' ? maxSteps - start : 0;
  for (let i = 0; i < nLoop - 1; i++) yield start + Math.ceil((i * grown) / (nLoop - 1));
}

/** The updates that run more loops than those before them, rising. */
export function loopChanges(schedule: Schedule, nLoop: number): number[] {
  const changes = new Set(starts(schedule, nLoop));
  return [...changes].filter((step) => step > 0 && step < schedule.maxSteps);
}

/** Mean loops of the first `updates` updates, by default all, without the bound of `sampleLoops`. */
export function meanLoops(
  train: Schedule & { readonly loopSampling: Sampling },
  nLoop: number,
  updates = train.maxSteps,
): number {
  if (train.loopSampling === 'uniform') return (nLoop + 1) / 2;
  if (train.loopSchedule === 'constant') return nLoop;
  const of = Math.max(1, updates);
  let sum = of;
  // Each count from 2 on adds a loop to the updates from its first one on.
  for (const start of starts(train, nLoop)) sum += Math.max(0, of - start);
  return sum / of;
}

/** The largest count that `sampleLoops` returns. */
export function mostLoops(sampling: Sampling, nLoop: number): number {
  return sampling === 'poisson' && nLoop > 1 ? MOST * nLoop : nLoop;
}

/**
 * The loop count of a micro-step for a model with nLoop loops: always nLoop (`fixed`), uniform from 1 to nLoop
 * (`uniform`), or 1 + Poisson(λ) with λ log-normal such that the mean is nLoop (`poisson`), at most 3·nLoop.
 */
export function sampleLoops(
  sampling: Sampling,
  nLoop: number,
  key: { readonly seed: number; readonly step: number; readonly microStep: number },
): number {
  if (sampling === 'fixed' || nLoop === 1) return nLoop;
  const stream = hashWords(key.seed, key.step, key.microStep, 0x4c6f6f70);
  const draw = (i: number) => uniform(stream, 0, i);
  if (sampling === 'uniform') return 1 + Math.floor(draw(0) * nLoop);
  const normal = Math.sqrt(-2 * Math.log(draw(0))) * Math.cos(2 * Math.PI * draw(1));
  const rate = (nLoop - 1) * Math.exp(SIGMA * normal - SIGMA ** 2 / 2);
  // The number of events of a Poisson process until its exponential waiting times exceed the rate (Knuth 1969).
  let count = 0;
  for (let time = -Math.log(draw(2)); time < rate && count < MOST * nLoop; count++) {
    time -= Math.log(draw(3 + count));
  }
  return Math.min(1 + count, MOST * nLoop);
}

/** How many loops an update runs, where the count is sampled; a pure function of the seed and the step. */
import { hashWords, uniform } from '../random.js';
import type { TrainConfig } from './config.js';

/** σ of the log-normal rate (Geiping et al. 2025, arXiv 2502.05171). */
const SIGMA = 0.5;
/** Counts are cut off at this multiple of the mean, to bound the memory of a step. */
const MOST = 3;

/** The mean of `sampleLoops`, but for the cut. */
export function meanLoops(sampling: TrainConfig['loopSampling'], nLoop: number): number {
  return sampling === 'uniform' ? (nLoop + 1) / 2 : nLoop;
}

/** The largest count that `sampleLoops` gives. */
export function mostLoops(sampling: TrainConfig['loopSampling'], nLoop: number): number {
  return sampling === 'poisson' && nLoop > 1 ? MOST * nLoop : nLoop;
}

/**
 * The loop count of a micro-step for a model with nLoop loops: always nLoop (`fixed`), 1 to nLoop, each as likely
 * (`uniform`), or 1 + Poisson(λ) with λ log-normal such that the mean is nLoop (`poisson`), at most 3·nLoop.
 */
export function sampleLoops(
  sampling: TrainConfig['loopSampling'],
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

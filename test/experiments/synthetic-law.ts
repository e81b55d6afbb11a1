/** Losses of a law that is known, with noise like that of seeds: how often the fit's interval holds the true φ. */
import { fitLaw } from '../../src/experiments/law/fit.js';
import { type Law, lawLoss, type LawPoint } from '../../src/experiments/law/law.js';
import { normal } from '../../src/random.js';
import { mean } from '../../src/statistics.js';

/** The law with A for blocks of 50,000 parameters. */
const law = (E: number, ofBlock: number, alpha: number): Omit<Law, 'phi'> => ({
  E,
  A: ofBlock * 50_000 ** alpha,
  alpha,
  data: null,
});

/**
 * Near the losses of models without loops: GPT-2’s blocks of docs/reproduction.md, where depth soon pays little, and
 * modern ones of 1, 2, 4 and 8 layers after 2 million bytes (1.52, 1.43, 1.33 and about 1.29).
 */
export const LAWS = {
  'GPT-2': law(1.27, 0.2, 1),
  modern: law(0.9, 0.62, 0.22),
};

export interface Coverage {
  /** Draws whose interval holds φ. */
  readonly inside: number;
  /** Of the intervals half the width, mean and largest; and how far the estimates lie from φ, mean. */
  readonly summary: readonly [halfWidth: number, largest: number, error: number];
  readonly undetermined: number;
}

export function coverage(
  points: readonly LawPoint[],
  truth: Law,
  seeds: number,
  noise: number,
  draws: number,
  resamples = 200,
): Coverage {
  const fits = Array.from({ length: draws }, (_, d) => {
    const losses = normal(d, 'noise', points.length * seeds, noise);
    const models = points.map((point, i) => {
      const own = Array.from(losses.subarray(i * seeds, (i + 1) * seeds));
      return { ...point, losses: own.map((error) => lawLoss(truth, point) + error) };
    });
    return fitLaw(models, resamples);
  });
  const halfWidths = fits.map(({ interval: { low, high } }) => (high - low) / 2);
  return {
    inside: fits.filter(({ interval: { low, high } }) => low <= truth.phi && truth.phi <= high).length,
    summary: [
      mean(halfWidths),
      Math.max(...halfWidths),
      mean(fits.map(({ law: { phi } }) => phi - truth.phi)),
    ],
    undetermined: fits.filter(({ undetermined }) => undetermined !== null).length,
  };
}

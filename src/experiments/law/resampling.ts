/**
 * Log losses as they might have been: what a law foretells, with the residuals of a fit drawn anew, first those
 * of whole models and then those of seeds. Knows no law.
 */
import { hashWords, uniform } from '../../random.js';
import { mean } from '../../statistics.js';
import type { LogLosses } from './law-problem.js';

/** By so many more models than parameters their residuals have a spread to draw from. */
export const MORE_MODELS = 3;

/** The standard deviation of Student's t. */
const student = (freedom: number) => Math.sqrt(freedom / (freedom - 2));

/** Names the draws. */
const STREAM = 0x1a3;

export class Resampling {
  /** Of each model, in what the seeds do not explain. */
  private readonly ofModels: readonly number[];
  /** Of each seed, around its model's mean. */
  private readonly ofSeeds: readonly number[];

  /**
   * `residuals` of a fit of `fitted` parameters, which is fewer than the models by `MORE_MODELS` at least. Both parts
   * are widened to the spread that they are a sample of: residuals of models by the fit's degrees of freedom, those of
   * seeds by the means that they are taken from, and either as Student's t is wider than the normal distribution. The
   * means of models spread by the seeds alone already, so models keep only the share beyond that, which is none where
   * the law holds.
   */
  constructor(
    private readonly foretold: Float64Array,
    private readonly residuals: LogLosses,
    fitted: number,
  ) {
    const means = residuals.map(mean);
    const around = residuals.flatMap((own, i) => {
      const widened = Math.sqrt(own.length / (own.length - 1));
      return own.length < 2 ? [] : own.map((residual) => (residual - means[i]) * widened);
    });
    const ofSeeds = residuals.reduce((sum, own) => sum + own.length - 1, 0);
    const ofModels = residuals.length - fitted;
    // Too few seeds tell nothing of their spread, which is then in that of models.
    this.ofSeeds = ofSeeds < MORE_MODELS ? [] : around.map((residual) => student(ofSeeds) * residual);
    const variance = (values: readonly number[]) =>
      values.length === 0 ? 0 : mean(values.map((x) => x * x));
    const widened = residuals.length / ofModels;
    const found = widened * variance(means);
    const known = this.ofSeeds.length > 0 ? variance(around) : 0;
    const bySeeds = known * mean(residuals.map((own) => 1 / own.length));
    const share = found > bySeeds ? Math.sqrt(widened * (1 - bySeeds / found)) : 0;
    this.ofModels = means.map((residual) => student(ofModels) * share * residual);
  }

  /** The log losses of draw `d`: residuals with either sign. */
  draw(d: number): number[][] {
    const key = hashWords(STREAM, d);
    let count = 0;
    const pick = (values: readonly number[]) => {
      if (values.length === 0) return 0;
      const at = 2 * values.length * uniform(STREAM, key, count++);
      return at < values.length ? values[Math.floor(at)] : -values[Math.floor(at) - values.length];
    };
    return this.residuals.map((own, i) => {
      const model = this.foretold[i] + pick(this.ofModels);
      return own.map(() => model + pick(this.ofSeeds));
    });
  }
}

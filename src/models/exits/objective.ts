/** What a model with exits is trained on, beyond the loss at its end; part of a run's training configuration. */
import { type DropoutKey, hashWords } from '../../random.js';

export interface Objective {
  /**
   * Which exits' losses are learned: the last one; all, weighted equally (`uniform`) or by their depth (`linear`),
   * which Elbayad et al. 2019 call aligned training; or a random exit for each token, at which it stops (`mixed`).
   */
  readonly exitLoss: 'last' | 'uniform' | 'linear' | 'mixed';
  /** τ: nats that a step of ACT costs. */
  readonly ponderCost: number;
  /** What the oracle of a learned halting rule minimises: the loss, or the number of wrong tokens. */
  readonly oracle: 'likelihood' | 'correctness';
  /** λ: what one more exit costs the oracle, in nats or in wrong tokens. */
  readonly oracleLambda: number;
  /** σ: width of the smoothing over neighbouring tokens; 0 for none. */
  readonly oracleSigma: number;
}

/** Whether the losses at all exits are learned, so that no row may stop before the last. */
export function learnsEveryExit({ exitLoss }: Objective): boolean {
  return exitLoss === 'uniform' || exitLoss === 'linear';
}

/** Weight of each of N exits' losses; they sum to 1. */
export function exitWeights(exitLoss: Objective['exitLoss'], N: number): number[] {
  if (exitLoss === 'linear') return Array.from({ length: N }, (_, n) => (n + 1) / ((N * (N + 1)) / 2));
  if (exitLoss === 'uniform') return new Array<number>(N).fill(1 / N);
  return Array.from({ length: N }, (_, n) => (n === N - 1 ? 1 : 0));
}

/** An exit for each of R rows, uniform over N exits; a pure function of the key. */
export function drawExits({ seed, step, microStep }: DropoutKey, R: number, N: number): Int32Array {
  const word = hashWords(seed, step, microStep, 0x45786974);
  return Int32Array.from({ length: R }, (_, r) => hashWords(word, r) % N);
}

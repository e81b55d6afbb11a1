/** The learning rate's schedule: linear warm-up, then cosine decay to `minLr` at `maxSteps`, as in nanoGPT. */
import type { TrainConfig } from './config.js';

/** Learning rate of update `step`, counted from 0. */
export function learningRate(step: number, config: TrainConfig): number {
  const { lr, minLr, warmupSteps, maxSteps } = config;
  if (step < warmupSteps) return (lr * (step + 1)) / (warmupSteps + 1);
  if (step >= maxSteps) return minLr;
  const progress = (step - warmupSteps) / (maxSteps - warmupSteps);
  return minLr + 0.5 * (1 + Math.cos(Math.PI * progress)) * (lr - minLr);
}

/** How a training run looks in the terminal. */
import type { TrainEvent } from '../train/events.js';
import { grouped, type Progress } from './output.js';

/** Shows one event of a run of `maxSteps` steps that was continued from step `from`. */
export function showTraining(progress: Progress, event: TrainEvent, maxSteps: number, from: number): void {
  switch (event.kind) {
    case 'step': {
      const details = `step ${event.step}/${maxSteps}  loss ${event.loss.toFixed(3)}  ${grouped(event.tokensPerSecond)} tokens/s`;
      const depth = event.meanSteps === undefined ? '' : `  ${event.meanSteps.toFixed(2)} steps a token`;
      progress.update(event.step / maxSteps, details + depth, from / maxSteps);
      break;
    }
    case 'eval': {
      const losses = `train ${event.trainLoss.toFixed(4)}  val ${event.valLoss.toFixed(4)}`;
      progress.line(`step ${String(event.step).padStart(6)}  ${losses}${event.best ? '  (best)' : ''}`);
      break;
    }
    case 'stopped':
      progress.line(
        event.step === 0
          ? 'stopped before the first step'
          : `stopped at step ${event.step}; checkpoint saved`,
      );
      break;
    case 'checkpoint':
    case 'done':
      break;
  }
}

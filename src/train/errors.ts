/** Errors that end a training whose configuration and data are valid. */
import { LoopnnError } from '../errors.js';

/** Training can not continue: a loss or gradient is not finite, or processes have diverged. */
export class TrainingError extends LoopnnError {}

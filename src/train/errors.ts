/** Why a training ends that its configuration and its data let begin. */
import { LoopnnError } from '../errors.js';

/** Training can not go on: a loss or gradient is not finite, or processes have come apart. */
export class TrainingError extends LoopnnError {}

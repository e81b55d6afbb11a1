/** Trains a run on a page or in a worker, for `import { trainRun } from 'loopnn/browser'`. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import type { TrainEvent } from '../train/events.js';
import { Training, type TrainingOptions } from './training.js';

export interface TrainOptions extends TrainingOptions {
  /** Receives every update, evaluation and checkpoint. */
  readonly onEvent?: (event: TrainEvent) => void;
}

const TRAIN_OPTIONS: OptionNames<TrainOptions> = {
  backend: true,
  threads: true,
  onWarning: true,
  store: true,
  text: true,
  tokenizer: true,
  model: true,
  train: true,
  resume: true,
  overwrite: true,
  signal: true,
  onEvent: true,
};

/** The result of a training. */
export interface TrainSummary {
  readonly step: number;
  /** Whether all steps are done; if not, `resume` continues the run. */
  readonly finished: boolean;
  /** Lowest loss on the held-out text, nats per token; null without an evaluation. */
  readonly bestValLoss: number | null;
}

/**
 * Trains a model on a text, or resumes a run. The same options give the same bits, with or without a stop in between.
 * In a worker there are threads, and the page stays responsive.
 *
 * Throws ConfigError for a wrong field, and if the store has a run and neither `resume` nor `overwrite` is set;
 * DataError for a text that is too short; LockError if another tab trains there; FileError if the browser's storage is
 * full.
 *
 * @example
 * const store = new OpfsStore('runs/mine');
 * const model = { depth: 'loop', nLayer: 1, nLoop: 3, nEmbd: 64, nHead: 4, blockSize: 64 };
 * await trainRun({ store, text, model, train: { maxSteps: 300 }, onEvent: (event) => postMessage(event) });
 * const trained = await loadModel(store);
 */
export async function trainRun(options: TrainOptions): Promise<TrainSummary> {
  requireOptionNames('trainRun', options, TRAIN_OPTIONS);
  const { signal, onEvent = () => {} } = options;
  await using training = await Training.open(options);
  const { trainer, config } = training;
  for await (const event of trainer.run(signal)) onEvent(event);
  const { step, bestValLoss } = trainer.progress;
  return { step, finished: step >= config.train.maxSteps, bestValLoss };
}

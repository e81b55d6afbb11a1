/** A run's model in memory, with notices on its backend. */
import type { BackendName, Weights } from '../node/backend.js';
import { type LoadOptions, loadRun } from '../node/run.js';
import type { ModelConfig } from '../models/config.js';
import type { LoadedModel, Run } from '../train/run.js';
import type { TrainConfig } from '../train/config.js';
import { noticePrecision } from './runtime.js';

/** How a run is opened. */
export interface OpenOptions {
  /** The engine; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: BackendName | undefined;
  /**
   * Operands of matrix products; `auto`, the default, is the precision of the run's training, if the backend has it.
   */
  readonly precision?: TrainConfig['precision'] | undefined;
  readonly weights?: Weights | undefined;
  /** How loops share keys and values, instead of the run's setting. */
  readonly kvSharing?: ModelConfig['kvSharing'] | undefined;
  readonly kvLoops?: number | undefined;
}

/** The options that are given. */
export function openOptions(options: OpenOptions): LoadOptions {
  const { backend, precision = 'auto', weights, kvSharing, kvLoops } = options;
  return {
    precision,
    ...(backend === undefined ? {} : { backend }),
    ...(weights === undefined ? {} : { weights }),
    ...(kvSharing === undefined ? {} : { kvSharing }),
    ...(kvLoops === undefined ? {} : { kvLoops }),
  };
}

/** A run's best weights; the caller disposes of the model. Throws CheckpointError or ConfigError. */
export async function openModel(
  run: Run,
  options: OpenOptions,
  onNotice: (line: string) => void,
): Promise<LoadedModel> {
  const loaded = await loadRun(run, { ...openOptions(options), onWarning: onNotice });
  noticePrecision(loaded.model.runtime.backend, onNotice);
  return loaded;
}

/** A notice that loops beyond the trained count reuse the last gate. */
export function noticeLoops(
  { depth, nLoop }: ModelConfig,
  loops: number | undefined,
  onNotice: (line: string) => void,
): void {
  if (depth !== 'loop' || nLoop === 1 || loops === undefined || loops <= nLoop) return;
  onNotice(`loops ${loops}: beyond the ${nLoop} trained ones, which reuses the last gate`);
}

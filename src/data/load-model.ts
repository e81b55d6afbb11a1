/** Loads a trained run from its folder, for `import { loadModel } from 'loopnn'`. */
import { setThreads } from '../backend/native/addon.js';
import { ConfigError } from '../errors.js';
import { Model } from '../generate/model.js';
import { readTextIds } from '../train/conventions.js';
import { readRunTokenizer } from '../train/run.js';
import { NodeStore } from './node-store.js';
import { type OpenOptions, openRun } from './open-run.js';

export interface LoadOptions extends OpenOptions {
  /** Threads of the native backend, which every model of the process shares; LOOPNN_NUM_THREADS, or else all cores, by default. */
  readonly threads?: number;
}

/**
 * A run's best weights, ready to generate; several models may be loaded at once. The caller disposes of the model.
 *
 * Throws CheckpointError where the folder holds no run, DataError where the run has no tokenizer or its generation_config.json
 * names ids that the model does not have, and ConfigError for wrong options.
 */
export async function loadModel(folder: string, { threads, ...options }: LoadOptions = {}): Promise<Model> {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new ConfigError('threads', 'must be a whole number of at least 1', threads);
  }
  const store = new NodeStore(folder);
  const { model } = await openRun(folder, options);
  try {
    if (threads !== undefined && model.runtime.backend.name === 'native') setThreads(threads);
    const tokenizer = await readRunTokenizer(store, folder);
    return new Model(model, tokenizer, await readTextIds(store, folder, model.config.vocabSize));
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Loads a trained run from its folder, for `import { loadModel } from 'loopnn'`. */
import { setThreads } from '../backend/addon.js';
import { createBackend, type BackendOptions } from '../backend/create.js';
import { Model } from '../generate/model.js';
import { Runtime } from '../tensor/tensor.js';
import { loadRun, readRunConfig, readRunTokenizer } from '../train/run.js';
import { NodeStore } from './node-store.js';

export interface LoadOptions extends Omit<BackendOptions, 'name'> {
  /** `auto`, `native` or `reference`; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: string;
  /** Threads of the native backend, which every model of the process shares; LOOPNN_NUM_THREADS, or else all cores, by default. */
  readonly threads?: number;
}

/**
 * A run's best weights, ready to generate; several models may be loaded at once. `precision` is by default what the run was
 * trained with. The caller disposes of the model.
 *
 * Throws CheckpointError where the folder holds no run, DataError where the run has no tokenizer, and ConfigError for wrong
 * options.
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<Model> {
  const { backend: name, threads, precision = 'auto', ...rest } = options;
  const store = new NodeStore(folder);
  const { train } = await readRunConfig(store, folder);
  const tokenizer = await readRunTokenizer(store, folder);
  const backend = createBackend({
    ...rest,
    ...(name === undefined ? {} : { name }),
    precision: precision === 'auto' ? train.precision : precision,
  });
  if (threads !== undefined && backend.name === 'native') setThreads(threads);
  const { model } = await loadRun(store, folder, new Runtime(backend));
  return new Model(model, tokenizer);
}

/** Opens a trained run in a folder: its backend, and its best weights. */
import { createBackend, type BackendOptions } from '../node/backend.js';
import { Runtime } from '../tensor/tensor.js';
import { type KeyValueOptions, type LoadedModel, loadRun, readRunConfig } from '../train/run.js';
import { NodeStore } from './node-store.js';

export interface OpenOptions extends Omit<BackendOptions, 'name'>, KeyValueOptions {
  /** `auto`, `native` or `reference`; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: string;
}

/**
 * A run's model; `precision` is by default what it was trained with. Throws CheckpointError where the folder holds no run, and
 * ConfigError for wrong options.
 */
export async function openRun(
  folder: string,
  { backend: name, precision = 'auto', weights, onWarning, ...keys }: OpenOptions = {},
): Promise<LoadedModel> {
  const store = new NodeStore(folder);
  const { train, model } = await readRunConfig(store, folder);
  const backend = await createBackend({
    precision: precision === 'auto' ? train.precision : precision,
    ...(name === undefined ? {} : { name }),
    ...(weights === undefined ? {} : { weights }),
    ...(onWarning === undefined ? {} : { onWarning }),
  });
  const loaded = await loadRun(store, folder, new Runtime(backend), keys);
  const { kvSharing, kvLoops } = loaded.config.model;
  if (kvSharing !== model.kvSharing || kvLoops !== model.kvLoops) {
    onWarning?.(
      `${folder} was trained with kvSharing ${model.kvSharing}: with ${kvSharing} it is another model`,
    );
  }
  return loaded;
}

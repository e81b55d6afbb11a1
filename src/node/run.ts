/** Runs in folders, and their models on a backend of this machine. */
import { Runtime } from '../tensor/tensor.js';
import { type KeyValueOptions, type LoadedModel, Run } from '../train/run.js';
import { type BackendOptions, createBackend } from './backend.js';
import { NodeStore } from './store.js';

export interface LoadOptions extends Omit<BackendOptions, 'name'>, KeyValueOptions {
  /** `auto`, `native`, `wasm` or `reference`; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly backend?: string;
}

/** The run in a folder. Throws CheckpointError where it holds none. */
export function openRun(folder: string): Promise<Run> {
  return Run.open(new NodeStore(folder), folder);
}

/** A run's best weights on a backend; `precision` is by default what it was trained with. Throws ConfigError for wrong options. */
export async function loadRun(
  run: Run,
  { backend: name, precision = 'auto', weights, onWarning, ...keys }: LoadOptions = {},
): Promise<LoadedModel> {
  const { train, model } = run.config;
  const backend = await createBackend({
    precision: precision === 'auto' ? train.precision : precision,
    ...(name === undefined ? {} : { name }),
    ...(weights === undefined ? {} : { weights }),
    ...(onWarning === undefined ? {} : { onWarning }),
  });
  const loaded = await run.load(new Runtime(backend), keys);
  const { kvSharing, kvLoops } = loaded.config.model;
  if (kvSharing !== model.kvSharing || kvLoops !== model.kvLoops) {
    onWarning?.(
      `${run.name} was trained with kvSharing ${model.kvSharing}: with ${kvSharing} it is another model`,
    );
  }
  return loaded;
}

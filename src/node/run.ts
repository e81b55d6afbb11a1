/** Runs in folders, and their models on a backend of this machine. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { Runtime } from '../tensor/tensor.js';
import { type KeyValueOptions, type LoadedModel, Run } from '../train/run.js';
import { type BackendOptions, createBackend, hasPrecision, usualBackend } from './backend.js';
import { NodeStore } from './store.js';

export interface LoadOptions extends Omit<BackendOptions, 'name'>, KeyValueOptions {
  /** As `name` in createBackend. */
  readonly backend?: string;
}

const LOAD_OPTIONS: OptionNames<LoadOptions> = {
  precision: true,
  weights: true,
  onWarning: true,
  kvSharing: true,
  kvLoops: true,
  backend: true,
};

/** The run in a folder. Throws CheckpointError if there is none. */
export function openRun(folder: string): Promise<Run> {
  return Run.open(new NodeStore(folder), folder);
}

/**
 * A run's best weights on a backend; `precision` is by default that of its training, or f32, with a warning, on a
 * backend that lacks it. Throws ConfigError for wrong options.
 */
export async function loadRun(run: Run, options: LoadOptions = {}): Promise<LoadedModel> {
  requireOptionNames('loadRun', options, LOAD_OPTIONS);
  const { backend: name = usualBackend(), precision = 'auto', weights, onWarning, ...keys } = options;
  const { train, model } = run.config;
  const trained = train.precision;
  const lacks = precision === 'auto' && trained !== 'auto' && !hasPrecision(name, trained);
  if (lacks) onWarning?.(`${run.name} was trained in ${trained}, which is not to be had here: in f32`);
  const backend = await createBackend({
    name,
    precision: precision !== 'auto' ? precision : lacks ? 'f32' : trained,
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

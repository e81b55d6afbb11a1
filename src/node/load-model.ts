/** Loads a trained run from its folder, for `import { loadModel } from 'loopnn'`. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { setThreads } from '../backend/native/addon.js';
import { ConfigError } from '../errors.js';
import { Model } from '../generate/model.js';
import { type LoadOptions as RunLoadOptions, loadRun, openRun } from './run.js';
import { nodeClock } from './store.js';

export interface LoadOptions extends RunLoadOptions {
  /**
   * Threads of the native or the wasm backend, which every model of the process shares; LOOPNN_NUM_THREADS, or else all
   * cores, by default.
   */
  readonly threads?: number;
}

const LOAD_OPTIONS: OptionNames<LoadOptions> = {
  precision: true,
  weights: true,
  onWarning: true,
  kvSharing: true,
  kvLoops: true,
  backend: true,
  threads: true,
};

/**
 * A run's best weights, ready to generate; several models may be loaded at once. The caller disposes of the model.
 *
 * Throws CheckpointError if the folder has no run, DataError if the run has no tokenizer or its generation_config.json
 * names ids that the model does not have, and ConfigError for wrong options.
 *
 * @example
 * const model = await loadModel('runs/mine');
 * for await (const { text } of model.generate('Once', { maxTokens: 50 })) process.stdout.write(text);
 * await model.dispose();
 */
export async function loadModel(folder: string, loading: LoadOptions = {}): Promise<Model> {
  requireOptionNames('loadModel', loading, LOAD_OPTIONS);
  const { threads, ...options } = loading;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1)) {
    throw new ConfigError('threads', 'must be a whole number of at least 1', threads);
  }
  const run = await openRun(folder);
  const { model } = await loadRun(run, options);
  try {
    const { name } = model.runtime.backend;
    if (threads !== undefined && name === 'native') setThreads(threads);
    if (threads !== undefined && name === 'wasm') {
      const { wasmModule } = await import('./wasm.js');
      await (await wasmModule()).setThreads(threads);
    }
    return new Model(model, await run.tokenizer(), nodeClock, await run.textIds());
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** Loads a trained run on a page or in a worker, for `import { loadModel } from 'loopnn/browser'`. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { ConfigError } from '../errors.js';
import { Model } from '../generate/model.js';
import type { TextIds } from '../generate/text-ids.js';
import type { GPT } from '../models/gpt.js';
import type { Store } from '../platform.js';
import { Runtime } from '../tensor/tensor.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { type KeyValueOptions, Run } from '../train/run.js';
import { type BackendOptions, createBackend } from './backend.js';
import { webClock } from './clock.js';
import type { DirectoryHandle } from './file-system.js';
import type { PageFile } from './files-store.js';
import { OpfsStore } from './opfs-store.js';

/**
 * Where a run is: the URL of a folder that `loopnn export --format browser` wrote; a store, such as the OpfsStore
 * that it was trained in; a folder that the page's user picked; or the files of one.
 */
export type ModelSource = string | URL | Store | DirectoryHandle | Iterable<PageFile>;

export interface LoadOptions extends Omit<BackendOptions, 'channels'>, KeyValueOptions {
  /** Keep a copy of the run at the URL in the browser's own file system: the next visit needs no network. */
  readonly cache?: boolean;
}

const LOAD_OPTIONS: OptionNames<LoadOptions> = {
  backend: true,
  precision: true,
  weights: true,
  threads: true,
  onWarning: true,
  kvSharing: true,
  kvLoops: true,
  cache: true,
};

/**
 * A run's best weights, ready to generate; several models may be loaded at once. The caller disposes of the model. In a
 * worker there are threads, and the page stays responsive.
 *
 * Throws CheckpointError if there is no run or its files are damaged, DataError if it has no tokenizer, and ConfigError
 * for wrong options.
 *
 * @example
 * const model = await loadModel('/models/mine', { cache: true });
 * for await (const { text } of model.generate('Once', { maxTokens: 50 })) postMessage(text);
 */
export async function loadModel(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const { gpt, tokenizer, textIds } = await loadParts(source, options);
  return new Model(gpt, tokenizer, webClock, textIds);
}

/** The parts of a Model. */
export interface ModelParts {
  readonly gpt: GPT;
  readonly tokenizer: Tokenizer;
  readonly textIds: TextIds;
  /** The update that the weights are from. */
  readonly step: number;
}

/** Loads as `loadModel`, and returns the parts; the caller disposes of `gpt`, or of the Model made from it. */
export async function loadParts(source: ModelSource, options: LoadOptions = {}): Promise<ModelParts> {
  if (!source) throw new ConfigError('source', 'must be given: the URL of a run, a store, a folder or files');
  requireOptionNames('loadModel', options, LOAD_OPTIONS);
  const { cache = false, kvSharing, kvLoops, ...engine } = options;
  const { onWarning = (message) => console.warn(message) } = engine;
  const { store, name } = await storeOf(source, cache, onWarning);
  const run = await Run.open(store, name);
  const tokenizer = await run.tokenizer();
  const textIds = await run.textIds();
  const keys = { ...(kvSharing ? { kvSharing } : {}), ...(kvLoops === undefined ? {} : { kvLoops }) };
  const backend = await createBackend({ ...engine, channels: run.config.model.nEmbd });
  const { model: gpt, step } = await run.load(new Runtime(backend), keys);
  return { gpt, tokenizer, textIds, step };
}

async function storeOf(
  source: ModelSource,
  cache: boolean,
  onWarning: (message: string) => void,
): Promise<{ readonly store: Store; readonly name: string }> {
  if (typeof source === 'string' || source instanceof URL) {
    const { href } = (globalThis as unknown as { readonly location: { readonly href: string } }).location;
    const url = new URL(source, href);
    const { copyOf, UrlStore } = await import('./url-store.js');
    return { store: cache ? await copyOf(url, onWarning) : await UrlStore.open(url), name: url.href };
  }
  if ('crc32c' in source) return { store: source, name: source instanceof OpfsStore ? source.name : 'run' };
  const { FilesStore } = await import('./files-store.js');
  const store = 'kind' in source ? new OpfsStore(source) : new FilesStore(source);
  return { store, name: store.name };
}

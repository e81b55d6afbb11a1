/**
 * A run's folder: `config.json`, `tokenizer.json`, `metrics.jsonl`, `checkpoints/`, and what `conventions.ts` keeps of a model
 * that was imported. Knows no terminal.
 */
import { CheckpointError, DataError } from '../errors.js';
import { type ModelConfig, parseModelConfig, requireSharing } from '../models/config.js';
import { GPT } from '../models/gpt.js';
import type { Runtime } from '../tensor/tensor.js';
import { sameByteLevel } from '../tokenizer/bpe.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { loadWeights } from './checkpoint.js';
import { parseRunConfig, type RunConfig } from './config.js';
import { type Conventions, nameEndOfText, readTokenNames, writeConventions } from './conventions.js';
import { readJSON } from './json.js';
import type { Store } from './store.js';

export const CONFIG_FILE = 'config.json';
export const TOKENIZER_FILE = 'tokenizer.json';

/**
 * Writes what a run needs besides its checkpoints. `tokenizer` is null where the data came without one. Conventions that the
 * run has already stay, unless others are given.
 */
export async function createRun(
  store: Store,
  config: RunConfig,
  tokenizer: Tokenizer | null,
  conventions?: Conventions,
): Promise<void> {
  if (conventions) await writeConventions(store, conventions);
  if (tokenizer) {
    await store.replace(TOKENIZER_FILE, `${JSON.stringify(tokenizer.toJSON())}\n`);
    await nameEndOfText(store, tokenizer);
  }
  await store.replace(CONFIG_FILE, `${JSON.stringify(config, null, 2)}\n`);
}

/**
 * Throws DataError where a run and the data it is to work on have different tokenizers: ids would mean other texts. Says
 * nothing where either has none.
 */
export async function requireSameTokenizer(
  store: Store,
  data: Tokenizer | null,
  name: string,
): Promise<void> {
  if (!data || !(await runHasTokenizer(store))) return;
  const own = await readTokenizer(store, name);
  const same = JSON.stringify(own.toJSON()) === JSON.stringify(data.toJSON()) && own.eot === data.eot;
  // Other tools write the same tokenizer with other settings beside it.
  if (same || sameByteLevel(data, own)) return;
  throw new DataError(
    name,
    "must work on data with the run's own tokenizer",
    data.name,
    'prepare the data with --tokenizer <run>/tokenizer.json',
  );
}

/** Whether a run has a tokenizer. */
export async function runHasTokenizer(store: Store): Promise<boolean> {
  return (await store.list('.')).includes(TOKENIZER_FILE);
}

/** Whether a run was ever created here. */
export async function runExists(store: Store): Promise<boolean> {
  return (await store.list('.')).includes(CONFIG_FILE);
}

/** Reads a run's configuration. Throws CheckpointError when there is none, ConfigError when it is wrong. */
export async function readRunConfig(store: Store, name: string): Promise<RunConfig> {
  if (!(await runExists(store))) {
    throw new CheckpointError(name, `must be the folder of a run, with a ${CONFIG_FILE}`);
  }
  const json = await readJSON(store, CONFIG_FILE);
  if (json.model_type !== undefined) {
    const hint = `make one of it: loopnn import ${name} --out <run>`;
    throw new CheckpointError(name, 'must be the folder of a run', 'a Hugging Face model', hint);
  }
  return parseRunConfig(json, CONFIG_FILE);
}

/** Throws DataError where a tokenizer has ids that a model does not know. */
export function requireFits(tokenizer: Tokenizer, model: ModelConfig, where: string): void {
  if (tokenizer.vocabSize <= model.vocabSize) return;
  throw new DataError(
    where,
    `must have at most as many ids as the model's vocabSize = ${model.vocabSize}`,
    tokenizer.vocabSize,
    'it is the tokenizer of another model',
  );
}

/** Reads a run's tokenizer. Throws DataError when it has none, or one that does not fit its model. */
export async function readRunTokenizer(store: Store, name: string): Promise<Tokenizer> {
  if (!(await runHasTokenizer(store))) {
    const hint = `copy the ${TOKENIZER_FILE} of the data it was trained on into the run's folder`;
    throw new DataError(
      name,
      `must hold a ${TOKENIZER_FILE} to turn text into tokens and back`,
      undefined,
      hint,
    );
  }
  const tokenizer = await readTokenizer(store, name);
  if (await runExists(store)) {
    requireFits(tokenizer, (await readRunConfig(store, name)).model, `${name}/${TOKENIZER_FILE}`);
  }
  return tokenizer;
}

async function readTokenizer(store: Store, name: string): Promise<Tokenizer> {
  const { eos_token: token } = (await readTokenNames(store, name)) ?? {};
  return tokenizerFromJSON(await readJSON(store, TOKENIZER_FILE), `${name}/${TOKENIZER_FILE}`, { token });
}

/** A trained model, ready to evaluate or generate. */
export interface LoadedModel {
  readonly model: GPT;
  readonly config: RunConfig;
  /** Update that its weights are from. */
  readonly step: number;
}

/** Whose keys and values the loops share, in place of what the model was trained with; the weights fit all the same. */
export type KeyValueOptions = Partial<Pick<ModelConfig, 'kvSharing' | 'kvLoops'>>;

/** Loads a run's best weights. Throws CheckpointError or ConfigError. */
export async function loadRun(
  store: Store,
  name: string,
  runtime: Runtime,
  { kvSharing, kvLoops }: KeyValueOptions = {},
): Promise<LoadedModel> {
  const trained = await readRunConfig(store, name);
  const shared = kvSharing === undefined ? {} : { kvSharing, kvLoops: 1 };
  const slots = kvLoops === undefined ? {} : { kvLoops };
  const config = { ...trained, model: parseModelConfig({ ...trained.model, ...shared, ...slots }) };
  if (kvLoops !== undefined) requireSharing(config.model);
  const model = new GPT(config.model, runtime, { train: false });
  try {
    return { model, config, step: await loadWeights(store, model) };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

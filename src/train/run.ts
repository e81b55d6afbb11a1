/** A run's folder: `config.json`, `tokenizer.json`, `metrics.jsonl`, `checkpoints/`. Knows no terminal. */
import { CheckpointError, DataError } from '../errors.js';
import { parseJSON as parseJSONText } from '../formats/json.js';
import { type ModelConfig, parseModelConfig, requireSharing } from '../models/config.js';
import { GPT } from '../models/gpt.js';
import type { Runtime } from '../tensor/tensor.js';
import { sameByteLevel } from '../tokenizer/bpe.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { loadWeights } from './checkpoint.js';
import { parseRunConfig, type RunConfig } from './config.js';
import type { Store } from './store.js';

export const CONFIG_FILE = 'config.json';
export const TOKENIZER_FILE = 'tokenizer.json';

/** Writes what a run needs besides its checkpoints. `tokenizer` is null where the data came without one. */
export async function createRun(store: Store, config: RunConfig, tokenizer: Tokenizer | null): Promise<void> {
  if (tokenizer) await store.replace(TOKENIZER_FILE, `${JSON.stringify(tokenizer.toJSON())}\n`);
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
  const own = parseJSON(await store.read(TOKENIZER_FILE), TOKENIZER_FILE);
  if (JSON.stringify(own) === JSON.stringify(data.toJSON())) return;
  // Other tools write the same tokenizer with other settings beside it.
  if (sameByteLevel(data, await tokenizerFromJSON(own, TOKENIZER_FILE))) return;
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
  const json = parseJSON(await store.read(CONFIG_FILE), CONFIG_FILE);
  if (json?.model_type !== undefined) {
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
  const where = `${name}/${TOKENIZER_FILE}`;
  const tokenizer = await tokenizerFromJSON(
    parseJSON(await store.read(TOKENIZER_FILE), TOKENIZER_FILE),
    where,
  );
  if (await runExists(store)) requireFits(tokenizer, (await readRunConfig(store, name)).model, where);
  return tokenizer;
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

/** Reads a JSON object. Throws CheckpointError that names the file, where it is damaged. */
export async function readJSON(store: Store, path: string, hint?: string): Promise<Record<string, unknown>> {
  const value = parseJSON(await store.read(path), path, hint);
  if (typeof value === 'object' && value !== null) return value;
  throw new CheckpointError(path, 'must hold a JSON object', value, hint);
}

function parseJSON(bytes: Uint8Array, where: string, hint?: string): Record<string, unknown> {
  try {
    return parseJSONText(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CheckpointError(where, `must be JSON (${reason})`, undefined, hint);
  }
}

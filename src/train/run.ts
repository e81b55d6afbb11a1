/**
 * A run's folder: `config.json`, `tokenizer.json`, `metrics.jsonl`, `checkpoints/`, and for an imported model the files
 * of `conventions.ts`. It must not write to a terminal.
 */
import { CheckpointError, DataError } from '../errors.js';
import { type ModelConfig, parseModelConfig, requireSharing } from '../models/config.js';
import { GPT } from '../models/gpt.js';
import type { Runtime } from '../tensor/tensor.js';
import { sameByteLevel } from '../tokenizer/bpe.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import { type SpecialToken, type Tokenizer, tokensBeyond } from '../tokenizer/tokenizer.js';
import { loadWeights } from './checkpoint.js';
import { parseRunConfig, type RunConfig } from './config.js';
import type { TextIds } from '../generate/text-ids.js';
import {
  type Conventions,
  nameEndOfText,
  readConventions,
  readTokenNames,
  textIdsOf,
  writeConventions,
} from './conventions.js';
import { readJSON } from './json.js';
import type { Store } from '../platform.js';

export const CONFIG_FILE = 'config.json';
export const TOKENIZER_FILE = 'tokenizer.json';

/**
 * Writes a run's files except its checkpoints. `tokenizer` is null if the data has none. Existing conventions of the
 * run stay, unless others are given.
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

/** Whether a run exists here. */
export function runExists(store: Store): Promise<boolean> {
  return store.has(CONFIG_FILE);
}

/**
 * Throws DataError if a tokenizer has ids that a model does not have, except special tokens, which no text encodes to:
 * it returns those.
 */
export function requireFits(
  tokenizer: Tokenizer,
  model: ModelConfig,
  where: string,
): readonly SpecialToken[] {
  const beyond = tokensBeyond(tokenizer, model.vocabSize);
  if (beyond) return beyond;
  throw new DataError(
    where,
    `must have at most as many ids as the model's vocabSize = ${model.vocabSize}`,
    tokenizer.vocabSize,
    'it is the tokenizer of another model',
  );
}

/** A trained model, ready to evaluate or generate. */
export interface LoadedModel {
  readonly model: GPT;
  readonly config: RunConfig;
  /** Update that its weights are from. */
  readonly step: number;
  /** CRC-32C of the file with its weights, eight hexadecimal digits. */
  readonly crc32c: string;
}

/** How loops share keys and values, instead of the trained setting; the weights fit either way. */
export type KeyValueOptions = Partial<Pick<ModelConfig, 'kvSharing' | 'kvLoops'>>;

/** A run in a store: its configuration, which is read once, and the other content of its folder. */
export class Run {
  private constructor(
    readonly store: Store,
    /** For messages: the folder. */
    readonly name: string,
    readonly config: RunConfig,
  ) {}

  /** Throws CheckpointError if there is no run, and ConfigError if its configuration is invalid. */
  static async open(store: Store, name: string): Promise<Run> {
    if (!(await runExists(store))) {
      throw new CheckpointError(name, `must be the folder of a run, with a ${CONFIG_FILE}`);
    }
    const json = await readJSON(store, CONFIG_FILE);
    if (json.model_type !== undefined) {
      const hint = `make one of it: loopnn import ${name} --out <run>`;
      throw new CheckpointError(name, 'must be the folder of a run', 'a Hugging Face model', hint);
    }
    return new Run(store, name, parseRunConfig(json, CONFIG_FILE));
  }

  /** Its tokenizer. Throws DataError if it has none, or one that does not fit its model. */
  async tokenizer(): Promise<Tokenizer> {
    const tokenizer = await this.ownTokenizer();
    if (tokenizer) return tokenizer;
    const rule = `must hold a ${TOKENIZER_FILE} to turn text into tokens and back`;
    const hint = `copy the ${TOKENIZER_FILE} of the data it was trained on into the run's folder`;
    throw new DataError(this.name, rule, undefined, hint);
  }

  /** The same, but null if it has none. */
  async ownTokenizer(): Promise<Tokenizer | null> {
    const { store, name } = this;
    if (!(await store.has(TOKENIZER_FILE))) return null;
    const where = `${name}/${TOKENIZER_FILE}`;
    const { eos_token: token } = (await readTokenNames(store, name)) ?? {};
    const tokenizer = await tokenizerFromJSON(await readJSON(store, TOKENIZER_FILE), where, { token });
    requireFits(tokenizer, this.config.model, where);
    return tokenizer;
  }

  /** Its text conventions, those of the model that it was imported from. Throws CheckpointError or DataError. */
  conventions(): Promise<Conventions> {
    return readConventions(this.store, this.name);
  }

  /** The ids with which its texts begin and end. Throws DataError for ids outside its vocabulary. */
  async textIds(): Promise<TextIds> {
    return textIdsOf(await this.conventions(), this.name, this.config.model.vocabSize);
  }

  /**
   * Throws DataError if the given data has another tokenizer, so that ids would mean other texts; accepts data or a run
   * without a tokenizer.
   */
  async requireSameTokenizer(data: Tokenizer | null): Promise<void> {
    if (!data) return;
    const own = await this.ownTokenizer();
    if (!own) return;
    const same = JSON.stringify(own.toJSON()) === JSON.stringify(data.toJSON()) && own.eot === data.eot;
    // Other tools write the same tokenizer with other settings.
    if (same || sameByteLevel(data, own)) return;
    const rule = "must work on data with the run's own tokenizer";
    throw new DataError(this.name, rule, data.name, 'prepare the data with --tokenizer <run>/tokenizer.json');
  }

  /**
   * Its best weights on a runtime, for inference: an engine that packs weights keeps only the packings of most, so that
   * they can not be read. The caller disposes of the model. Throws CheckpointError or ConfigError.
   */
  async load(runtime: Runtime, { kvSharing, kvLoops }: KeyValueOptions = {}): Promise<LoadedModel> {
    const shared = kvSharing === undefined ? {} : { kvSharing, kvLoops: 1 };
    const slots = kvLoops === undefined ? {} : { kvLoops };
    const config = { ...this.config, model: parseModelConfig({ ...this.config.model, ...shared, ...slots }) };
    if (kvLoops !== undefined) requireSharing(config.model);
    const model = new GPT(config.model, runtime, { train: false, packed: true });
    try {
      return { model, config, ...(await loadWeights(this.store, model)) };
    } catch (error) {
      model.dispose();
      throw error;
    }
  }
}

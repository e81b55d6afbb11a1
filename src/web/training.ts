/** A training run on a page or in a worker: this file opens it, and the caller makes its steps. */
import type { Backend } from '../backend/backend.js';
import { ConfigError } from '../errors.js';
import { type TokenSource, tokensOf } from '../evaluate/batches.js';
import type { ModelConfig } from '../models/config.js';
import { GPT } from '../models/gpt.js';
import type { Store } from '../platform.js';
import { Runtime } from '../tensor/tensor.js';
import { BytesTokenizer } from '../tokenizer/bytes.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { CHECKPOINTS, resumableStep } from '../train/checkpoint.js';
import {
  overrideTrain,
  parseRunConfig,
  requireEffect,
  type RunConfig,
  type TrainConfig,
} from '../train/config.js';
import type { LoggedEvent } from '../train/metrics.js';
import { createRun, Run } from '../train/run.js';
import { Trainer } from '../train/trainer.js';
import { type BackendOptions, createBackend } from './backend.js';
import { webClock } from './clock.js';

/** The file with the run's text, so that the run can be resumed after the page is closed. */
export const TEXT_FILE = 'text.txt';
/** Share of a text that is held out, at its end. */
const HELD_OUT = 0.1;

export interface TrainingOptions extends Omit<BackendOptions, 'precision' | 'weights' | 'channels'> {
  /** The run's store: in an OpfsStore it outlives the page. */
  readonly store: Store;
  /** The text of a new run; its last tenth is held out. */
  readonly text?: string;
  /** The tokenizer of a new run; one id per byte by default. */
  readonly tokenizer?: Tokenizer;
  /** The model of a new run; `vocabSize` is the tokenizer's by default. */
  readonly model?: Partial<ModelConfig>;
  /** The training of a new run; of a resumed run, the fields to change. */
  readonly train?: Partial<TrainConfig>;
  /** Resume the run in the store from its last checkpoint. */
  readonly resume?: boolean;
  /** Replace a run in the store; its checkpoints are removed when the new run begins. */
  readonly overwrite?: boolean;
  /** Stops the training after its current micro-step, with a checkpoint to resume from. */
  readonly signal?: AbortSignal;
}

/** A text's ids: the training part, and the last tenth, which is held out. */
export function splitIds(tokenizer: Tokenizer, text: string): { train: Uint16Array; val: Uint16Array } {
  const ids = tokenizer.encode(text);
  const cut = Math.floor(ids.length * (1 - HELD_OUT));
  return { train: ids.subarray(0, cut), val: ids.subarray(cut) };
}

/**
 * A run with its model in memory and its store locked. `trainer.run()` makes its steps; several trainings that share a
 * backend may take turns. The caller that opened the training disposes of it.
 */
export class Training implements AsyncDisposable {
  private constructor(
    readonly config: RunConfig,
    readonly tokenizer: Tokenizer,
    readonly text: string,
    readonly model: GPT,
    readonly trainer: Trainer,
    /** The log of a resumed run. */
    readonly log: readonly LoggedEvent[],
    private readonly lock: AsyncDisposable,
  ) {}

  /**
   * Begins or resumes a run, by default with a new backend. Throws as `trainRun` does, and the signal's reason if the
   * signal is aborted meanwhile.
   */
  static async open(options: TrainingOptions, backend?: Backend): Promise<Training> {
    const { store, resume = false, overwrite = false, signal } = options;
    if (!store) throw new ConfigError('store', 'must be given: where the run is kept');
    const lock = await store.lock();
    let model: GPT | undefined;
    let trainer: Trainer | undefined;
    try {
      const exists = (await resumableStep(store)) !== null;
      if (exists && !resume && !overwrite) {
        const hint = 'resume continues it, overwrite replaces it';
        throw new ConfigError('store', 'must not hold a run yet', undefined, hint);
      }
      if (!exists && resume) throw new ConfigError('resume', 'needs a run with a checkpoint in the store');
      const { config: wanted, tokenizer, text } = resume ? await resumed(options) : begun(options);
      const ids = splitIds(tokenizer, text);
      const sources: { train: TokenSource; val: TokenSource } = {
        train: tokensOf("the text's beginning", ids.train),
        val: tokensOf("the text's last tenth", ids.val),
      };
      const runtime = new Runtime(backend ?? (await ownBackend(options, wanted)));
      const { precision } = runtime.backend;
      const config = { ...wanted, train: { ...wanted.train, precision } };
      model = new GPT(config.model, runtime, { train: true });
      trainer = new Trainer({ model, config: config.train, store, clock: webClock, ...sources });
      if (!resume) {
        if (exists) await store.remove(CHECKPOINTS);
        await store.replace(TEXT_FILE, text);
      }
      await createRun(store, config, tokenizer);
      const { events } = await trainer.start(signal);
      return new Training(config, tokenizer, text, model, trainer, events, lock);
    } catch (error) {
      trainer?.dispose();
      model?.dispose();
      await lock[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.trainer.dispose();
    this.model.dispose();
    this.model.runtime.pool.trim();
    await this.lock[Symbol.asyncDispose]();
  }
}

function ownBackend(
  { backend, threads, onWarning }: TrainingOptions,
  { model, train }: RunConfig,
): Promise<Backend> {
  return createBackend({
    channels: model.nEmbd,
    precision: train.precision === 'auto' ? 'f32' : train.precision,
    ...(backend === undefined ? {} : { backend }),
    ...(threads === undefined ? {} : { threads }),
    ...(onWarning === undefined ? {} : { onWarning }),
  });
}

interface Wanted {
  readonly config: RunConfig;
  readonly tokenizer: Tokenizer;
  readonly text: string;
}

function begun({ text, tokenizer = new BytesTokenizer(), model, train = {} }: TrainingOptions): Wanted {
  if (text === undefined) throw new ConfigError('text', 'must be given for a new run');
  const { vocabSize } = tokenizer;
  const fields = { model: { vocabSize, ...model }, train: overrideTrain({}, train) };
  const config = parseRunConfig(fields, 'options');
  requireEffect({ model, train }, [config], 'options');
  return { config, tokenizer, text };
}

async function resumed({ store, text, tokenizer, model, train = {} }: TrainingOptions): Promise<Wanted> {
  for (const [name, value] of Object.entries({ text, tokenizer, model })) {
    if (value !== undefined)
      throw new ConfigError(name, 'must not be given with resume: the run has its own');
  }
  const run = await Run.open(store, 'the run');
  const config = parseRunConfig({ ...run.config, train: overrideTrain(run.config.train, train) }, 'options');
  requireEffect({ train }, [config], 'options');
  const own = new TextDecoder().decode(await store.read(TEXT_FILE));
  return { config, tokenizer: await run.tokenizer(), text: own };
}

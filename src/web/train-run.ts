/** Trains a run on a page or in a worker, for `import { trainRun } from 'loopnn/browser'`. */
import { ConfigError } from '../errors.js';
import { tokensOf } from '../evaluate/batches.js';
import type { ModelConfig } from '../models/config.js';
import { GPT } from '../models/gpt.js';
import type { Store } from '../platform.js';
import { Runtime } from '../tensor/tensor.js';
import { BytesTokenizer } from '../tokenizer/bytes.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { CHECKPOINTS, resumableStep } from '../train/checkpoint.js';
import { overrideTrain, parseRunConfig, type RunConfig, type TrainConfig } from '../train/config.js';
import type { TrainEvent } from '../train/events.js';
import { createRun, Run } from '../train/run.js';
import { Trainer } from '../train/trainer.js';
import { type BackendOptions, createBackend } from './backend.js';
import { webClock } from './clock.js';

/** A run keeps what it learns from, so that it can be resumed after the page has gone. */
const TEXT_FILE = 'text.txt';
/** Part of a text that is held out, at its end. */
const HELD_OUT = 0.1;

export interface TrainOptions extends Omit<BackendOptions, 'precision' | 'weights'> {
  /** Where the run is kept: in an OpfsStore it outlives the page. */
  readonly store: Store;
  /** What a new run learns from; its last tenth is held out. */
  readonly text?: string;
  /** Of a new run; one id a byte by default. */
  readonly tokenizer?: Tokenizer;
  /** Of a new run; `vocabSize` is the tokenizer's by default. */
  readonly model?: Partial<ModelConfig>;
  /** Of a run that is resumed, what is to change. */
  readonly train?: Partial<TrainConfig>;
  /** Continue the run in the store from its last checkpoint. */
  readonly resume?: boolean;
  /** Begin anew where the store holds a run, whose checkpoints go when the new one begins. */
  readonly overwrite?: boolean;
  /** Ends the training after its micro-step, with a checkpoint to go on from. */
  readonly signal?: AbortSignal;
  /** Every update, evaluation and checkpoint. */
  readonly onEvent?: (event: TrainEvent) => void;
}

/** What a training came to. */
export interface TrainSummary {
  readonly step: number;
  /** Whether all steps are made; otherwise `resume` goes on. */
  readonly finished: boolean;
  /** Lowest loss of the held-out text, nats a token; null where none was found. */
  readonly bestValLoss: number | null;
}

/**
 * Trains a model on a text, or continues a run. The same options make the same bits, stopped and continued or not. In
 * a worker there are threads, and the page stays alive.
 *
 * Throws ConfigError for a wrong field, and where the store holds a run that is not to be continued; DataError for a
 * text that is too short; LockError where another tab trains there; FileError where the browser stores no more.
 *
 * @example
 * const store = new OpfsStore('runs/mine');
 * const model = { depth: 'loop', nLayer: 1, nLoop: 3, nEmbd: 64, nHead: 4, blockSize: 64 };
 * await trainRun({ store, text, model, train: { maxSteps: 300 }, onEvent: (event) => postMessage(event) });
 * const trained = await loadModel(store);
 */
export async function trainRun(options: TrainOptions): Promise<TrainSummary> {
  const {
    store,
    resume = false,
    overwrite = false,
    threads,
    onWarning,
    signal,
    onEvent = () => {},
  } = options;
  if (!store) throw new ConfigError('store', 'must be given: where the run is kept');
  await using _lock = await store.lock();
  const exists = (await resumableStep(store)) !== null;
  if (exists && !resume && !overwrite) {
    const hint = 'resume continues it, overwrite begins anew';
    throw new ConfigError('store', 'must not hold a run yet', undefined, hint);
  }
  if (!exists && resume) throw new ConfigError('resume', 'needs a run with a checkpoint in the store');
  const { config: wanted, tokenizer, text } = resume ? await resumed(options) : begun(options);
  const ids = tokenizer.encode(text);
  const cut = Math.floor(ids.length * (1 - HELD_OUT));
  const part = (name: string, from: number, to?: number) =>
    tokensOf(`the text's ${name}`, ids.slice(from, to));
  const precision = wanted.train.precision === 'bf16' ? 'bf16' : 'f32';
  const config = { ...wanted, train: { ...wanted.train, precision } } as const;
  const backend = await createBackend({
    precision,
    ...(threads === undefined ? {} : { threads }),
    ...(onWarning === undefined ? {} : { onWarning }),
  });
  const runtime = new Runtime(backend);
  const model = new GPT(config.model, runtime, { train: true });
  try {
    const trainer = new Trainer({
      ...{ model, config: config.train, store, clock: webClock },
      ...{ train: part('beginning', 0, cut), val: part('last tenth', cut) },
    });
    try {
      if (!resume) {
        if (exists) await store.remove(CHECKPOINTS);
        await store.replace(TEXT_FILE, text);
      }
      await createRun(store, config, tokenizer);
      await trainer.start(signal);
      for await (const event of trainer.run(signal)) onEvent(event);
      const { step, bestValLoss } = trainer.progress;
      return { step, finished: step >= config.train.maxSteps, bestValLoss };
    } finally {
      trainer.dispose();
    }
  } finally {
    model.dispose();
    runtime.pool.trim();
  }
}

interface Training {
  readonly config: RunConfig;
  readonly tokenizer: Tokenizer;
  readonly text: string;
}

function begun({ text, tokenizer = new BytesTokenizer(), model, train = {} }: TrainOptions): Training {
  if (text === undefined) throw new ConfigError('text', 'must be given where a run begins');
  const { vocabSize } = tokenizer;
  const config = { model: { vocabSize, ...model }, train: overrideTrain({}, train) };
  return { config: parseRunConfig(config, 'options'), tokenizer, text };
}

async function resumed({ store, text, tokenizer, model, train = {} }: TrainOptions): Promise<Training> {
  for (const [name, value] of Object.entries({ text, tokenizer, model })) {
    if (value !== undefined) throw new ConfigError(name, 'can not be given with resume: the run has its own');
  }
  const run = await Run.open(store, 'the run');
  const config = parseRunConfig({ ...run.config, train: overrideTrain(run.config.train, train) }, 'options');
  const own = new TextDecoder().decode(await store.read(TEXT_FILE));
  return { config, tokenizer: await run.tokenizer(), text: own };
}

/**
 * The thread that `engine-thread.ts` starts: loads a run, then generates. All long work is done here, so that the HTTP
 * thread stays free. It must not import HTTP.
 */
import { createHash } from 'node:crypto';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { makeRoomToEnd } from '../node/ending.js';
import { DeviceError } from '../errors.js';
import { loadRun, openRun } from '../node/run.js';
import { sentError } from '../node/thread-errors.js';
import { Decoder } from '../generate/decoder.js';
import { Engine } from '../generate/engine.js';
import { type Tokenizer, textOf } from '../tokenizer/tokenizer.js';
import { CHAT_TEMPLATE_FILE, textIdsOf, tokenNames } from '../train/conventions.js';
import type { TemplateSource } from './chat-template.js';
import type {
  Encoded,
  EngineOptions,
  FromEngine,
  ModelInfo,
  NumberedTask,
  Prompt,
  Question,
  Task,
  TaskEvent,
  ToEngine,
} from './messages.js';
import { Prompts } from './prompts.js';
import { ServedTokens } from './served-tokens.js';
import { nodeClock } from '../node/store.js';

/**
 * Share of the machine's memory that keys and values may take; while their pool grows, it takes up to three times as
 * much.
 */
const CACHE_SHARE = 1 / 8;

const port = parentPort!;

function post(message: FromEngine): void {
  port.postMessage(message);
}

async function load({ folder, run, chatTemplate, loops, maxSequences }: EngineOptions) {
  const opened = await openRun(folder);
  // Small files come first: errors are reported before a large model is read.
  const { model: trained } = opened.config;
  const tokenizer = await opened.tokenizer();
  const conventions = await opened.conventions();
  const { bos, eos } = textIdsOf(conventions, folder, trained.vocabSize);
  const names = tokenNames(conventions, tokenizer);
  const prompts = new Prompts({
    tokenizer,
    blockSize: trained.blockSize,
    bos: bos ?? tokenizer.eot,
    names,
    chatTemplate: chosenTemplate(folder, chatTemplate, conventions.chatTemplate),
  });
  const onWarning = (line: string) => post({ kind: 'notice', line });
  const { model, config, step, crc32c } = await loadRun(opened, { ...run, onWarning });
  if (loops !== null) model.requireOptions({ loops });
  const decoder = new Decoder(model);
  const maxCacheBytes = CACHE_SHARE * totalmem();
  const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences, maxCacheBytes, eos });
  const backend = model.runtime.backend.description;
  const texts = [tokenizer, names, bos, eos, chatTemplate ?? conventions.chatTemplate];
  const fingerprint = fingerprintOf([crc32c, config.model, backend, ...texts]);
  const info: ModelInfo = {
    config: config.model,
    step,
    backend,
    loops,
    vocabSize: Math.min(tokenizer.vocabSize, config.model.vocabSize),
    fingerprint,
    tokens: names,
    chatTemplate: chatTemplate ?? conventions.chatTemplate,
  };
  return { tokenizer, prompts, model, decoder, engine, info };
}

/**
 * The user's template, or else the model's own, with a notice if there is a choice; null without either.
 */
function chosenTemplate(folder: string, given: string | null, own: string | null): TemplateSource | null {
  const file = join(folder, CHAT_TEMPLATE_FILE);
  const tell = (line: string) => post({ kind: 'notice', line });
  if (given !== null) {
    if (own !== null) tell(`chats by --chat-template, not by the model's own ${file}`);
    return { source: given, where: 'chat template' };
  }
  if (own === null) return null;
  tell(`chats by the model's own template, ${file}`);
  return { source: own, where: file, hint: 'name another by --chat-template' };
}

/** A hash of everything that answers depend on, as JSON. */
function fingerprintOf(facts: unknown): string {
  return `fp_${createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 12)}`;
}

class EngineService {
  readonly #aborts = new Map<number, AbortController>();
  #events: TaskEvent[] = [];

  constructor(
    private readonly engine: Engine,
    private readonly tokenizer: Tokenizer,
    private readonly prompts: Prompts,
  ) {}

  /** Begins to work on tasks; each distinct prompt becomes tokens once. */
  start(tasks: readonly NumberedTask[]): void {
    const encoded = new Map<Prompt, Promise<ArrayLike<number>>>();
    for (const { prompt } of tasks.map(({ task }) => task)) {
      if (!encoded.has(prompt)) encoded.set(prompt, this.#encode(prompt));
    }
    for (const { id, task } of tasks) this.#run(id, task, encoded.get(task.prompt)!);
  }

  /** Works on a task until it ends, fails or is aborted. */
  async #run(id: number, { prompt, options }: Task, ids: Promise<ArrayLike<number>>): Promise<void> {
    const controller = new AbortController();
    this.#aborts.set(id, controller);
    try {
      const stop = [...(options.stop ?? []), ...(prompt.kind === 'chat' ? this.prompts.chatStop : [])];
      const prompted = await ids;
      const stream = this.engine.generate({ ...options, prompt: prompted, stop }, controller.signal);
      const { echo = prompted.length, topLogprobs } = options;
      const before = Array.prototype.slice.call(prompted, 0, echo) as number[];
      const served = new ServedTokens(this.tokenizer, before, topLogprobs !== undefined);
      let next = await stream.next();
      for (; !next.done; next = await stream.next()) this.#tell({ id, token: served.next(next.value) });
      this.#tell({ id, end: next.value });
    } catch (error) {
      if (error instanceof DeviceError) failed(error);
      this.#tell({ id, error: sentError(error) });
    } finally {
      this.#aborts.delete(id);
    }
  }

  /** Errors reject its promise only, for the callers that wait for the prompt. */
  async #encode(prompt: Prompt): Promise<ArrayLike<number>> {
    return this.prompts.encode(prompt);
  }

  /** Answers a question to the tokenizer. */
  answer(id: number, question: Question): void {
    try {
      post({ kind: 'answer', id, answer: this.#answerTo(question) });
    } catch (error) {
      post({ kind: 'answer', id, answer: { error: sentError(error) } });
    }
  }

  #answerTo(question: Question): Encoded | string {
    const { tokenizer, prompts } = this;
    if ('decode' in question) return tokenizer.decode(question.decode);
    const ids = prompts.spelled(question.encode);
    return { ids, texts: ids.map((id, i) => textOf(tokenizer, id, ids[i - 1])) };
  }

  abort(id: number): void {
    this.#aborts.get(id)?.abort();
  }

  /** Sends events in bundles: all events of a step are one message. */
  #tell(event: TaskEvent): void {
    if (this.#events.push(event) > 1) return;
    setImmediate(() => {
      post({ kind: 'events', load: this.engine.load, events: this.#events });
      this.#events = [];
    });
  }
}

/** Ends this thread at once. */
function end(): never {
  makeRoomToEnd();
  process.exit();
}

/** Reports a fatal error, and ends this thread. */
function failed(error: unknown): never {
  post({ kind: 'failed', error: sentError(error) });
  end();
}

let loaded: { readonly service: EngineService; readonly close: () => Promise<void> } | null = null;
port.on('message', async (message: ToEngine) => {
  switch (message.kind) {
    case 'generate':
      loaded!.service.start(message.tasks);
      break;
    case 'abort':
      loaded!.service.abort(message.id);
      break;
    case 'ask':
      loaded!.service.answer(message.id, message.question);
      break;
    case 'close':
      await loaded?.close();
      end();
  }
});
try {
  const { tokenizer, prompts, model, decoder, engine, info } = await load(workerData);
  loaded = {
    service: new EngineService(engine, tokenizer, prompts),
    close: async () => {
      await engine.dispose();
      decoder.dispose();
      model.dispose();
    },
  };
  post({ kind: 'ready', info });
} catch (error) {
  failed(error);
}

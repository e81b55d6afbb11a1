/** The engine as the HTTP thread sees it: tasks in, events out. It must not import HTTP, tokens or models. */
import { Worker } from 'node:worker_threads';
import { receivedError } from '../node/thread-errors.js';
import { EventQueue } from '../generate/event-queue.js';
import type { GenerationEnd } from '../generate/request.js';
import type {
  Encoded,
  EngineOptions,
  FromEngine,
  Load,
  ModelInfo,
  Prompt,
  Question,
  ServedToken,
  Task,
  ToEngine,
} from './messages.js';

/**
 * An event of one of several tasks, with its `index` among them, and its time: milliseconds of performance.now().
 */
export type RunEvent = { readonly index: number; readonly at: number } & (
  | { readonly token: ServedToken; readonly end?: undefined }
  | { readonly end: GenerationEnd; readonly token?: undefined }
);

/**
 * Maximum of garbage of the engine's thread: each step creates little, and V8 would let it grow to 48 MB between
 * collections.
 */
const YOUNG_MEGABYTES = 4;

export class EngineThread {
  /** Resolves once the model is loaded; rejects with the error that prevented it. */
  readonly ready: Promise<ModelInfo>;
  /** Rejects when the model cannot be loaded, or the thread dies; never resolves. */
  readonly failed: Promise<never>;
  load: Load = { running: 0, waiting: 0 };
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #tasks = new Map<number, { readonly index: number; readonly events: EventQueue<RunEvent> }>();
  readonly #questions = new Map<number, ReturnType<typeof deferred<Encoded | string>>>();
  #count = 0;
  #closing = false;

  /** @param notice takes lines that concern the whole server */
  constructor(options: EngineOptions, notice: (line: string) => void) {
    const { folder, run, chatTemplate, loops, maxSequences } = options;
    this.#worker = new Worker(new URL('./engine-worker.js', import.meta.url), {
      workerData: { folder, run, chatTemplate, loops, maxSequences } satisfies EngineOptions,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEGABYTES },
    });
    this.#exited = new Promise((resolve) => this.#worker.once('exit', resolve));
    const ready = deferred<ModelInfo>();
    const failed = deferred<never>();
    this.ready = ready.promise;
    this.failed = failed.promise;
    const die = (error: Error) => {
      ready.reject(error);
      if (!this.#closing) failed.reject(error);
      for (const { events } of this.#tasks.values()) events.fail(error);
      this.#tasks.clear();
      for (const asked of this.#questions.values()) asked.reject(error);
      this.#questions.clear();
    };
    this.#worker.on('error', die);
    this.#worker.on('exit', (code) => die(new Error(`the engine's thread has ended with code ${code}`)));
    this.#worker.on('message', (message: FromEngine) => {
      if (message.kind === 'notice') notice(message.line);
      else if (message.kind === 'ready') ready.resolve(message.info);
      else if (message.kind === 'failed') die(receivedError(message.error));
      else if (message.kind === 'answer') this.#answer(message);
      else this.#take(message);
    });
  }

  /** Number of unfinished tasks of the engine. */
  get inFlight(): number {
    return this.#tasks.size;
  }

  /**
   * Works on several tasks side by side, until all have ended. Throws the first error of any of them, and the signal's
   * reason as soon as it aborts; the others then stop at their next token.
   */
  async *run(tasks: readonly Task[], signal: AbortSignal): AsyncGenerator<RunEvent, void> {
    signal.throwIfAborted();
    const events = new EventQueue<RunEvent>();
    const numbered = tasks.map((task, index) => {
      const id = this.#count++;
      this.#tasks.set(id, { index, events });
      return { id, task };
    });
    this.#post({ kind: 'generate', tasks: numbered });
    const abort = () => {
      for (const { id } of numbered) if (this.#tasks.has(id)) this.#post({ kind: 'abort', id });
    };
    // After an abort, the caller may never request another event.
    const onAbort = () => {
      events.fail(signal.reason);
      abort();
    };
    signal.addEventListener('abort', onAbort);
    try {
      for (let left = tasks.length; left > 0; ) {
        const event = await events.next();
        if (event.end) left--;
        yield event;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      abort();
    }
  }

  /**
   * A prompt's ids, where spelled-out special tokens are tokens, and the texts of the ids. Throws ConfigError for an
   * invalid chat.
   */
  encode(prompt: Prompt): Promise<Encoded> {
    return this.#ask({ encode: prompt }) as Promise<Encoded>;
  }

  /** The text of ids. Throws DataError for one that the tokenizer does not have. */
  decode(ids: Int32Array): Promise<string> {
    return this.#ask({ decode: ids }) as Promise<string>;
  }

  #ask(question: Question): Promise<Encoded | string> {
    const id = this.#count++;
    const asked = deferred<Encoded | string>();
    this.#questions.set(id, asked);
    this.#post({ kind: 'ask', id, question });
    return asked.promise;
  }

  #answer({ id, answer }: Extract<FromEngine, { kind: 'answer' }>): void {
    const asked = this.#questions.get(id);
    this.#questions.delete(id);
    if (typeof answer === 'object' && 'error' in answer) asked?.reject(receivedError(answer.error));
    else asked?.resolve(answer);
  }

  /** Ends the thread with all that still runs in it. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#post({ kind: 'close' });
    await this.#exited;
  }

  #take({ load, events }: Extract<FromEngine, { kind: 'events' }>): void {
    const at = performance.now();
    this.load = load;
    for (const event of events) {
      const task = this.#tasks.get(event.id);
      if (!task) continue;
      const { index, events: queue } = task;
      if ('token' in event) queue.push({ index, at, token: event.token });
      else this.#tasks.delete(event.id);
      if ('end' in event) queue.push({ index, at, end: event.end });
      if ('error' in event) queue.fail(receivedError(event.error));
    }
  }

  #post(message: ToEngine): void {
    this.#worker.postMessage(message);
  }
}

/** A promise that others settle; an unhandled rejection of it is not an error. */
function deferred<Value>() {
  let resolve!: (value: Value) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<Value>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}

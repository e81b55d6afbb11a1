/** The page's side of the worker: questions, answers, and the model that the worker holds. */
import { useEffect, useState } from 'preact/hooks';
import type { Asked, Cancel, GivenFile, Kind, ModelFacts, Reply, Request } from './messages.js';

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly onPart: (part: string) => void;
}

export interface AskOptions {
  /** Stops the wait at once, and the work if possible. */
  readonly signal?: AbortSignal;
  readonly onPart?: (part: string) => void;
}

/** The model in the worker: its facts, and how the last attempt to load a model went. */
export interface ModelState {
  readonly facts: ModelFacts | null;
  readonly loading: boolean;
  /** Why the last model could not be loaded, in words. */
  readonly error: string | null;
  /** The name of the visitor's own run; null for the model that comes with the page. */
  readonly own: string | null;
}

class ModelClient {
  state: ModelState = { facts: null, loading: false, error: null, own: null };
  private worker: Worker | null = null;
  private asked = 0;
  private readonly waiting = new Map<number, Waiting>();
  private readonly listeners = new Set<(state: ModelState) => void>();

  /** Loads the visitor's own run, or the model that comes with the page. If that fails, the current model stays. */
  async load(files: readonly GivenFile[] | null, own: string | null): Promise<void> {
    this.become({ ...this.state, loading: true, error: null });
    try {
      this.become({ facts: await this.ask('load', files), loading: false, error: null, own });
    } catch (error) {
      this.become({ ...this.state, loading: false, error: (error as Error).message });
    }
  }

  /** Asks the worker. Rejects with an error for the visitor, or with the signal's reason if the signal is aborted. */
  ask<K extends Kind>(
    kind: K,
    question: Asked[K]['question'],
    { signal, onPart = () => {} }: AskOptions = {},
  ): Promise<Asked[K]['answer']> {
    const id = this.asked++;
    this.worker ??= this.begin();
    const { worker, waiting } = this;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      waiting.set(id, { resolve, reject, onPart });
      signal?.addEventListener('abort', () => {
        if (!waiting.delete(id)) return;
        worker.postMessage({ cancel: id } satisfies Cancel);
        reject(signal.reason);
      });
      worker.postMessage({ id, kind, question } as Request);
    });
  }

  /** Calls `heard` with the model's state, now and whenever it changes; returns a function that ends this. */
  listen(heard: (state: ModelState) => void): () => void {
    this.listeners.add(heard);
    heard(this.state);
    return () => this.listeners.delete(heard);
  }

  private become(state: ModelState): void {
    this.state = state;
    for (const heard of this.listeners) heard(state);
  }

  private begin(): Worker {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const waiting = this.waiting.get(data.id);
      if ('part' in data) return waiting?.onPart(data.part);
      this.waiting.delete(data.id);
      if ('error' in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.answer as never);
    };
    worker.onerror = ({ message }) => {
      const error = new Error(`The page's worker has stopped: ${message || 'its script did not load'}`);
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
      this.worker = null;
      this.become({ ...this.state, facts: null, loading: false, error: error.message });
    };
    return worker;
  }
}

export const modelClient = new ModelClient();

/** The model's state; the model is loaded on first use. */
export function useModel(): ModelState {
  const [state, setState] = useState(modelClient.state);
  useEffect(() => {
    const { facts, loading, error } = modelClient.state;
    if (!facts && !loading && !error) void modelClient.load(null, null);
    return modelClient.listen(setState);
  }, []);
  return state;
}

/** The newest answer to a question; it is kept, with `waiting` set, until the next answer comes. */
export interface Answered<K extends Kind> {
  readonly answer: Asked[K]['answer'] | null;
  /** The question that it answers. */
  readonly to: Asked[K]['question'] | null;
  readonly error: string | null;
  readonly waiting: boolean;
}

/**
 * Asks a question whenever the question or the model changes, after it has stayed the same for `settle` milliseconds;
 * null asks nothing. Former questions are cancelled.
 */
export function useAnswer<K extends Kind>(
  kind: K,
  question: Asked[K]['question'] | null,
  settle: number,
): Answered<K> {
  const { facts } = useModel();
  const [state, setState] = useState<Answered<K>>({ answer: null, to: null, error: null, waiting: false });
  const said = JSON.stringify(question);
  // Another model's answer does not count.
  useEffect(() => setState((former) => ({ ...former, answer: null, to: null, error: null })), [facts]);
  useEffect(() => {
    if (!facts || question === null) return;
    const controller = new AbortController();
    const { signal } = controller;
    setState((former) => ({ ...former, waiting: true }));
    const timer = setTimeout(
      () => {
        modelClient.ask(kind, question, { signal }).then(
          (answer) => setState({ answer, to: question, error: null, waiting: false }),
          (error: Error) => {
            if (!signal.aborted) setState({ answer: null, to: null, error: error.message, waiting: false });
          },
        );
      },
      state.answer ? settle : 0,
    );
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [facts, said]);
  return state;
}

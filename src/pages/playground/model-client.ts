/** The page's side of the worker: questions, answers, and the model that it holds. */
import { useEffect, useState } from 'preact/hooks';
import type { Asked, Cancel, GivenFile, Kind, ModelFacts, Reply, Request } from './messages.js';

interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly onPart: (part: string) => void;
}

export interface AskOptions {
  /** Ends the work where it can, and the wait at once. */
  readonly signal?: AbortSignal;
  readonly onPart?: (part: string) => void;
}

/** The model in the worker: its facts, or what became of the last attempt to load one. */
export interface ModelState {
  readonly facts: ModelFacts | null;
  readonly loading: boolean;
  /** Why the last model could not be loaded, in words. */
  readonly error: string | null;
  /** What the visitor gave; null for the model that comes with the page. */
  readonly own: string | null;
}

class ModelClient {
  state: ModelState = { facts: null, loading: false, error: null, own: null };
  private worker: Worker | null = null;
  private asked = 0;
  private readonly waiting = new Map<number, Waiting>();
  private readonly listeners = new Set<(state: ModelState) => void>();

  /** Loads a run of the visitor's, or the model that comes with the page. What is loaded stays where that fails. */
  async load(files: readonly GivenFile[] | null, own: string | null): Promise<void> {
    this.become({ ...this.state, loading: true, error: null });
    try {
      this.become({ facts: await this.ask('load', files), loading: false, error: null, own });
    } catch (error) {
      this.become({ ...this.state, loading: false, error: (error as Error).message });
    }
  }

  /** Rejects with an error whose message is for the visitor, and with the signal's reason where that is aborted. */
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

  /** Tells of the model from now on; returns how to be told no longer. */
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
      const error = new Error(`The page's worker has ended: ${message || 'its script did not load'}`);
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
      this.worker = null;
      this.become({ ...this.state, facts: null, loading: false, error: error.message });
    };
    return worker;
  }
}

export const modelClient = new ModelClient();

/** The model, which is loaded when it is first wanted. */
export function useModel(): ModelState {
  const [state, setState] = useState(modelClient.state);
  useEffect(() => {
    const { facts, loading, error } = modelClient.state;
    if (!facts && !loading && !error) void modelClient.load(null, null);
    return modelClient.listen(setState);
  }, []);
  return state;
}

/** What a question was answered, the newest only; kept, with `waiting`, until the next is. */
export interface Answered<K extends Kind> {
  readonly answer: Asked[K]['answer'] | null;
  /** What it answers. */
  readonly to: Asked[K]['question'] | null;
  readonly error: string | null;
  readonly waiting: boolean;
}

/**
 * Asks a question anew whenever it, or the model, changes, once it has been the same for so many milliseconds; null
 * asks
 * nothing. Former questions are cancelled.
 */
export function useAnswer<K extends Kind>(
  kind: K,
  question: Asked[K]['question'] | null,
  settle: number,
): Answered<K> {
  const { facts } = useModel();
  const [state, setState] = useState<Answered<K>>({ answer: null, to: null, error: null, waiting: false });
  const said = JSON.stringify(question);
  // What another model said is no answer.
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

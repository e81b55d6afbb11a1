/**
 * Limits the time of an answer, and ends it when its client disconnects. It must not import the engine or an HTTP
 * framework.
 */
import { ApiError } from './api-error.js';
import { CLIENT_LEFT } from './exchange.js';

/** A signal that aborts when an answer takes too long or its client disconnects; its reason is the ApiError. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #leave = () => this.#controller.abort(new ApiError(CLIENT_LEFT, 'the client has left'));

  /** @param client aborts when the client disconnects */
  constructor(
    timeoutMs: number,
    private readonly client: AbortSignal,
  ) {
    this.#timer = setTimeout(() => {
      const headers = { 'x-should-retry': 'false' };
      const message = `the answer took longer than ${timeoutMs / 1000} seconds`;
      this.#controller.abort(new ApiError(504, message, { code: 'timeout', headers }));
    }, timeoutMs);
    if (client.aborted) this.#leave();
    else client.addEventListener('abort', this.#leave);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.client.removeEventListener('abort', this.#leave);
  }
}

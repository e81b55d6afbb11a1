/** One request and its answer, as the log and the counters see it. */
import { randomUUID } from 'node:crypto';

/** Client ids that are valid in a header and on a line of a log. */
const SANE_ID = /^[\w.:-]{1,128}$/;
/** The status of an exchange whose client disconnected before the answer, as in nginx. */
export const CLIENT_LEFT = 499;
/** Characters of a path on a line of the log. */
const LONGEST_PATH = 200;

export class Exchange {
  /** The client's id if it sent a valid one. */
  readonly id: string;
  /** Milliseconds of performance.now(). */
  readonly startedAt = performance.now();
  promptTokens = 0;
  tokens = 0;
  /** The error for the log; null for none. */
  #fault: string | null = null;
  #end!: (status: number) => void;
  /** Resolves with the status once the connection has taken the answer, or is closed. */
  readonly ended = new Promise<number>((resolve) => {
    this.#end = resolve;
  });

  constructor(
    readonly method: string,
    readonly path: string,
    id: string | undefined,
  ) {
    this.id = id !== undefined && SANE_ID.test(id) ? id : `req_${randomUUID().replaceAll('-', '')}`;
  }

  failed(error: unknown): void {
    this.#fault = error instanceof Error ? error.message : String(error);
  }

  end(status: number): void {
    this.#end(status);
  }

  /** method, path, status, time, tokens of prompt + answer, id, and the error. */
  line(status: number): string {
    const ms = `${(performance.now() - this.startedAt).toFixed(0)}ms`;
    const { method, path, promptTokens, tokens } = this;
    const made = promptTokens + tokens > 0 ? [`${promptTokens}+${tokens} tokens`] : [];
    const fault = this.#fault === null ? [] : [`(${this.#fault})`];
    const words = [method, path.slice(0, LONGEST_PATH), status, ms, ...made, this.id, ...fault];
    // A path may contain a line break, and so may an error about a body.
    return words.join(' ').replace(/[\p{Cc}\u2028\u2029]/gu, '?');
  }
}

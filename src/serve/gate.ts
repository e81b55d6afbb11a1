/** Rejects requests by the server's state, the model that they name, and the free room. It must not import HTTP. */
import { ApiError, wrongField } from './api-error.js';
import type { CompletionRequest } from './requests.js';

export type ServerState = 'loading' | 'ok' | 'draining';

export interface GateOptions {
  /** The model's names in requests, at least one. */
  readonly modelIds: readonly string[];
  /** Sequences that may run or wait. */
  readonly capacity: number;
  readonly state: () => ServerState;
}

/** Seconds after which to retry while the server loads. */
const LOADING_SECONDS = 5;
/** Longest `retry-after`, in seconds. */
const LONGEST_RETRY = 60;

/** Each method throws the ApiError of a rejection. */
export class Gate {
  constructor(private readonly options: GateOptions) {}

  /** 503 unless the server answers requests. */
  requireOpen(): void {
    const state = this.options.state();
    if (state === 'draining') throw new ApiError(503, 'the server is shutting down');
    if (state === 'loading') {
      const headers = { 'retry-after': String(LOADING_SECONDS) };
      throw new ApiError(503, 'the model is being loaded', { headers });
    }
  }

  /** 404 for another model than the one served. */
  requireModel(id: string): void {
    const { modelIds } = this.options;
    if (modelIds.includes(id)) return;
    const known = modelIds.map((name) => `'${name}'`).join(' or ');
    const message = `model: must be ${known}, got '${id.slice(0, 100)}'`;
    throw new ApiError(404, message, { param: 'model', code: 'model_not_found' });
  }

  /**
   * 400 for a request that can never fit, 429 for one that does not fit now.
   *
   * @param inFlight sequences that run or wait
   * @param answerSeconds mean time of an answer, after which a retry makes sense
   */
  requireRoom({ tasks, n }: CompletionRequest, inFlight: number, answerSeconds: number): void {
    const { capacity } = this.options;
    const { length } = tasks;
    if (length > capacity) {
      const param = n > 1 ? 'n' : 'prompt';
      throw wrongField(param, `asks for more sequences than the ${capacity} served`, length);
    }
    if (inFlight + length > capacity) {
      const seconds = Math.min(LONGEST_RETRY, Math.max(1, Math.ceil(answerSeconds)));
      const headers = { 'retry-after': String(seconds) };
      throw new ApiError(429, 'too many requests are waiting', { code: 'rate_limit_exceeded', headers });
    }
  }
}

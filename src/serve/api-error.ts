/** The rejection of a request, as OpenAI's clients expect it. */
import { ConfigError } from '../errors.js';

/** Why, in OpenAI's words. */
export interface ApiErrorDetails {
  /** The wrong field of the body. */
  readonly param?: string;
  /** The code, for programs. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Statuses of a client's error; 429 has its own type. */
const RATE_LIMITED = 429;
const SERVER_ERRORS = 500;

/** A rejection: a status and a body `{ error: { message, type, param, code } }`. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: ApiErrorDetails = {},
  ) {
    super(message);
    this.name = 'ApiError';
  }

  get body(): object {
    const { param = null, code = null } = this.details;
    return { error: { message: this.message, type: typeOf(this.status), param, code } };
  }
}

function typeOf(status: number): string {
  if (status === RATE_LIMITED) return 'rate_limit_error';
  return status >= SERVER_ERRORS ? 'server_error' : 'invalid_request_error';
}

/** The rejection of a field of the body: `param: rule, got value; hint`. */
export function wrongField(param: string, rule: string, got?: unknown, hint?: string): ApiError {
  return new ApiError(400, new ConfigError(param, rule, shown(got), hint).message, { param });
}

/** A value from a body, short enough for a message. */
function shown(value: unknown): unknown {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : value;
}

/** What a request is refused with, as OpenAI's clients expect it. */
import { ConfigError } from '../errors.js';

/** Why, in OpenAI's words. */
export interface ApiErrorDetails {
  /** Field of the body that is wrong. */
  readonly param?: string;
  /** A word for programs. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Statuses that stand for a mistake of the client's; 429 has a type of its own. */
const RATE_LIMITED = 429;
const SERVER_ERRORS = 500;

/** A refusal: a status and a body `{ error: { message, type, param, code } }`. */
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

/** The refusal of a field of the body: `param: rule, got value; hint`. */
export function wrongField(param: string, rule: string, got?: unknown, hint?: string): ApiError {
  return new ApiError(400, new ConfigError(param, rule, shown(got), hint).message, { param });
}

/** A value from a body, short enough for a message. */
function shown(value: unknown): unknown {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : value;
}

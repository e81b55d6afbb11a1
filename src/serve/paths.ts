/** The routes of requests, and the correction of slightly wrong paths. It must not import HTTP. */
import { ApiError } from './api-error.js';

export const ROUTES = {
  models: '/v1/models',
  model: '/v1/models/:id',
  completions: '/v1/completions',
  chat: '/v1/chat/completions',
  tokenizerInfo: '/tokenizer_info',
  tokenize: '/tokenize',
  detokenize: '/detokenize',
  health: '/health',
  metrics: '/metrics',
} as const;

/** The method of a route. */
export function methodOf(name: keyof typeof ROUTES): 'GET' | 'POST' {
  return ['completions', 'chat', 'tokenize', 'detokenize'].includes(name) ? 'POST' : 'GET';
}

/** Whether a path may be a file of the page: `/`, or a name with an extension, which no route has. */
export function isPageFile(path: string): boolean {
  return /^\/([\w-]+(\.\w+)+)?$/.test(path);
}

/**
 * A path without doubled and trailing slashes, and with the `/v1` that some clients omit from the base address, or
 * repeat.
 */
export function routed(path: string): string {
  const plain = path.replace(/\/{2,}/g, '/').replace(/(.)\/$/, '$1');
  const once = plain.replace(/^(\/v1)+(?=\/)/, '/v1');
  return /^\/(completions|chat\/completions|models(\/.*)?)$/.test(once) ? `/v1${once}` : once;
}

/** The 404 for an unknown path, which names the right one. */
export function nowhere(method: string, path: string): ApiError {
  const hint = path.startsWith('/v1/responses')
    ? 'this server has no Responses API: use /v1/chat/completions'
    : `the base address ends in /v1, below which there are /chat/completions, /completions and /models`;
  return new ApiError(404, `${method} ${path.slice(0, 100)}: no such path; ${hint}`, { code: 'unknown_url' });
}

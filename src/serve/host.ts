/**
 * Whether a request was meant for this server. A page of another origin can let its own name point to this machine (DNS
 * rebinding); its requests then count as same-origin, and only the name in their Host header reveals them.
 */
import { ApiError } from './api-error.js';

const LOOPBACK = /^(127(\.\d+){3}|localhost|\[?::1\]?)$/;

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/**
 * The 403 for a request to a server on `listening`, if only this machine reaches that, by a name that is not this
 * machine's.
 */
export function requireOwnHost(listening: string, given: string | undefined): void {
  if (!isLoopback(listening) || given === undefined) return;
  const name = given.replace(/:\d*$/, '').toLowerCase();
  if (isLoopback(name) || name === listening) return;
  const rule = `host: must be this machine's own name, as localhost, got '${given.slice(0, 100)}'`;
  throw new ApiError(
    403,
    `${rule}; a proxy in front must send its Host header so, or the server listen by --host`,
    {
      code: 'wrong_host',
    },
  );
}

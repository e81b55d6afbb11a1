/** API keys, as bearer tokens. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { ConfigError } from '../errors.js';
import { ApiError } from './api-error.js';

/** A key is sent in a header, and a short key is easy to guess. */
const KEY = /^[\x21-\x7e]{8,512}$/;

export class ApiKeys {
  readonly #hashes: readonly Buffer[];

  /**
   * Without keys, access is open. Throws ConfigError for a key that no header can carry, or that is too short.
   *
   * @param where the source of the keys, for messages
   */
  constructor(keys: readonly string[], where: string) {
    for (const key of keys) {
      if (KEY.test(key)) continue;
      // The key itself is not shown: errors end up in logs.
      throw new ConfigError(where, 'must have 8 to 512 printable ASCII characters without spaces');
    }
    this.#hashes = keys.map(hash);
  }

  /** Whether access is open. */
  get open(): boolean {
    return this.#hashes.length === 0;
  }

  /** Throws the 401 unless the Authorization header has one of the keys; takes the same time for every wrong key. */
  check(authorization: string | undefined): void {
    if (this.open) return;
    const given = hash(/^Bearer +(.+)$/i.exec(authorization ?? '')?.[1] ?? '');
    // No early return at the first match.
    const matches = this.#hashes.filter((key) => timingSafeEqual(key, given));
    if (matches.length > 0) return;
    const message = authorization === undefined ? 'no API key was given' : 'the API key is wrong';
    throw new ApiError(401, `${message}: send it as 'Authorization: Bearer KEY'`, {
      code: 'invalid_api_key',
      headers: { 'www-authenticate': 'Bearer' },
    });
  }
}

function hash(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

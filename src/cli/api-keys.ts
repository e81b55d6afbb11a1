/** Keys of servers, from flags or the environment. */
import { ApiKeys } from '../serve/keys.js';

/** Where keys may be given without standing in the list of processes; several are separated by commas. */
export const KEY_VARIABLE = 'LOOPNN_API_KEY';

/** Those that were given as flags, or else the environment's. Throws ConfigError for one that no header can carry. */
export function keysFrom(flags: readonly string[] | undefined): ApiKeys {
  if (flags) return new ApiKeys(flags, '--api-key');
  const given = (process.env[KEY_VARIABLE] ?? '')
    .split(',')
    .map((key) => key.trim())
    .filter((key) => key !== '');
  return new ApiKeys(given, KEY_VARIABLE);
}

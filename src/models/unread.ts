/**
 * Settings without effect: valid fields that nothing reads in a configuration. A field that the user sets is rejected;
 * a stored configuration, which holds every field, may keep it.
 */
import { ConfigError } from '../errors.js';
import type { Fields } from '../fields.js';
import { applicationCount } from './config.js';
import { depthOf } from './depth/kinds.js';
import { type ModelConfig, modelFields } from './model-fields.js';

/** The value that an unread field must have, and what would make it read. */
export interface Unread {
  readonly rule: string;
  readonly hint: string;
}

/** The fields of a model that nothing reads in its configuration; a depth's `check` rejects some others. */
export function unreadModelFields(config: ModelConfig): Partial<Record<keyof ModelConfig, Unread>> {
  const unread: Partial<Record<keyof ModelConfig, Unread>> = {};
  const leave = (names: readonly (keyof ModelConfig)[], why: string, hint: string) => {
    for (const name of names)
      unread[name] = { rule: `must be ${modelFields[name].default} where ${why}`, hint };
  };
  if (!depthOf(config).hasGates(config)) {
    const hint = 'set depth to loop, and nLoop or nInnerLoop above 1';
    leave(['loopForm', 'gate', 'gateInit'], 'the model has no gates', hint);
  }
  if (applicationCount(config) === config.nLayer) {
    leave(['residualInit'], 'every layer is applied once', 'raise nLoop');
  }
  if (config.nLoop === 1) leave(['nPrelude', 'nCoda'], 'nLoop is 1', 'raise nLoop');
  if (config.positions === 'learned') leave(['ropeTheta'], 'positions is learned', 'set positions to rotary');
  return unread;
}

/**
 * Throws ConfigError when a given field differs from its default and no configuration reads it; `unread` has each
 * configuration's unread fields.
 */
export function requireRead(
  given: Readonly<Record<string, unknown>>,
  fields: Fields,
  unread: readonly Readonly<Record<string, Unread | undefined>>[],
  where: string,
): void {
  for (const [name, value] of Object.entries(given)) {
    const first = unread[0]?.[name];
    if (value === undefined || value === fields[name].default || !first) continue;
    if (unread.every((fields) => fields[name])) {
      throw new ConfigError(`${where}.${name}`, first.rule, value, first.hint);
    }
  }
}

/** The preset files that come with the package. Knows where they lie, not what is in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { ConfigError } from '../errors.js';
import { unknownName } from '../fields.js';

const FOLDER = new URL('../../../presets/', import.meta.url);
const ENDING = '.json';

/** Names of all presets, sorted. */
export function presetNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(ENDING))
    .map((file) => file.slice(0, -ENDING.length))
    .sort();
}

/** A preset's content, before it is checked. Throws ConfigError for an unknown name, suggesting the nearest. */
export function readPreset(name: string): unknown {
  if (!presetNames().includes(name)) throw unknownName('preset', 'name', name, presetNames());
  return readConfigFile(new URL(name + ENDING, FOLDER), `preset ${name}`);
}

/** The content of a configuration file. Throws ConfigError when it cannot be read or is not JSON. */
export function readConfigFile(path: string | URL, where = String(path)): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(
      where,
      `must be a readable file (${error instanceof Error ? error.message : error})`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigError(where, `must be JSON (${error instanceof Error ? error.message : error})`);
  }
}

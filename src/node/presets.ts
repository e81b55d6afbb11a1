/** The package's files to copy and edit: presets and suites. It must not interpret their content. */
import { readdirSync, readFileSync } from 'node:fs';
import { ConfigError } from '../errors.js';
import { unknownName } from '../fields.js';

const FOLDERS = {
  preset: new URL('../../../presets/', import.meta.url),
  suite: new URL('../../../presets/suites/', import.meta.url),
};
const ENDING = '.json';

/** A configuration of one run, or a comparison of several. */
export type PresetKind = keyof typeof FOLDERS;

/** Names of all that come with the package, sorted. */
export function presetNames(kind: PresetKind = 'preset'): string[] {
  return readdirSync(FOLDERS[kind])
    .filter((file) => file.endsWith(ENDING))
    .map((file) => file.slice(0, -ENDING.length))
    .sort();
}

/**
 * A preset's content, before it is checked. Throws ConfigError for an unknown name, suggesting the nearest.
 *
 * @param where what named it
 */
export function readPreset(name: string, kind: PresetKind = 'preset', where: string = kind): unknown {
  const known = presetNames(kind);
  if (!known.includes(name)) throw unknownName(where, kind === where ? 'name' : kind, name, known);
  return readConfigFile(new URL(name + ENDING, FOLDERS[kind]), `${kind} ${name}`);
}

/** Whether a text names the user's own file, not a preset of the package. */
export function namesFile(text: string): boolean {
  return text.endsWith(ENDING) || /[/\\]/.test(text);
}

/** The content of a configuration file. Throws ConfigError if it cannot be read or is not JSON. */
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

/** Reading the parts of a suite's file: objects of known fields, lists, texts, numbers. Throws ConfigError by field. */
import { ConfigError } from '../errors.js';
import { type Fields as FieldTable, parseFields, unknownName } from '../fields.js';
import type { Fields } from './suites.js';

/** Given fields of a table, each by itself within its range; whether they go together is seen with all of them. */
export function fieldsOf(entry: unknown, table: FieldTable, where: string): Fields {
  if (entry === undefined) return {};
  parseFields(table, entry, where);
  return entry as Fields;
}

/** An object without any other fields than the known ones. */
export function section(entry: unknown, where: string, known: readonly string[]): Fields {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    const found = entry === undefined ? 'nothing' : Array.isArray(entry) ? 'a list' : String(entry);
    throw new ConfigError(where, `must be an object with ${known.join(', ')}`, found);
  }
  for (const key of Object.keys(entry))
    if (!known.includes(key)) throw unknownName(where, 'field', key, known);
  return entry as Fields;
}

export function list(entry: unknown, where: string): readonly unknown[] {
  if (Array.isArray(entry) && entry.length > 0) return entry;
  throw new ConfigError(where, 'must be a list with an entry at least', describe(entry));
}

export function text(entry: unknown, where: string, empty = false): string {
  if (typeof entry === 'string' && (empty || entry !== '')) return entry;
  throw new ConfigError(where, 'must be a text', describe(entry));
}

/** A text that can name a folder. */
export function nameOf(entry: unknown, where: string): string {
  const name = text(entry, where);
  if (/^\w[\w.-]*$/.test(name)) return name;
  throw new ConfigError(where, 'must be letters, digits, dots, dashes and underscores', name);
}

/** A number above 0. */
export function positive(entry: unknown, where: string, whole = false): number {
  const right = typeof entry === 'number' && Number.isFinite(entry) && entry > 0;
  if (right && (!whole || Number.isInteger(entry))) return entry;
  throw new ConfigError(where, `must be a ${whole ? 'whole ' : ''}number above 0`, describe(entry));
}

function describe(entry: unknown): unknown {
  if (entry === undefined) return 'nothing';
  return typeof entry === 'object' ? JSON.stringify(entry) : entry;
}

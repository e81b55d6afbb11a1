/** The settings of one part of a tokenizer.json. */
import { DataError } from '../../errors.js';

/** An object of the file, read field by field. Each reader throws DataError if a field is not what it must be. */
export class Settings {
  readonly #fields: Record<string, unknown>;

  /** @param where the file and the object's place in it, for messages */
  constructor(
    value: unknown,
    readonly where: string,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DataError(where, 'must be an object', value === null ? 'null' : typeof value);
    }
    this.#fields = value as Record<string, unknown>;
  }

  /** The field, null if it is absent. */
  value(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : null;
  }

  /** A text that is one of `names`. */
  name<Name extends string>(field: string, names: readonly Name[], absent?: Name): Name {
    const value = this.value(field) ?? absent;
    if (names.includes(value as Name)) return value as Name;
    return this.refuse(field, `must be one of ${names.join(', ')}`);
  }

  text(field: string, absent?: string): string {
    const value = this.value(field) ?? absent;
    return typeof value === 'string' ? value : this.refuse(field, 'must be a text');
  }

  /** A text of one character. */
  character(field: string, absent?: string): string {
    const value = this.text(field, absent);
    return Array.from(value).length === 1 ? value : this.refuse(field, 'must be one character');
  }

  flag(field: string, absent?: boolean): boolean {
    const value = this.value(field) ?? absent;
    return typeof value === 'boolean' ? value : this.refuse(field, 'must be true or false');
  }

  /** A whole number. */
  count(field: string, least: number, absent?: number): number {
    const value = this.value(field) ?? absent;
    if (Number.isSafeInteger(value) && (value as number) >= least) return value as number;
    return this.refuse(field, `must be a whole number from ${least}`);
  }

  list(field: string): readonly unknown[] {
    const value = this.value(field);
    return Array.isArray(value) ? value : this.refuse(field, 'must be a list');
  }

  /** The objects of a list. */
  parts(field: string): Settings[] {
    return this.list(field).map((value, i) => new Settings(value, `${this.where}.${field}[${i}]`));
  }

  part(field: string): Settings {
    return new Settings(this.value(field), `${this.where}.${field}`);
  }

  refuse(field: string, rule: string): never {
    const value = this.value(field);
    const got = typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value);
    throw new DataError(`${this.where}.${field}`, rule, got);
  }
}

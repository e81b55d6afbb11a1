/**
 * Reads the fields of a request's body. A field that is null counts as absent, as in OpenAI's API; unknown fields are
 * ignored. Every getter throws the 400 that names the field.
 */
import { wrongField } from './api-error.js';

/** Bounds of a number, both included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;

  /**
   * @param value the value that should be an object
   * @param path its path in the body; '' for the body itself
   */
  constructor(
    value: unknown,
    readonly path = '',
  ) {
    if (!isObject(value)) throw wrongField(path || 'body', 'must be a JSON object', value);
    this.#values = value;
  }

  /** A field's name from the top of the body. */
  name(field: string): string {
    return this.path === '' ? field : `${this.path}.${field}`;
  }

  /** The field as it came; undefined if absent. */
  raw(field: string): unknown {
    return Object.hasOwn(this.#values, field) ? (this.#values[field] ?? undefined) : undefined;
  }

  number(field: string, { min, max }: Range): number | undefined {
    return this.#check(
      field,
      `a number from ${min} to ${max}`,
      (value): value is number => typeof value === 'number' && value >= min && value <= max,
    );
  }

  whole(field: string, { min, max }: Range): number | undefined {
    const bounded = min < 0 || max < Number.MAX_SAFE_INTEGER;
    const range = bounded ? `from ${min} to ${max}` : `of at least ${min}`;
    return this.#check(
      field,
      `a whole number ${range}`,
      (value): value is number => Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max,
    );
  }

  boolean(field: string): boolean | undefined {
    return this.#check(field, 'true or false', (value) => typeof value === 'boolean');
  }

  text(field: string): string | undefined {
    return this.#check(field, 'a text', (value) => typeof value === 'string');
  }

  /** A required text. */
  requiredText(field: string): string {
    const value = this.text(field);
    if (value === undefined) throw wrongField(this.name(field), 'must be given');
    return value;
  }

  /** A nested object. */
  object(field: string): Fields | undefined {
    const value = this.raw(field);
    return value === undefined ? undefined : new Fields(value, this.name(field));
  }

  entries(): [string, unknown][] {
    return Object.entries(this.#values);
  }

  /**
   * Throws unless the field is absent or one of the values that mean the same, because the feature is not supported.
   */
  unsupported(field: string, rule: string, ...harmless: readonly unknown[]): void {
    const value = this.raw(field);
    if (value === undefined || harmless.includes(value)) return;
    throw wrongField(this.name(field), rule, value);
  }

  #check<Value>(field: string, kind: string, fits: (value: unknown) => value is Value): Value | undefined {
    const value = this.raw(field);
    if (value === undefined || fits(value)) return value;
    throw wrongField(this.name(field), `must be ${kind}`, value);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

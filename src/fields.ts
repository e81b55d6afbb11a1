/**
 * Typed configuration fields: one table per configuration says each field's kind, range, default and meaning; the
 * parser, the error messages and the command-line flags all come from it. It must not know particular configurations.
 */
import { ConfigError } from './errors.js';

interface FieldBase {
  /** Its meaning, in one line, for `--help`. */
  readonly help: string;
  /** Its default, for `--help`, if that follows other fields. */
  readonly follows?: string;
}
interface IntField extends FieldBase {
  readonly kind: 'int';
  readonly default: number;
  readonly min: number;
  readonly max?: number;
}
interface NumberField extends FieldBase {
  readonly kind: 'number';
  readonly default: number;
  readonly min: number;
  /** The range is [min, below). */
  readonly below?: number;
}
interface BooleanField extends FieldBase {
  readonly kind: 'boolean';
  readonly default: boolean;
}
interface ChoiceField<Choice extends string = string> extends FieldBase {
  readonly kind: 'choice';
  readonly default: Choice;
  readonly choices: readonly Choice[];
}
/** A number, or one of a few words. */
interface NumberOrWordField<Word extends string = string> extends FieldBase {
  readonly kind: 'numberOrWord';
  readonly default: number | Word;
  readonly words: readonly Word[];
  readonly whole?: boolean;
  readonly min?: number;
}

export type Field = IntField | NumberField | BooleanField | ChoiceField | NumberOrWordField;
export type Fields = Readonly<Record<string, Field>>;

type Value<F extends Field> =
  F extends ChoiceField<infer Choice>
    ? Choice
    : F extends NumberOrWordField<infer Word>
      ? number | Word
      : F extends BooleanField
        ? boolean
        : number;

/** The configuration that a table of fields describes. */
export type ConfigOf<F extends Fields> = { readonly [Name in keyof F]: Value<F[Name]> };

/**
 * Checks a plain object against a table of fields and fills the defaults in. Throws ConfigError for an unknown key
 * (naming the nearest known one), a wrong type, or a value outside its range.
 */
export function parseFields<F extends Fields>(fields: F, input: unknown, where: string): ConfigOf<F> {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new ConfigError(where, 'must be an object of fields', input === null ? 'null' : typeof input);
  }
  for (const key of Object.keys(input)) {
    if (!Object.hasOwn(fields, key)) throw unknownName(where, 'field', key, Object.keys(fields));
  }
  const given = input as Record<string, unknown>;
  const entries = Object.entries(fields).map(([name, field]) => {
    const value = given[name];
    return [name, value === undefined ? field.default : checkField(field, value, `${where}.${name}`)];
  });
  return Object.fromEntries(entries) as ConfigOf<F>;
}

/** Reads a field from the text of a command-line flag. Throws ConfigError when it does not fit. */
export function parseFieldText(field: Field, text: string, where: string): number | boolean | string {
  const asNumber = text.trim() === '' ? Number.NaN : Number(text);
  if (field.kind === 'boolean') {
    if (text !== 'true' && text !== 'false') throw new ConfigError(where, 'must be true or false', text);
    return text === 'true';
  }
  if (field.kind === 'choice') return checkField(field, text, where);
  return checkField(field, Number.isNaN(asNumber) ? text : asNumber, where);
}

function checkField<F extends Field>(field: F, value: unknown, where: string): number | boolean | string {
  switch (field.kind) {
    case 'int': {
      const { min, max = Number.MAX_SAFE_INTEGER } = field;
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
      const range = field.max === undefined ? `of at least ${min}` : `between ${min} and ${max}`;
      throw new ConfigError(where, `must be a whole number ${range}`, value);
    }
    case 'number': {
      const { min, below = Number.POSITIVE_INFINITY } = field;
      if (typeof value === 'number' && value >= min && value < below) return value;
      const range = field.below === undefined ? `of at least ${min}` : `in [${min}, ${below})`;
      throw new ConfigError(where, `must be a number ${range}`, value);
    }
    case 'boolean':
      if (typeof value === 'boolean') return value;
      throw new ConfigError(where, 'must be true or false', value);
    case 'choice':
      if (typeof value === 'string' && field.choices.includes(value)) return value;
      throw new ConfigError(where, `must be one of ${field.choices.join(', ')}`, value);
    case 'numberOrWord': {
      const { min, whole = false, words } = field;
      const fits = whole ? Number.isInteger : Number.isFinite;
      if (typeof value === 'number' && fits(value) && value >= (min ?? value)) return value;
      if (typeof value === 'string' && words.includes(value)) return value;
      const number = `${whole ? 'whole ' : ''}number${min === undefined ? '' : ` of at least ${min}`}`;
      throw new ConfigError(
        where,
        `must be a ${number} or ${words.map((w) => `'${w}'`).join(' or ')}`,
        value,
      );
    }
  }
}

/** Every name of an object of options, which the compiler holds complete. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: unknown };

/** Throws ConfigError if options have a name that does not exist, with the nearest one that does. */
export function requireOptionNames<Options extends object>(
  where: string,
  options: Options,
  names: OptionNames<Options>,
): void {
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(names, name)) throw unknownName(where, 'option', name, Object.keys(names));
  }
}

/** gradAccumSteps → grad-accum-steps, as a flag is written. */
export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The error for a name that does not exist, with the nearest one that does. */
export function unknownName(
  where: string,
  what: string,
  name: string,
  known: readonly string[],
): ConfigError {
  const near = nearest(name, known);
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean '${near}'?`;
  return new ConfigError(where, `unknown ${what}`, name, hint);
}

/**
 * The known name with the fewest edits to `name`, if that is at most a third of its length and at least two edits are
 * allowed.
 */
function nearest(name: string, known: readonly string[]): string | undefined {
  const limit = Math.max(2, Math.floor(name.length / 3));
  const ranked = known.map((candidate) => ({ candidate, edits: editDistance(name, candidate) }));
  ranked.sort((a, b) => a.edits - b.edits);
  return ranked[0] && ranked[0].edits <= limit ? ranked[0].candidate : undefined;
}

/** Insertions, deletions and substitutions between two names, ignoring case (Levenshtein 1966). */
function editDistance(a: string, b: string): number {
  const [from, to] = [a.toLowerCase(), b.toLowerCase()];
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const substitution = row[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1);
      next[j] = Math.min(substitution, row[j] + 1, next[j - 1] + 1);
    }
    row = next;
  }
  return row[to.length];
}

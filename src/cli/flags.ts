/** Command-line flags made from tables of configuration fields, and the parsing of a few common values. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { LoopnnError } from '../errors.js';
import { type Field, type Fields, kebab, parseFieldText } from '../fields.js';

/** Adds one flag for each field, under a heading of the help. */
export function addFields(command: Command, fields: Fields, heading: string): Command {
  for (const [name, field] of Object.entries(fields)) {
    const option = new Option(
      `--${kebab(name)} <${valueName(field)}>`,
      `${field.help} (default: ${field.follows ?? field.default})`,
    );
    // In commander's format for other flags; parseFieldText checks them.
    if (field.kind === 'choice') option.argChoices = [...field.choices];

    option.argParser(usage((text: string) => parseFieldText(field, text, `--${kebab(name)}`)));
    option.helpGroup(heading);
    command.addOption(option);
  }
  return command;
}

/** The fields that were given as flags. */
export function givenFields(options: Record<string, unknown>, fields: Fields): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(fields)
      .filter((name) => options[name] !== undefined)
      .map((name) => [name, options[name]]),
  );
}

/** A whole number of at least `least` and at most `most`. */
export function wholeNumber(least: number, most = Number.POSITIVE_INFINITY): (text: string) => number {
  return usage((text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    const range = most === Number.POSITIVE_INFINITY ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  });
}

/** A number. */
export function anyNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

/** A text of one character or more. */
export function notEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

/** The values of a flag that may be given several times. */
export function several(text: string, former: readonly string[] = []): string[] {
  return [...former, text];
}

/** Names, separated by commas. */
export function names(text: string): string[] {
  return text.split(',').map((name) => notEmpty(name.trim()));
}

/** Whole numbers of at least 1, separated by commas. */
export function wholeNumbers(text: string): number[] {
  return text.split(',').map(wholeNumber(1));
}

/** Turns our errors into commander's, so that a wrong flag is a wrong usage. */
function usage<Result>(parse: (text: string) => Result): (text: string) => Result {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (error instanceof LoopnnError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

function valueName(field: Field): string {
  if (field.kind === 'choice') return 'name';
  if (field.kind === 'numberOrWord') return ['number', ...field.words].join('|');
  return { int: 'n', number: 'number', boolean: 'true|false' }[field.kind];
}

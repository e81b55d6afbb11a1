/**
 * The error classes of loopnn. Every message reads `where: rule, got value; hint`, so that a user learns
 * which argument or file is meant, what was expected, what was found and what to try.
 */
import { onOneLine } from './printable.js';

/** An error that is the caller's to mend; the command line prints its message on one line, without a stack. */
export class LoopnnError extends Error {
  /**
   * @param where the argument, field, file or tensor that is wrong
   * @param rule what was expected of it
   * @param got the value found (omit it if there is none to show)
   * @param hint what the user can do about it
   */
  constructor(where: string, rule: string, got?: unknown, hint?: string) {
    const found = got === undefined ? '' : `, got ${format(got)}`;
    const parts = [`${where}: `, rule, found, hint === undefined ? '' : `; ${hint}`];
    super(parts.map(readable).join(''));
    this.name = new.target.name;
  }
}

/** A tensor or buffer has the wrong shape or length. */
export class ShapeError extends LoopnnError {}
/** A configuration or command-line value is impossible, unknown or contradictory. */
export class ConfigError extends LoopnnError {}
/** A corpus, token shard or tokenizer is missing, damaged or does not fit the model. */
export class DataError extends LoopnnError {}
/** A checkpoint is missing, damaged, or does not fit the model. */
export class CheckpointError extends LoopnnError {}
/** The file system refused to write a file, or to give one. */
export class FileError extends LoopnnError {
  /** @param cause what the system said */
  constructor(
    readonly file: string,
    rule: string,
    hint: string | undefined,
    override readonly cause: Error,
  ) {
    super(file, rule, undefined, hint);
  }
}
/** A folder is in use by another process, or no longer this one's while it works there. */
export class LockError extends LoopnnError {}
/** An engine is missing, does not fit this machine, ran out of memory, or refused its arguments. */
export class BackendError extends LoopnnError {}
/** A GPU was lost, ran out of memory or failed at its work: the backend that it belongs to computes nothing more. */
export class DeviceError extends BackendError {}

function format(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return `(${value.join(', ')})`;
  return String(value);
}

/** Characters of each part of a message; names and values from a damaged file may be of any length. */
const LONGEST_PART = 1000;

/** A part of a message on one line, without characters that steer a terminal, and cut to a readable length. */
function readable(part: string): string {
  return onOneLine(part.length > LONGEST_PART ? `${part.slice(0, LONGEST_PART)}…` : part);
}

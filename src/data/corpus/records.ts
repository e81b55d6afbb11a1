/**
 * What files of records in JSON and CSV have in common: the text of one field is a document, and a record without that
 * field is skipped and counted. This file must not handle file formats.
 *
 * A pass stops when there are too many broken records: a few are no reason to lose a corpus, but many mean that
 * something else is wrong.
 */
import { isUtf8 } from 'node:buffer';
import { DataError } from '../../errors.js';
import { piecesOf } from './text.js';
import { BROKEN_SHOWN, type FieldOptions, noteNull, type TextDocument, type TextWarnings } from './source.js';

/** Most bytes of one record, so that memory is bounded; a longer record is not read. */
export const LONGEST_RECORD = 1 << 27;
/** Most fields that a message lists. */
const FIELDS_SHOWN = 8;

/** The remedy for records without the field. */
export const OTHER_FIELD =
  'loopnn prepare reads another field with --field, and files as plain text with --as text';

/** Makes documents of one file's records. */
export class Records {
  /** Whether there was a record, broken or not. */
  #any = false;

  constructor(
    private readonly path: string,
    private readonly options: FieldOptions,
    private readonly warnings: TextWarnings,
  ) {}

  /**
   * The document of a record in JSON; undefined if the record is broken, or its text is null.
   *
   * @param place where the record is, such as 'line 3'
   * @throws DataError for too many broken records, or if the first record is an object without the field
   */
  fromJSON(place: string, bytes: Uint8Array): TextDocument | undefined {
    const { field } = this.options;
    const first = !this.#any;
    this.#any = true;
    const value = parsed(bytes);
    if (value === undefined) return this.broken(place, 'not JSON');
    if (!isRecord(value)) return this.broken(place, 'not an object');
    if (!Object.hasOwn(value, field)) {
      if (first) throw this.#missing(place, textFields(value));
      return this.broken(place, `no field '${field}'`);
    }
    const text = value[field];
    if (text === null) {
      noteNull(this.warnings, `${this.path}, ${place}`);
      return undefined;
    }
    if (typeof text !== 'string') return this.broken(place, `field '${field}' is not a string`);
    return this.document(place, text, isUtf8(bytes));
  }

  /** The document of a text; `valid` says whether it was UTF-8. */
  document(place: string, text: string, valid: boolean): TextDocument {
    if (!valid) this.warnings.invalidUtf8++;
    return {
      name: `${this.path}, ${place}`,
      size: Buffer.byteLength(text),
      pieces: () => piecesOf(text),
    };
  }

  /** Counts a broken record; throws DataError if there are too many. */
  broken(place: string, reason: string): undefined {
    const { path, warnings } = this;
    const { maxBroken } = this.options;
    this.#any = true;
    warnings.broken++;
    if (warnings.brokenAt.length < BROKEN_SHOWN) warnings.brokenAt.push(`${path}, ${place} (${reason})`);
    if (warnings.broken <= maxBroken) return undefined;
    const more = warnings.broken > warnings.brokenAt.length ? '; …' : '';
    throw new DataError(
      path,
      `must have at most ${maxBroken} broken records in all files`,
      `${warnings.brokenAt.join('; ')}${more}`,
      'fix them, or allow more with --max-broken',
    );
  }

  /** The error for a first record without the field: the user probably meant another field. */
  #missing(place: string, names: readonly string[]): DataError {
    const got = names.length > 0 ? `the text fields ${names.join(', ')}` : 'no text field';
    const where = `${this.path}, ${place}`;
    return new DataError(where, `must have the field '${this.options.field}'`, got, OTHER_FIELD);
  }
}

/** The value of a text in JSON; undefined if it is no JSON. */
export function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(textOfBytes(bytes).trim());
  } catch {
    return undefined;
  }
}

/** Whether bytes are white space only. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}

/** Bytes as text; what is not UTF-8 becomes U+FFFD. */
export function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** Whether a JSON value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textFields(record: Record<string, unknown>): string[] {
  const names = Object.keys(record).filter((name) => typeof record[name] === 'string');
  return names.slice(0, FIELDS_SHOWN);
}

/**
 * JSON that is not a record a line: an array of records, at the top of a file or in one field of its object, or records
 * over several lines that follow each other. It finds records; `records.ts` interprets them.
 *
 * A record that is no JSON is broken, as a line is in JSON Lines. Where brackets or quotes are not closed, the
 * beginning of the next record is unknown, so the file is refused.
 */
import { DataError } from '../../errors.js';
import { type Cut, JsonSplitter } from './json-splitter.js';
import { type Packing, readChunks } from './packing.js';
import { isBlank, isRecord, LONGEST_RECORD, parsed, Records } from './records.js';
import type { FieldOptions, TextDocument, TextWarnings } from './source.js';

/** How a file lays out its records. */
export interface JsonLayout {
  readonly cut: Cut;
  /** Bytes before the first record, or before the bracket of the array. */
  readonly start: number;
  /** The field that holds the array; undefined if the array is the whole file. */
  readonly within?: string;
}

const UNCLOSED = 'a bracket or a quote is not closed, or the file is cut off';

/** The documents of a file, in the layout that its beginning shows; throws DataError. */
export async function* jsonDocuments(
  path: string,
  packing: Packing,
  layout: JsonLayout,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const records = new Records(path, options, warnings);
  const splitter = new JsonSplitter(layout.cut);
  const after: Uint8Array[] = [];
  let afterBytes = 0;
  let number = 1;
  let skip = layout.start;
  for await (const chunk of readChunks(path, packing, warnings)) {
    let bytes = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - bytes.length;
    if (splitter.closedAt < 0) {
      for (const value of splitter.push(bytes)) {
        const document = records.fromJSON(`record ${number}`, value);
        number++;
        if (document !== undefined) yield document;
      }
      if (splitter.heldBytes > LONGEST_RECORD) {
        const rule = `must have at most ${LONGEST_RECORD} bytes`;
        throw new DataError(`${path}, record ${number}`, rule, 'more', UNCLOSED);
      }
      if (splitter.closedAt < 0) continue;
      bytes = bytes.subarray(splitter.closedAt);
    }
    if (after.length === 0 && isBlank(bytes)) continue;
    after.push(bytes);
    afterBytes += bytes.length;
    if (afterBytes > LONGEST_RECORD) break;
  }
  const closed = layout.cut === 'members' ? splitter.closedAt >= 0 : splitter.heldBytes === 0;
  if (!closed) {
    throw new DataError(`${path}, record ${number}`, 'must end in the file', 'the end of the file', UNCLOSED);
  }
  checkRest(path, layout, Buffer.concat(after), options.field);
}

/**
 * Checks what follows the array of records: nothing for an array that is the whole file, else fields of its object that
 * hold no records with the field.
 */
function checkRest(path: string, { cut, within }: JsonLayout, rest: Uint8Array, field: string): void {
  if (cut === 'values') return;
  if (within === undefined) {
    if (!isBlank(rest)) throw new DataError(path, 'must end with its array of records', 'more after it');
    return;
  }
  const object = parsed(Buffer.concat([Buffer.from('{"":0'), rest]));
  if (!isRecord(object)) {
    throw new DataError(path, `must be JSON after the records of '${within}'`, 'something else', UNCLOSED);
  }
  const others = Object.keys(object).filter((key) => {
    const value = object[key];
    return Array.isArray(value) && isRecord(value[0]) && Object.hasOwn(value[0], field);
  });
  if (others.length > 0) throw severalArrays(path, [within, ...others]);
}

/** The error for several fields that hold records, such as train and validation: only the user can choose one. */
export function severalArrays(path: string, fields: readonly string[]): DataError {
  const hint =
    `jq -c '.["${fields[0]}"][]' writes the records of one field as JSON Lines; ` +
    'loopnn prepare --as text reads the file as plain text';
  return new DataError(path, 'must have its records in one field', fields.join(', '), hint);
}

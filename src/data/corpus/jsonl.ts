/** JSON Lines: a record in JSON on each line. `records.ts` interprets the records. */
import { type Packing, readChunks } from './packing.js';
import { isBlank, LONGEST_RECORD, Records } from './records.js';
import type { FieldOptions, TextDocument, TextWarnings } from './source.js';

const NEWLINE = 0x0a;

/** The documents of a file; throws DataError for too many broken lines, or a first line without the field. */
export async function* jsonlDocuments(
  path: string,
  packing: Packing,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const records = new Records(path, options, warnings);
  for await (const { number, bytes } of lines(path, packing, warnings)) {
    if (bytes !== null && isBlank(bytes)) continue;
    const place = `line ${number}`;
    const document =
      bytes === null
        ? records.broken(place, `longer than ${LONGEST_RECORD} bytes`)
        : records.fromJSON(place, bytes);
    if (document !== undefined) yield document;
  }
}

/**
 * The lines of a file without their ends, numbered from 1; the bytes are null for a line that is too long. A byte order
 * mark is dropped.
 */
async function* lines(
  path: string,
  packing: Packing,
  warnings: TextWarnings,
): AsyncGenerator<{ number: number; bytes: Uint8Array | null }> {
  let number = 1;
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let tooLong = false;
  const take = (last: Uint8Array): Uint8Array | null => {
    const whole = tooLong ? null : held.length === 0 ? last : Buffer.concat([...held, last]);
    held = [];
    heldBytes = 0;
    tooLong = false;
    const marked = number === 1 && whole?.[0] === 0xef && whole[1] === 0xbb && whole[2] === 0xbf;
    return marked ? whole.subarray(3) : whole;
  };
  for await (const chunk of readChunks(path, packing, warnings)) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      yield { number, bytes: take(chunk.subarray(start, end)) };
      number++;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    heldBytes += chunk.length - start;
    if (heldBytes > LONGEST_RECORD) {
      tooLong = true;
      held = [];
    } else if (!tooLong) held.push(chunk.subarray(start));
  }
  if (held.length > 0 || tooLong) yield { number, bytes: take(new Uint8Array(0)) };
}

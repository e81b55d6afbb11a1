/**
 * JSONL: a JSON object a line, one field of it the document. Knows lines and fields; knows no tokens.
 *
 * A line that gives no text is left out and counted, and when there are too many the pass stops: a few damaged
 * lines are no reason to lose a corpus, many mean that something else is wrong.
 */
import { isUtf8 } from 'node:buffer';
import { DataError } from '../errors.js';
import { type Packing, readChunks } from './packing.js';
import { BROKEN_SHOWN, type FieldOptions, type TextDocument, type TextWarnings } from './source.js';

/** Bytes of a line above which it counts as broken, so that memory is bounded. */
export const LONGEST_LINE = 1 << 27;

const NEWLINE = 0x0a;

/** The documents of a JSONL file; throws DataError for too many broken lines, or a first line without the field. */
export async function* jsonlDocuments(
  path: string,
  packing: Packing,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const { field, maxBroken } = options;
  let any = false;
  for await (const { number, bytes } of lines(path, packing)) {
    const found = bytes === null ? `longer than ${LONGEST_LINE} bytes` : textOf(bytes, field);
    if (found === undefined) continue;
    if (typeof found !== 'string') {
      any = true;
      if (!found.valid) warnings.invalidUtf8++;
      const { text } = found;
      yield {
        name: `${path}, line ${number}`,
        size: Buffer.byteLength(text),
        async *pieces() {
          if (text !== '') yield text;
        },
      };
      continue;
    }
    if (!any && number === 1 && bytes !== null) checkFields(path, field, bytes);
    warnings.broken++;
    if (warnings.brokenAt.length < BROKEN_SHOWN) warnings.brokenAt.push(`${path}, line ${number} (${found})`);
    if (warnings.broken > maxBroken) {
      const more = warnings.broken > warnings.brokenAt.length ? '; …' : '';
      throw new DataError(
        path,
        `must have at most ${maxBroken} broken lines in all files`,
        `${warnings.brokenAt.join('; ')}${more}`,
        'mend them, or allow more with --max-broken',
      );
    }
  }
}

/** The text of a line, or why it has none; undefined for a blank line. */
function textOf(bytes: Uint8Array, field: string): { text: string; valid: boolean } | string | undefined {
  const line = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8').trim();
  if (line === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'no JSON';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'no object';
  if (!Object.hasOwn(value, field)) return `no field '${field}'`;
  const text = (value as Record<string, unknown>)[field];
  return typeof text === 'string' ? { text, valid: isUtf8(bytes) } : `field '${field}' is no string`;
}

/** A first line that is an object without the field means that another field was meant. */
function checkFields(path: string, field: string, bytes: Uint8Array): void {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return;
  }
  if (typeof value !== 'object' || value === null || Object.hasOwn(value, field)) return;
  const fields = Object.entries(value).filter(([, content]) => typeof content === 'string');
  const names = fields.map(([name]) => name).slice(0, 8);
  throw new DataError(
    `${path}, line 1`,
    `must have the field '${field}'`,
    names.length > 0 ? `the text fields ${names.join(', ')}` : 'no text field',
    'loopnn prepare takes another with --field',
  );
}

/** The lines of a file without their ends, numbered from 1; null for one that is too long. A byte order mark is dropped. */
async function* lines(
  path: string,
  packing: Packing,
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
  for await (const chunk of readChunks(path, packing)) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      yield { number, bytes: take(chunk.subarray(start, end)) };
      number++;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    heldBytes += chunk.length - start;
    if (heldBytes > LONGEST_LINE) {
      tooLong = true;
      held = [];
    } else if (!tooLong) held.push(chunk.subarray(start));
  }
  if (held.length > 0 || tooLong) yield { number, bytes: take(new Uint8Array(0)) };
}

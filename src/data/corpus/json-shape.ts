/**
 * Judges from the beginning of a file whether it is JSON with records, and how these are laid out. Reads no files.
 *
 * Code, prose and markup may begin with a brace or a bracket too. Parsing the values that are whole distinguishes them
 * from JSON. JSON without records is a configuration, which is text like any other file of code, unless a string in it
 * is so long that it may be meant as training text.
 */
import { DataError } from '../../errors.js';
import { type JsonLayout, severalArrays } from './json.js';
import { JsonSplitter } from './json-splitter.js';
import { type Head, unpackedName } from './packing.js';
import { isBlank, isRecord, parsed } from './records.js';

/** One record a line, records in another layout, JSON without records, or why JSON cannot be read. */
export type JsonShape =
  | { readonly kind: 'jsonl' | 'text' }
  | { readonly kind: 'json'; readonly layout: JsonLayout }
  | { readonly kind: 'refused'; readonly error: DataError };

/** A string that is longer than a configuration is likely to have. */
const LONG_STRING = /^"(?:[^"\\\n]|\\.){256}/;
/** Least share of an object's bytes in arrays of records for the object to hold records, and not a configuration. */
const MOST_OF_IT = 0.5;
/** Bytes at the beginning of a value by which it is judged. */
const LOOK_BYTES = 4096;

const NEWLINE = 0x0a;
const BRACE = 0x7b;
const BRACKET = 0x5b;

/**
 * Judges the beginning of a file, whose records have the field `field`. Null if the file is no JSON. A file is refused
 * if it must be meant as JSON but cannot be read, or holds prose but no records.
 */
export function jsonShape(head: Head, field: string): JsonShape | null {
  const start = firstByte(head.bytes);
  const first = head.bytes[start];
  if (first === BRACKET) return arrayShape(head, start, field) ?? linesShape(head, field);
  const lines = linesShape(head, field);
  if (lines !== null) return lines;
  if (first === BRACE) return objectShape(head, start, field);
  // In a file with any other name, a quoted string is a text.
  return /\.json$/i.test(unpackedName(head.path)) ? stringShape(head, start, field) : null;
}

/** The offset of the first byte that is neither white space nor a byte order mark. */
function firstByte(bytes: Uint8Array): number {
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  while (at < bytes.length && isBlank(bytes.subarray(at, at + 1))) at++;
  return at;
}

/** Bytes as one character each, for patterns in ASCII. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Whether bytes begin as an object in JSON does. */
function opensRecord(bytes: Uint8Array): boolean {
  const look = latin1(bytes.subarray(0, LOOK_BYTES));
  return /^\{\s*"[^"\\\n]*(?:\\.[^"\\\n]*)*"\s*:\s*["[{\d.tfnN-]/.test(look);
}

/** A file named JSON that begins with neither a bracket nor a brace. */
function stringShape(head: Head, start: number, field: string): JsonShape | null {
  const bytes = head.bytes.subarray(start);
  if (/^"[^"\\]*(?:\\.[^"\\]*)*(?:"\s*)?$/s.test(latin1(bytes))) {
    return withoutRecords(head.path, [bytes], 'a string', field);
  }
  const isString = (value: unknown) => typeof value === 'string';
  return everyLine(head, isString) ? refused(head.path, field, 'a string a line', AS_TEXT) : null;
}

/** JSON Lines: at least two objects, and more objects than lines of anything else. */
function linesShape({ path, bytes, whole }: Head, field: string): JsonShape | null {
  let objects = 0;
  let alike = 0;
  let others = 0;
  for (let from = firstByte(bytes); from < bytes.length; ) {
    const found = bytes.indexOf(NEWLINE, from);
    const end = found < 0 ? bytes.length : found;
    const line = bytes.subarray(from, end);
    const ends = whole || found >= 0;
    from = end + 1;
    if (line[0] === BRACE && (ends ? isRecord(parsed(line)) : opensRecord(line))) objects++;
    else if (line[0] === BRACE && ends && looksLikeRecord(line)) alike++;
    else if (ends && !isBlank(line)) others++;
  }
  if (objects > 1 && objects > others + alike) return { kind: 'jsonl' };
  const all = objects + alike;
  const meant = bytes[firstByte(bytes)] === BRACE && alike > 0 && all > 1 && all > others;
  return meant ? noJSON(path, field, 'lines') : null;
}

/** Whether a line may be meant as a record: in Python's notation, with a trailing comma, or with NaN in it. */
function looksLikeRecord(line: Uint8Array): boolean {
  const text = latin1(line).trim();
  return /^\{\s*(?:"[^"]*"|'[^']*')\s*:/.test(text) && /\},?$/.test(text);
}

/** A file that begins with a bracket. */
function arrayShape(head: Head, start: number, field: string): JsonShape | null {
  const splitter = new JsonSplitter('members');
  const members = [...splitter.push(head.bytes.subarray(start))];
  const closed = splitter.closedAt >= 0;
  const layout: JsonLayout = { cut: 'members', start };
  const values = members.map(parsed);
  const after = closed ? head.bytes.subarray(start + splitter.closedAt) : new Uint8Array(0);
  if (!isBlank(after)) {
    const hasField = values.some((value) => isRecord(value) && Object.hasOwn(value, field));
    // Code continues with a dot, Markdown with a parenthesis.
    const goesOn = /^\s*[[{,\]}]/.test(latin1(after.subarray(0, LOOK_BYTES)));
    if (hasField && goesOn) return noJSON(head.path, field, 'records with something after them');
    return everyLine(head, Array.isArray) ? refused(head.path, field, 'an array a line', AS_TEXT) : null;
  }
  const records = values.filter(isRecord).length;
  if (records > 0 && 2 * records >= values.length) return { kind: 'json', layout };
  if (values.length === 0) {
    const { rest } = splitter;
    if (closed || opensRecord(rest)) return { kind: 'json', layout };
    return head.whole ? null : withoutRecords(head.path, [rest], 'an array of strings', field);
  }
  if (values.includes(undefined)) {
    return opensRecord(members[0]) ? noJSON(head.path, field, 'records in an array') : null;
  }
  const kinds = new Set(values.map((value) => (Array.isArray(value) ? 'array' : typeof value)));
  const kind = kinds.size === 1 ? [...kinds][0] : 'value';
  return withoutRecords(head.path, members, `an array of ${kind}s`, field);
}

/** Whether there are at least two lines, and each is JSON that fits. */
function everyLine({ bytes, whole }: Head, fits: (value: unknown) => boolean): boolean {
  const lines = latin1(bytes.subarray(firstByte(bytes))).split('\n');
  if (!whole) lines.pop();
  const filled = lines.filter((line) => line.trim() !== '');
  return filled.length > 1 && filled.every((line) => fits(parsed(Buffer.from(line, 'latin1'))));
}

/** A field of an object: its name, the bytes of its value that the beginning of the file has, and their offset. */
interface Member {
  readonly name: string;
  readonly value: Uint8Array;
  readonly at: number;
  readonly holdsRecords: boolean;
}

/** A file that begins with a brace and is not JSON Lines. */
function objectShape(head: Head, start: number, field: string): JsonShape | null {
  const { path } = head;
  const bytes = head.bytes.subarray(start);
  const splitter = new JsonSplitter('members');
  const ended = [...splitter.push(bytes)];
  const closed = splitter.closedAt >= 0;
  const members = ended.map((member) => memberOf(member, bytes));
  if (!closed) members.push(memberOf(splitter.rest, bytes));
  const fields = members.filter((member) => member !== null);
  const hasField = fields.some(({ name }) => name === field);
  const arrays = fields.filter(({ holdsRecords }) => holdsRecords);
  const fitting = arrays.filter(({ value }) => mayHaveField(value, field));
  // An array of records may have broken ones, so it is not parsed here.
  const isJSON = ended.every((member, i) => {
    const found = members[i];
    return found !== null && (found.holdsRecords || isRecord(parsed(inBraces(member))));
  });
  if (fields.length === 0) return null;
  if (!isJSON || (!closed && head.whole)) {
    const meant = hasField || (isJSON ? arrays : fitting).length > 0;
    return meant ? noJSON(path, field, 'records') : null;
  }

  const records: JsonShape = { kind: 'json', layout: { cut: 'values', start } };
  if (closed) {
    const after = bytes.subarray(splitter.closedAt);
    const next = after.subarray(firstByte(after));
    if (opensRecord(next)) return records;
    if (next.length > 0) return hasField ? noJSON(path, field, 'a record with something after it') : null;
  }
  // The line is longer than the beginning of the file: other lines may follow, and the field may come later in it.
  const oneLine = !closed && !bytes.includes(NEWLINE);
  if (hasField) return oneLine ? { kind: 'jsonl' } : records;
  const chosen = fitting.length > 0 ? fitting : arrays;
  const sum = (some: readonly Member[]) => some.reduce((bytes, { value }) => bytes + value.length, 0);
  if (fitting.length > 0 || (arrays.length > 0 && sum(arrays) >= MOST_OF_IT * sum(fields))) {
    const [{ name: within, at }] = chosen;
    if (chosen.length === 1) return { kind: 'json', layout: { cut: 'members', start: start + at, within } };
    const names = chosen.map(({ name }) => name);
    return { kind: 'refused', error: severalArrays(path, names) };
  }
  if (oneLine) return { kind: 'jsonl' };
  return fields.some(({ value }) => isLongString(value)) ? records : { kind: 'text' };
}

/** Whether the first record of an array has the field; true if the beginning of the file does not say. */
function mayHaveField(array: Uint8Array, field: string): boolean {
  for (const first of new JsonSplitter('members').push(array)) {
    const record = parsed(first);
    return isRecord(record) && Object.hasOwn(record, field);
  }
  return true;
}

function inBraces(member: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('{'), member, Buffer.from('}')]);
}

/** Reads a member of the object at the beginning of `bytes`; null if it is no member, or its value has not begun. */
function memberOf(member: Uint8Array, bytes: Uint8Array): Member | null {
  const found = /^\s*("[^"\\]*(?:\\.[^"\\]*)*")\s*:\s*(?=\S)/s.exec(latin1(member));
  const name = found === null ? undefined : parsed(Buffer.from(found[1], 'latin1'));
  if (found === null || typeof name !== 'string') return null;
  const value = member.subarray(found[0].length);
  const first = value.subarray(1 + firstByte(value.subarray(1)));
  const holdsRecords = value[0] === BRACKET && opensRecord(first);
  return { name, value, at: value.byteOffset - bytes.byteOffset, holdsRecords };
}

const AS_TEXT = 'loopnn prepare --as text reads the file as plain text';

function refused(path: string, field: string, got: string, hint: string): JsonShape {
  const error = new DataError(path, `must hold records with the field '${field}'`, got, hint);
  return { kind: 'refused', error };
}

/** A file that looks like JSON records and cannot be read. */
function noJSON(path: string, field: string, what: string): JsonShape {
  return refused(path, field, `${what} that look like JSON but cannot be parsed`, `fix them; ${AS_TEXT}`);
}

/** JSON without records is text, unless one of its values is long. */
function withoutRecords(path: string, values: readonly Uint8Array[], got: string, field: string): JsonShape {
  if (!values.some(isLongString)) return { kind: 'text' };
  return refused(path, field, got, `write a line {"${field}": …} for each text; ${AS_TEXT}`);
}

/** Whether the beginning of a value is that of a long string; JSON has no line breaks in strings. */
function isLongString(value: Uint8Array): boolean {
  return LONG_STRING.test(latin1(value.subarray(0, LOOK_BYTES)));
}

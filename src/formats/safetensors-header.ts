/**
 * Reads and checks the header of a safetensors file. This file reads no tensor data, so that a reader needs only the
 * beginning of a large file.
 */
import { CheckpointError } from '../errors.js';
import { DTYPES, dtypeBits } from './dtypes.js';
import { duplicateKey, parseJSON } from './json.js';
import type { RandomAccessFile } from '../platform.js';

/** The format's own limit, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;
/** Bytes at a file's beginning that give the header's length. */
const LENGTH_BYTES = 8;

/** A tensor's range, in bytes from the beginning of the data. */
export interface TensorPlace {
  readonly name: string;
  /** One of DTYPES. */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** The tensors in the order of their data. */
  readonly tensors: readonly TensorPlace[];
  readonly metadata: Record<string, string>;
  /** Bytes from the beginning of the file to the data. */
  readonly dataStart: number;
}

/**
 * Reads and checks a header: every tensor's dtype, shape and byte count, and that the tensors together fill the file
 * without gap or overlap.
 *
 * @param bytes the file, or its beginning with at least the whole header
 * @param size the whole file's size in bytes
 * @param where the file's name, for messages
 * @throws CheckpointError that names the file, the tensor, the expected value and the value found
 */
export function readHeader(bytes: Uint8Array, size: number, where: string): SafetensorsHeader {
  const { json, dataStart } = headerText(bytes, size, where);
  let parsed: unknown;
  try {
    parsed = parseJSON(json);
  } catch (error) {
    throw new CheckpointError(
      where,
      `its header must be JSON (${error instanceof Error ? error.message : error})`,
    );
  }
  if (!isObject(parsed))
    throw new CheckpointError(where, 'its header must be a JSON object', describe(parsed));
  const twice = duplicateKey(json);
  if (twice !== undefined) throw new CheckpointError(where, 'each key of its header must come once', twice);

  const tensors: TensorPlace[] = [];
  for (const [name, value] of Object.entries(parsed)) {
    if (name !== '__metadata__') tensors.push(readPlace(name, value, `${where}: tensor ${name}`));
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkLayout(tensors, size - dataStart, where);
  const metadata = Object.hasOwn(parsed, '__metadata__') ? readMetadata(parsed.__metadata__, where) : {};
  return { tensors, metadata, dataStart };
}

/** Reads and checks the header of a file, and reads nothing else of the file; throws as `readHeader`. */
export async function readFileHeader(file: RandomAccessFile, where: string): Promise<SafetensorsHeader> {
  const start = new Uint8Array(Math.min(file.size, LENGTH_BYTES));
  await file.read(start, 0);
  const length = start.length < LENGTH_BYTES ? 0 : Number(new DataView(start.buffer).getBigUint64(0, true));
  // `readHeader` reports an impossible length.
  if (length === 0 || length > MAX_HEADER_BYTES || LENGTH_BYTES + length > file.size) {
    return readHeader(start, file.size, where);
  }
  const header = new Uint8Array(LENGTH_BYTES + length);
  await file.read(header, 0);
  return readHeader(header, file.size, where);
}

function headerText(bytes: Uint8Array, size: number, where: string): { json: string; dataStart: number } {
  if (size < LENGTH_BYTES) {
    throw new CheckpointError(
      where,
      "must begin with a safetensors file's 8 bytes of header length",
      `${size} bytes`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(
      where,
      `its header must have at most ${MAX_HEADER_BYTES} bytes`,
      String(length),
      'it may not be a safetensors file',
    );
  }
  const dataStart = LENGTH_BYTES + Number(length);
  if (dataStart > size) {
    throw new CheckpointError(
      where,
      `must hold its header, which ends at byte ${dataStart}`,
      `a file of ${size} bytes`,
      'it is truncated, or not a safetensors file',
    );
  }
  try {
    const json = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(LENGTH_BYTES, dataStart),
    );
    return { json, dataStart };
  } catch {
    throw new CheckpointError(where, 'its header must be UTF-8');
  }
}

function readPlace(name: string, value: unknown, where: string): TensorPlace {
  if (!isObject(value)) throw new CheckpointError(where, 'its entry must be an object', describe(value));
  for (const key of Object.keys(value)) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') {
      throw new CheckpointError(
        where,
        'its entry must have only the keys dtype, shape and data_offsets',
        key,
      );
    }
  }
  const { dtype, shape, data_offsets: offsets } = value;
  const width = typeof dtype === 'string' ? dtypeBits(dtype) : undefined;
  if (typeof dtype !== 'string' || width === undefined) {
    throw new CheckpointError(where, `dtype must be one of ${DTYPES.join(' ')}`, describe(dtype));
  }
  if (!isSizes(shape)) {
    throw new CheckpointError(where, 'shape must be a list of whole numbers from 0 on', describe(shape));
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[1] < offsets[0]) {
    throw new CheckpointError(
      where,
      'data_offsets must be a begin and an end not before it',
      describe(offsets),
    );
  }
  const [begin, end] = offsets;
  let bits = width;
  for (const size of shape) {
    bits *= size;
    if (bits > Number.MAX_SAFE_INTEGER) {
      throw new CheckpointError(where, 'its sizes must multiply to a number of bytes', describe(shape));
    }
  }
  const expected = bits / 8;
  if (expected !== end - begin) {
    throw new CheckpointError(
      where,
      `${dtype} of shape (${shape.slice(0, 16).join(', ')}${shape.length > 16 ? ', …' : ''}) must take ${expected} bytes`,
      `${end - begin}`,
    );
  }
  return { name, dtype, shape, begin, end };
}

function checkLayout(tensors: readonly TensorPlace[], dataBytes: number, where: string): void {
  let at = 0;
  for (const { name, begin, end } of tensors) {
    if (begin !== at) {
      const fault = begin < at ? 'overlaps the tensor before it' : 'leaves a gap before it';
      throw new CheckpointError(
        `${where}: tensor ${name}`,
        `its data must begin at byte ${at}`,
        `${begin}, which ${fault}`,
      );
    }
    if (end > dataBytes) {
      throw new CheckpointError(
        `${where}: tensor ${name}`,
        `its data must end within the ${dataBytes} bytes of data`,
        end,
        'the file is truncated',
      );
    }
    at = end;
  }
  if (at !== dataBytes) {
    throw new CheckpointError(
      where,
      `must have exactly the ${at} bytes of data that its tensors take`,
      `${dataBytes} bytes of data`,
    );
  }
}

function readMetadata(value: unknown, where: string): Record<string, string> {
  if (!isObject(value) || !Object.values(value).every((text) => typeof text === 'string')) {
    throw new CheckpointError(where, '__metadata__ must be an object of texts', describe(value));
  }
  return value as Record<string, string>;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** A value from the header for a message, shortened to a readable length. */
function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

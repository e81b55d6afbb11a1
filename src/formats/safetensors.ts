/**
 * The safetensors format over bytes: 8 bytes of header length (little-endian), a JSON header, then the tensors'
 * values back to back. Knows the format; knows no files and no models. Values are viewed in the machine's byte
 * order, which is little-endian wherever this runs.
 */
import { CheckpointError } from '../errors.js';
import { ARRAYS, type Dtype, type TensorData } from './dtypes.js';
import { readHeader } from './safetensors-header.js';

/** The dtypes that can be written. */
export type WritableDtype = 'F32' | 'F64' | 'I32';

/** A tensor as read. */
export interface SafeTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** What a header says of a tensor. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: WritableDtype;
  readonly shape: readonly number[];
}

/** A tensor to be written. */
export interface WritableTensor extends TensorEntry {
  readonly data: Float32Array | Float64Array | Int32Array;
}

/**
 * Reads a file's tensors, in the order of their data. Each `data` is a view of `bytes`, or a copy where its offset
 * is not a multiple of the value's size.
 *
 * @param where the file's name, for messages
 * @throws CheckpointError if the file is damaged in any way
 */
export function parseSafetensors(bytes: Uint8Array, where: string): Map<string, SafeTensor> {
  const { tensors, dataStart } = readHeader(bytes, bytes.byteLength, where);
  const result = new Map<string, SafeTensor>();
  for (const { name, dtype, shape, begin, end } of tensors) {
    const ArrayType = ARRAYS[dtype];
    const start = bytes.byteOffset + dataStart + begin;
    const length = (end - begin) / ArrayType.BYTES_PER_ELEMENT;
    const data =
      start % ArrayType.BYTES_PER_ELEMENT === 0
        ? new ArrayType(bytes.buffer as ArrayBuffer, start, length)
        : new ArrayType(new Uint8Array(bytes.subarray(dataStart + begin, dataStart + end)).buffer);
    result.set(name, { dtype, shape, data });
  }
  return result;
}

/** Reads the header's `__metadata__`, {} if it has none; throws CheckpointError if the file is damaged. */
export function safetensorsMetadata(bytes: Uint8Array, where: string): Record<string, string> {
  return readHeader(bytes, bytes.byteLength, where).metadata;
}

/**
 * Writes a file as chunks, the header first and then each tensor's own bytes, uncopied: wider dtypes first, so that
 * every tensor is aligned, and otherwise in the order given.
 *
 * @throws CheckpointError if a name comes twice or the data does not fit its dtype and shape
 */
export function serializeSafetensors(
  tensors: Iterable<WritableTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const ordered = [...tensors].sort(
    (a, b) => ARRAYS[b.dtype].BYTES_PER_ELEMENT - ARRAYS[a.dtype].BYTES_PER_ELEMENT,
  );
  for (const { name, dtype, shape, data } of ordered) {
    if (!(data instanceof ARRAYS[dtype])) {
      throw new CheckpointError(
        `tensor ${name}`,
        `its data must be a ${ARRAYS[dtype].name}`,
        data.constructor.name,
      );
    }
    if (data.length !== elements(shape)) {
      throw new CheckpointError(
        `tensor ${name}`,
        `must hold ${elements(shape)} values for shape (${shape.join(', ')})`,
        data.length,
      );
    }
  }
  const header = safetensorsHeader(ordered, metadata);
  return [
    header,
    ...ordered.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ];
}

/**
 * Writes the beginning of a file whose tensors follow in the order given, back to back, for a writer that has not all
 * of them in memory. The header ends with spaces, so that the data begins at a multiple of 8 bytes.
 *
 * @throws CheckpointError if a name comes twice or is `__metadata__`, or a shape is impossible
 */
export function safetensorsHeader(
  entries: readonly TensorEntry[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const fields = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) fields.set('__metadata__', metadata);
  let offset = 0;
  for (const { name, dtype, shape } of entries) {
    if (name === '__metadata__' || fields.has(name)) {
      throw new CheckpointError(`tensor ${name}`, 'must have a name of its own, other than __metadata__');
    }
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw new CheckpointError(`tensor ${name}`, 'sizes must be whole numbers from 0 on', shape);
    }
    const end = offset + elements(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT;
    fields.set(name, { dtype, shape, data_offsets: [offset, end] });
    offset = end;
  }
  // Written key by key: an object would move keys that look like numbers to the front and lose `__proto__`.
  const pairs = Array.from(fields, ([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const json = new TextEncoder().encode(`{${pairs.join(',')}}`);
  const header = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return header;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

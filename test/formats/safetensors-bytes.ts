/** Whole safetensors files over bytes, for tests; the product reads and writes them in parts. */
import { ARRAYS, isReadable, type TensorData } from '../../src/formats/dtypes.js';
import { safetensorsHeader, type TensorEntry } from '../../src/formats/safetensors.js';
import { readHeader } from '../../src/formats/safetensors-header.js';

/** A tensor as read. */
export interface SafeTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: TensorData;
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
    const ArrayType = isReadable(dtype) ? ARRAYS[dtype] : Uint8Array;
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

/** A file as chunks: the header, then each tensor's bytes, wider dtypes first, so that every tensor is aligned. */
export function serializeSafetensors(
  tensors: Iterable<WritableTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const width = ({ dtype }: WritableTensor) => ARRAYS[dtype].BYTES_PER_ELEMENT;
  const ordered = [...tensors].sort((a, b) => width(b) - width(a));
  const values = ordered.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return [safetensorsHeader(ordered, metadata), ...values];
}

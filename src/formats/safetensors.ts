/** Writes the beginning of a safetensors file. */
import { CheckpointError } from '../errors.js';
import { ARRAYS } from './dtypes.js';

/** The dtypes that can be written. */
export type WritableDtype = 'F32' | 'F64' | 'I32';

/** A tensor's entry in a header. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: WritableDtype;
  readonly shape: readonly number[];
}

/**
 * Writes the beginning of a file whose tensors follow in the given order, back to back, for a writer that does not have
 * all of them in memory. The header is padded with spaces, so that the data begins at a multiple of 8 bytes.
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

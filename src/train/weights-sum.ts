/** A checksum of a model's weights, by which processes see that theirs are the same. Knows no process. */
import type { GPT } from '../models/gpt.js';
import type { Store } from '../platform.js';

/** Elements that are read at a time. */
const PIECE = 1 << 20;

/** CRC-32C of the weights' bytes in the order of the flat storage. */
export async function weightsSum(
  { parameters, runtime }: GPT,
  store: Pick<Store, 'crc32c'>,
): Promise<number> {
  const { backend } = runtime;
  const { storage } = parameters;
  const HostArray = backend.dtype === 'f32' ? Float32Array : Float64Array;
  const into = new HostArray(Math.min(PIECE, storage.length));
  let sum = 0;
  for (let offset = 0; offset < storage.length; offset += PIECE) {
    const length = Math.min(PIECE, storage.length - offset);
    await backend.read(backend.slice(storage, offset, length), into);
    sum = store.crc32c(new Uint8Array(into.buffer, 0, length * into.BYTES_PER_ELEMENT), sum);
  }
  return sum;
}

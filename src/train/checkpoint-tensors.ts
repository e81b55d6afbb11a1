/**
 * The tensor files of a checkpoint: every parameter's part of storages that are laid out as the parameters are, in a
 * safetensors file. Knows the format and the backend; knows no folder.
 */
import type { Backend, Storage } from '../backend/backend.js';
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';
import { safetensorsHeader } from '../formats/safetensors.js';
import { readFileHeader, type TensorPlace } from '../formats/safetensors-header.js';
import type { Parameters } from '../nn/parameters.js';

/** A name's prefix, and a storage laid out like the parameters. */
export type Section = readonly [prefix: string, flat: Storage];

/** Elements read from the backend at a time, so that saving needs little memory of its own. */
const CHUNK = 1 << 18;
/** Pieces of a file that are read while one is looked at: Node reads in four threads. */
const AHEAD = 4;

/** A file with every parameter's part of each section. Its chunks share two buffers in turns. */
export async function* tensorFile(
  parameters: Parameters,
  sections: readonly Section[],
): AsyncGenerator<Uint8Array> {
  const { backend } = parameters.runtime;
  const entries = sections.flatMap(([prefix, flat]) =>
    parameters.all.map((parameter) => ({
      name: prefix + parameter.name,
      dtype: 'F32' as const,
      shape: parameter.shape,
      part: parameters.partOf(flat, parameter),
    })),
  );
  yield safetensorsHeader(entries, { format: 'pt' });
  const longest = Math.min(CHUNK, Math.max(...entries.map(({ part }) => part.length)));
  const HostArray = backend.dtype === 'f32' ? Float32Array : Float64Array;
  const buffers = [new HostArray(longest), new HostArray(longest)];
  for (const { part } of entries) {
    for (let start = 0; start < part.length; start += CHUNK) {
      const chunk = backend.slice(part, start, Math.min(CHUNK, part.length - start));
      buffers.reverse();
      const read = await backend.read(chunk, buffers[0]);
      const values = read instanceof Float32Array ? read : Float32Array.from(read);
      yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    }
  }
}

/**
 * Reads such a file into the sections' storages, its bytes from the first to the last, of which `onBytes` is told. Throws
 * CheckpointError, naming the tensor, where the file is not one of these parameters.
 */
export async function loadTensorFile(
  file: RandomAccessFile,
  path: string,
  parameters: Parameters,
  sections: readonly Section[],
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  const { backend } = parameters.runtime;
  const { tensors, dataStart } = await readFileHeader(file, path);
  const storages = storagesOf(
    new Map(tensors.map((place) => [place.name, place])),
    path,
    parameters,
    sections,
  );
  const header = new Uint8Array(dataStart);
  await file.read(header, 0);
  onBytes(header);
  // The tensors fill the file without gap or overlap: piece by piece in their order, it is read to its end.
  const reading: Promise<Uint8Array>[] = [];
  try {
    for (const { name, begin } of tensors) {
      const whole = storages.get(name)!;
      for (let start = 0; start < whole.length; start += CHUNK) {
        const part = backend.slice(whole, start, Math.min(CHUNK, whole.length - start));
        const read = readInto(backend, part, file, dataStart + begin + 4 * start);
        read.catch(() => {}); // it is awaited in its turn, or no more
        reading.push(read);
        // While one piece is looked at, the next ones are read.
        if (reading.length > AHEAD) onBytes(await reading.shift()!);
      }
    }
    while (reading.length > 0) onBytes(await reading.shift()!);
  } finally {
    await Promise.allSettled(reading); // nobody writes to memory that is given back
  }
}

/** Fills a storage with the float32 values at an offset in a file; returns their bytes. */
async function readInto(
  backend: Backend,
  part: Storage,
  file: RandomAccessFile,
  offset: number,
): Promise<Uint8Array> {
  let bytes: Uint8Array = new Uint8Array();
  await backend.receive(part, (values) => {
    bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return file.read(bytes, offset);
  });
  return bytes;
}

/** Where each tensor of a file belongs. Throws CheckpointError where one is missing, another's, or of another shape. */
function storagesOf(
  places: Map<string, TensorPlace>,
  path: string,
  parameters: Parameters,
  sections: readonly Section[],
): Map<string, Storage> {
  const storages = new Map<string, Storage>();
  for (const [prefix, flat] of sections) {
    for (const parameter of parameters.all) {
      const name = prefix + parameter.name;
      const place = places.get(name);
      const shape = parameter.shape.join(', ');
      if (!place) throw new CheckpointError(path, `must hold tensor ${name} of shape (${shape})`);
      if (place.dtype !== 'F32') {
        throw new CheckpointError(`${path}, tensor ${name}`, 'must have dtype F32', place.dtype);
      }
      if (place.shape.join(', ') !== shape) {
        throw new CheckpointError(`${path}, tensor ${name}`, `must have shape (${shape})`, place.shape);
      }
      storages.set(name, parameters.partOf(flat, parameter));
      places.delete(name);
    }
  }
  for (const name of places.keys()) {
    throw new CheckpointError(`${path}, tensor ${name}`, 'is not part of this model');
  }
  return storages;
}

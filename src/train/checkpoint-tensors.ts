/**
 * The tensor files of a checkpoint: every parameter's part of values that are laid out as the parameters are, in a
 * safetensors file. Knows the format; knows no folder.
 */
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';
import { safetensorsHeader } from '../formats/safetensors.js';
import { readFileHeader, type TensorPlace } from '../formats/safetensors-header.js';
import type { Parameters } from '../nn/parameters.js';
import type { Range } from './blocks.js';
import type { FlatValues } from './flat-values.js';

/** A name's prefix, and values that are laid out like the parameters. */
export type Section<Access extends keyof FlatValues> = readonly [
  prefix: string,
  values: Pick<FlatValues, Access>,
];

/** Elements read from the backend at a time, so that saving needs little memory of its own. */
const CHUNK = 1 << 18;
/** Pieces of a file that are read while one is looked at: Node reads in four threads. */
const AHEAD = 4;

/** A file with every parameter's part of each section. Its chunks share two buffers in turns. */
export async function* tensorFile(
  parameters: Parameters,
  sections: readonly Section<'read'>[],
): AsyncGenerator<Uint8Array> {
  const { backend } = parameters.runtime;
  const entries = sections.flatMap(([prefix, values]) =>
    parameters.all.map((parameter) => ({
      name: prefix + parameter.name,
      dtype: 'F32' as const,
      shape: parameter.shape,
      ...{ values, offset: parameters.offsetOf(parameter), size: parameter.size },
    })),
  );
  yield safetensorsHeader(entries, { format: 'pt' });
  const longest = Math.min(CHUNK, Math.max(...entries.map(({ size }) => size)));
  const HostArray = backend.dtype === 'f32' ? Float32Array : Float64Array;
  const buffers = [new HostArray(longest), new HostArray(longest)];
  for (const { values, offset, size } of entries) {
    for (let start = 0; start < size; start += CHUNK) {
      buffers.reverse();
      const read = await values.read(offset + start, Math.min(CHUNK, size - start), buffers[0]);
      const floats = read instanceof Float32Array ? read : Float32Array.from(read);
      yield new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
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
  sections: readonly Section<'receive'>[],
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  const { tensors, dataStart } = await readFileHeader(file, path);
  const targets = targetsOf(new Map(tensors.map((place) => [place.name, place])), path, parameters, sections);
  const header = new Uint8Array(dataStart);
  await file.read(header, 0);
  onBytes(header);
  // The tensors fill the file without gap or overlap: piece by piece in their order, it is read to its end.
  const reading: Promise<Uint8Array>[] = [];
  try {
    for (const { name, begin } of tensors) {
      const { values, offset, size } = targets.get(name)!;
      for (let start = 0; start < size; start += CHUNK) {
        const range = { offset: offset + start, length: Math.min(CHUNK, size - start) };
        const read = readInto(values, range, file, dataStart + begin + 4 * start);
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

/** Fills a part of values with the float32 values at an offset in a file; returns their bytes. */
async function readInto(
  values: Pick<FlatValues, 'receive'>,
  { offset: first, length }: Range,
  file: RandomAccessFile,
  offset: number,
): Promise<Uint8Array> {
  let bytes: Uint8Array = new Uint8Array();
  await values.receive(first, length, (floats) => {
    bytes = new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
    return file.read(bytes, offset);
  });
  return bytes;
}

/** The elements that a tensor is read into. */
interface Target {
  readonly values: Pick<FlatValues, 'receive'>;
  readonly offset: number;
  readonly size: number;
}

/** Where each tensor of a file belongs. Throws CheckpointError where one is missing, another's, or of another shape. */
function targetsOf(
  places: Map<string, TensorPlace>,
  path: string,
  parameters: Parameters,
  sections: readonly Section<'receive'>[],
): Map<string, Target> {
  const targets = new Map<string, Target>();
  for (const [prefix, values] of sections) {
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
      targets.set(name, { values, offset: parameters.offsetOf(parameter), size: parameter.size });
      places.delete(name);
    }
  }
  for (const name of places.keys()) {
    throw new CheckpointError(`${path}, tensor ${name}`, 'is not part of this model');
  }
  return targets;
}

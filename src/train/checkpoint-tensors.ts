/**
 * The tensor files of a checkpoint: every parameter's part of values in the parameters' layout, in a safetensors file.
 * It must not handle folders.
 */
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';
import { safetensorsHeader } from '../formats/safetensors.js';
import { readFileHeader, type TensorPlace } from '../formats/safetensors-header.js';
import type { Parameters } from '../nn/parameters.js';
import type { Parameter } from '../tensor/tensor.js';
import type { FlatValues } from './flat-values.js';

/** A prefix of names, and values in the parameters' layout, of all parameters or of some. */
export type Section<Access extends keyof FlatValues> = readonly [
  prefix: string,
  values: Pick<FlatValues, Access>,
  of?: (parameter: Parameter) => boolean,
];

/** Elements read from the backend at a time, so that saving needs little memory. */
const CHUNK = 1 << 18;
/** Pieces of a file that are read while one is processed: Node reads in four threads. */
const AHEAD = 4;

/** A file with every parameter's part of each section. Its chunks share two buffers in turns. */
export async function* tensorFile(
  parameters: Parameters,
  sections: readonly Section<'read'>[],
): AsyncGenerator<Uint8Array> {
  const { backend } = parameters.runtime;
  const entries = sections.flatMap(([prefix, values, of = () => true]) =>
    parameters.all.filter(of).map((parameter) => ({
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
 * Reads such a file into the sections' storages, from the first byte to the last; `onBytes` receives all bytes. Throws
 * CheckpointError, naming the tensor, if the file does not hold these parameters.
 */
export async function loadTensorFile(
  file: RandomAccessFile,
  path: string,
  parameters: Parameters,
  sections: readonly Section<'receive'>[],
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  const targets = new Map(
    sections.flatMap(([prefix, values, of = () => true]) =>
      parameters.all.filter(of).map((parameter) => [prefix + parameter.name, { parameter, values }] as const),
    ),
  );
  const wanted = [...targets].map(([name, { parameter }]) => ({ name, shape: parameter.shape }));
  const tensors = await readPlaces(file, path, wanted, onBytes);
  const pieces = tensors.flatMap(({ name, begin }) => {
    const { parameter, values } = targets.get(name)!;
    return piecesOf(begin, values, parameters.offsetOf(parameter), parameter.size);
  });
  await readPieces(file, pieces, AHEAD, onBytes);
}

/** Part of a file that is read at once. */
export interface Piece {
  /** Where it begins, in bytes. */
  readonly begin: number;
  /** Lets `fill` read it into its array, temporary or final. */
  readonly receive: (fill: (floats: Float32Array) => Promise<void>) => Promise<void>;
  /** Takes it from the array, which soon holds another piece. */
  readonly take?: (floats: Float32Array) => void;
}

/** The pieces of a tensor's bytes from `begin` on, for values from `offset` on. */
export function piecesOf(
  begin: number,
  values: Pick<FlatValues, 'receive'>,
  offset: number,
  size: number,
): Piece[] {
  return Array.from({ length: Math.ceil(size / CHUNK) }, (_, i) => ({
    begin: begin + 4 * i * CHUNK,
    receive: (fill) => values.receive(offset + i * CHUNK, Math.min(CHUNK, size - i * CHUNK), fill),
  }));
}

/** Reads pieces that fill the rest of a file in their order, up to `ahead` pieces before they are processed. */
export async function readPieces(
  file: RandomAccessFile,
  pieces: Iterable<Piece>,
  ahead: number,
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  const reading: { readonly piece: Piece; readonly floats: Promise<Float32Array> }[] = [];
  const finish = async () => {
    const { piece, floats } = reading.shift()!;
    const values = await floats;
    onBytes(bytesOf(values));
    piece.take?.(values);
  };
  try {
    for (const piece of pieces) {
      const floats = readInto(piece, file);
      floats.catch(() => {}); // awaited later, or never after an error
      reading.push({ piece, floats });
      if (reading.length > ahead) await finish();
    }
    while (reading.length > 0) await finish();
  } finally {
    await Promise.allSettled(reading.map(({ floats }) => floats)); // nothing writes to released memory
  }
}

async function readInto({ begin, receive }: Piece, file: RandomAccessFile): Promise<Float32Array> {
  let values: Float32Array = new Float32Array();
  await receive((floats) => {
    values = floats;
    return file.read(bytesOf(floats), begin);
  });
  return values;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** A float32 tensor that a file must hold. */
export interface WantedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Reads the header of such a file: where each tensor begins, in bytes from the beginning of the file and in this order.
 * They fill the rest of the file without gap or overlap. Throws CheckpointError if a tensor is missing, unknown, or of
 * another shape.
 */
export async function readPlaces(
  file: RandomAccessFile,
  path: string,
  wanted: readonly WantedTensor[],
  onBytes: (bytes: Uint8Array) => void,
): Promise<{ readonly name: string; readonly begin: number }[]> {
  const { tensors, dataStart } = await readFileHeader(file, path);
  requireTensors(new Map(tensors.map((place) => [place.name, place])), path, wanted);
  const header = new Uint8Array(dataStart);
  await file.read(header, 0);
  onBytes(header);
  return tensors.map(({ name, begin }) => ({ name, begin: dataStart + begin }));
}

function requireTensors(
  places: Map<string, TensorPlace>,
  path: string,
  wanted: readonly WantedTensor[],
): void {
  for (const { name, shape: sizes } of wanted) {
    const place = places.get(name);
    const shape = sizes.join(', ');
    if (!place) throw new CheckpointError(path, `must hold tensor ${name} of shape (${shape})`);
    if (place.dtype !== 'F32') {
      throw new CheckpointError(`${path}, tensor ${name}`, 'must have dtype F32', place.dtype);
    }
    if (place.shape.join(', ') !== shape) {
      throw new CheckpointError(`${path}, tensor ${name}`, `must have shape (${shape})`, place.shape);
    }
    places.delete(name);
  }
  for (const name of places.keys()) {
    throw new CheckpointError(`${path}, tensor ${name}`, 'is not part of this model');
  }
}

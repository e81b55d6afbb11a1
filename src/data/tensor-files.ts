/**
 * Tensors in safetensors files, read one at a time: neither a file nor a model need fit into memory. Knows files; what a
 * header must keep is `formats/safetensors-header.ts`'s.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { CheckpointError } from '../errors.js';
import { ARRAYS, toFloat32 } from '../formats/dtypes.js';
import type { LazyTensor } from '../formats/lazy-tensors.js';
import { MAX_HEADER_BYTES, readHeader, type TensorPlace } from '../formats/safetensors-header.js';

/** Bytes of header length at a file's beginning. */
const LENGTH_BYTES = 8;
/** Most bytes that one read asks for. */
const READ_BYTES = 1 << 30;

/** The tensors of open files, by name. */
export class TensorFiles implements AsyncDisposable {
  readonly tensors: ReadonlyMap<string, LazyTensor>;

  private constructor(
    private readonly files: readonly FileHandle[],
    tensors: Map<string, LazyTensor>,
  ) {
    this.tensors = tensors;
  }

  /**
   * Opens files and checks their headers. Throws CheckpointError for a missing or damaged one, or a tensor in two.
   *
   * @param shown the files' names in messages
   */
  static async open(paths: readonly string[], shown: readonly string[] = paths): Promise<TensorFiles> {
    const files: FileHandle[] = [];
    const tensors = new Map<string, LazyTensor>();
    try {
      for (const [i, path] of shown.entries()) {
        const file = await openFile(paths[i], path);
        files.push(file);
        const { places, dataStart } = await placesIn(file, path);
        for (const place of places) {
          if (tensors.has(place.name)) {
            throw new CheckpointError(`${path}, tensor ${place.name}`, 'must be in one of the files only');
          }
          const { name, shape } = place;
          tensors.set(name, { name, shape, read: () => readTensor(file, path, place, dataStart) });
        }
      }
      return new TensorFiles(files, tensors);
    } catch (error) {
      for (const file of files) await file.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.files) await file.close();
  }
}

async function openFile(path: string, shown: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(shown, `must be a readable safetensors file (${reason})`);
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new CheckpointError(shown, 'must be a safetensors file', 'a folder or device');
}

async function placesIn(
  file: FileHandle,
  path: string,
): Promise<{ places: readonly TensorPlace[]; dataStart: number }> {
  const { size } = await file.stat();
  const start = await readBytes(file, path, 0, Math.min(size, LENGTH_BYTES));
  const length = start.length < LENGTH_BYTES ? 0 : Number(new DataView(start.buffer).getBigUint64(0, true));
  const end = LENGTH_BYTES + length;
  // An impossible length is for `readHeader` to name; nothing of such a header is read.
  const possible = start.length === LENGTH_BYTES && length <= MAX_HEADER_BYTES && end <= size;
  const header = possible ? await readBytes(file, path, 0, end) : start;
  const { tensors, dataStart } = readHeader(header, size, path);
  return { places: tensors, dataStart };
}

async function readTensor(
  file: FileHandle,
  path: string,
  { name, dtype, begin, end }: TensorPlace,
  dataStart: number,
): Promise<Float32Array> {
  const { buffer } = await readBytes(file, path, dataStart + begin, end - begin);
  return toFloat32({ dtype, data: new ARRAYS[dtype](buffer) }, `${path}, tensor ${name}`);
}

async function readBytes(
  file: FileHandle,
  path: string,
  offset: number,
  count: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(READ_BYTES, count - at), offset + at);
    if (bytesRead === 0) throw new CheckpointError(path, 'has become shorter while it was read');
    at += bytesRead;
  }
  return bytes;
}

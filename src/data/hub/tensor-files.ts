/**
 * Tensors in safetensors files, read one at a time: neither a file nor a model need fit into memory.
 * `formats/safetensors-header.ts` checks the headers.
 */
import { CheckpointError } from '../../errors.js';
import { ARRAYS, isReadable, toFloat32 } from '../../formats/dtypes.js';
import type { LazyTensor } from '../../formats/lazy-tensors.js';
import { readFileHeader, type TensorPlace } from '../../formats/safetensors-header.js';
import { NodeFile } from '../../node/file.js';

/** The tensors of open files, by name. */
export class TensorFiles implements AsyncDisposable {
  readonly tensors: ReadonlyMap<string, LazyTensor>;

  private constructor(
    private readonly files: readonly NodeFile[],
    tensors: Map<string, LazyTensor>,
  ) {
    this.tensors = tensors;
  }

  /**
   * Opens files and checks their headers. Throws CheckpointError for a missing or damaged file, or a tensor in two.
   *
   * @param shown the files' names in messages
   */
  static async open(paths: readonly string[], shown: readonly string[] = paths): Promise<TensorFiles> {
    const files: NodeFile[] = [];
    const tensors = new Map<string, LazyTensor>();
    try {
      for (const [i, path] of shown.entries()) {
        const file = await openFile(paths[i], path);
        files.push(file);
        const header = await readFileHeader(file, path);
        for (const place of header.tensors) {
          if (tensors.has(place.name)) {
            throw new CheckpointError(`${path}, tensor ${place.name}`, 'must be in one of the files only');
          }
          const { name, shape } = place;
          tensors.set(name, { name, shape, read: () => readTensor(file, path, place, header.dataStart) });
        }
      }
      return new TensorFiles(files, tensors);
    } catch (error) {
      for (const file of files) await file[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.files) await file[Symbol.asyncDispose]();
  }
}

async function openFile(path: string, shown: string): Promise<NodeFile> {
  try {
    return await NodeFile.open(path, shown);
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(shown, `must be a readable safetensors file (${reason})`);
  }
}

async function readTensor(
  file: NodeFile,
  path: string,
  { name, dtype, begin, end }: TensorPlace,
  dataStart: number,
): Promise<Float32Array> {
  const bytes = new Uint8Array(end - begin);
  await file.read(bytes, dataStart + begin);
  const data = isReadable(dtype) ? new ARRAYS[dtype](bytes.buffer) : bytes;
  return toFloat32({ dtype, data }, `${path}, tensor ${name}`);
}

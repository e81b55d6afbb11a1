/**
 * A checkpoint's weights for an engine that packs them: each matrix is packed while it is read, and its values are
 * dropped. The embedding's rows stay in the file, which stays open: replacing or removing the checkpoint changes
 * nothing. If an environment can not read synchronously (see RandomAccessFile.readNow), the rows are held in memory.
 *
 * Each row has a checksum, computed while the file is read: an overwritten file causes an error, never a different
 * answer.
 */
import { CheckpointError } from '../errors.js';
import { PACKED_COLUMNS, type Storage } from '../backend/backend.js';
import type { Parameters, ParameterSlot, Rows } from '../nn/parameters.js';
import type { RandomAccessFile, Store } from '../platform.js';
import { size } from '../tensor/tensor.js';
import { type Piece, piecesOf, readPieces, readPlaces } from './checkpoint-tensors.js';
import { valuesOf } from './flat-values.js';

/** Values of a transposed matrix that are read at once, unless one group of columns has more. */
const PIECE = 1 << 20;
/** Rows of an embedding that are cached, the last ones read. */
const KEPT_ROWS = 2048;

type Summing = Pick<Store, 'crc32c'>;

/**
 * Reads the file into parameters that keep packings, from the first byte to the last; `onBytes` receives all bytes.
 * `keep` gives the embedding's rows to the parameters, which then own the file, and returns true; or returns false if
 * the file is no longer needed. Throws CheckpointError as `loadTensorFile` does.
 */
export async function loadPackedFile(
  file: RandomAccessFile,
  path: string,
  parameters: Parameters,
  summing: Summing,
  onBytes: (bytes: Uint8Array) => void,
): Promise<{ readonly keep: () => boolean }> {
  const { backend } = parameters.runtime;
  const slots = new Map(parameters.slots.map((slot) => [slot.name, slot]));
  const wanted = parameters.slots.map(({ name, spec: { shape } }) => ({ name, shape }));
  const places = await readPlaces(file, path, wanted, onBytes);
  const longest = Math.max(1, ...parameters.slots.map((slot) => longestOf(slot, parameters)));
  // One buffer is filled while the other is packed.
  const staging = [0, 1].map(() => backend.allocate('f32', longest));
  let turn = 0;
  const staged = (length: number): Storage => backend.slice(staging[turn++ % 2], 0, length);
  const tables: { readonly slot: ParameterSlot; readonly table: FileRows | HeldRows }[] = [];
  function* pieces(): Generator<Piece> {
    for (const { name, begin } of places) {
      const slot = slots.get(name)!;
      const { shape, uses } = slot.spec;
      const [rows, columns] = shape;
      if (parameters.keeps(slot)) {
        const offset = parameters.offsetOf(slot.value);
        yield* piecesOf(begin, valuesOf(backend, parameters.storage), offset, size(shape));
        continue;
      }
      const table = uses.includes('rows')
        ? rowsOf({ file, path, name, begin, rows, columns, summing })
        : null;
      if (table) tables.push({ slot, table });
      const packed = uses.some((use) => use !== 'rows');
      const step = uses.includes('linear') ? rows : rowsAtOnce(columns);
      for (let first = 0; first < rows; first += step) {
        const count = Math.min(step, rows - first);
        const storage = staged(count * columns);
        yield {
          begin: begin + 4 * first * columns,
          receive: (fill) => backend.receive(storage, fill),
          take: (floats) => {
            table?.take(first, floats);
            if (packed) backend.packer!.pack(slot.value.storage, first, storage);
          },
        };
      }
    }
  }
  try {
    await readPieces(file, pieces(), 1, onBytes);
  } finally {
    for (const storage of staging) backend.free(storage);
  }
  return {
    keep() {
      for (const { slot, table } of tables) slot.table = table;
      return tables.some(({ table }) => table instanceof FileRows);
    },
  };
}

/** Rows of a transpose (columns of the matrix) that are packed at once. */
function rowsAtOnce(columns: number): number {
  return PACKED_COLUMNS * Math.max(1, Math.floor(PIECE / (PACKED_COLUMNS * columns)));
}

function longestOf(slot: ParameterSlot, parameters: Parameters): number {
  const { shape, uses } = slot.spec;
  if (parameters.keeps(slot)) return 0;
  const [rows, columns] = shape;
  return uses.includes('linear') ? rows * columns : Math.min(rows, rowsAtOnce(columns)) * columns;
}

/** A matrix (rows, columns) in a file. */
interface Place {
  readonly file: RandomAccessFile;
  readonly path: string;
  readonly name: string;
  /** In bytes. */
  readonly begin: number;
  readonly rows: number;
  readonly columns: number;
  readonly summing: Summing;
}

function rowsOf(place: Place): FileRows | HeldRows {
  return place.file.readNow ? new FileRows(place) : new HeldRows(place);
}

/** All rows, in memory. */
class HeldRows implements Rows {
  private values: Float32Array;

  constructor(private readonly place: Place) {
    this.values = new Float32Array(place.rows * place.columns);
  }

  /** Takes rows from `first` on while they are read. */
  take(first: number, floats: Float32Array): void {
    this.values.set(floats, first * this.place.columns);
  }

  copy(id: number, into: Float32Array): void {
    const { columns } = this.place;
    into.set(this.values.subarray(id * columns, (id + 1) * columns));
  }

  [Symbol.dispose](): void {
    this.values = new Float32Array();
  }
}

/** Rows that are read on demand. */
class FileRows implements Rows {
  private readonly sums: Uint32Array;
  /** The latest rows, in the order of requests. */
  private readonly kept = new Map<number, Float32Array>();

  constructor(private readonly place: Place) {
    this.sums = new Uint32Array(place.rows);
  }

  /** Sums rows from `first` on while they are read. */
  take(first: number, floats: Float32Array): void {
    const { columns, summing } = this.place;
    for (let at = 0; at < floats.length; at += columns) {
      this.sums[first + at / columns] = summing.crc32c(bytesOf(floats.subarray(at, at + columns)));
    }
  }

  copy(id: number, into: Float32Array): void {
    const { kept } = this;
    const row = kept.get(id) ?? this.read(id);
    kept.delete(id);
    kept.set(id, row);
    if (kept.size > KEPT_ROWS) kept.delete(kept.keys().next().value!);
    into.set(row);
  }

  private read(id: number): Float32Array {
    const { file, path, name, begin, columns, summing } = this.place;
    const row = new Float32Array(columns);
    const bytes = bytesOf(row);
    file.readNow!(bytes, begin + id * bytes.length);
    if (summing.crc32c(bytes) === this.sums[id]) return row;
    const hint = 'load the model again';
    throw new CheckpointError(
      `${path}, tensor ${name}`,
      'must not be written to while it is in use',
      undefined,
      hint,
    );
  }

  [Symbol.dispose](): void {
    this.kept.clear();
    void this.place.file[Symbol.asyncDispose]();
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/**
 * Files as streams of bytes, unpacked on the way. Knows gzip and Zstandard, and by which endings files show them;
 * knows no text.
 */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { DataError } from '../errors.js';

/** How a file is packed; dictzip is gzip. */
export type Packing = 'none' | 'gzip' | 'zstd';

/** Bytes read at a time: enough for speed, little beside a corpus of many small files. */
const CHUNK_BYTES = 1 << 18;
/** Bytes unpacked from one chunk of Zstandard: its own program asks for a flag above this window too. */
const MAX_ZSTD_WINDOW = 1 << 27;
/** Bytes of Zstandard unpacked at a time: four of them may become 128 KiB, so these become 32 MiB at most. */
const ZSTD_SLICE_BYTES = 1 << 10;
const ZSTD_MAGIC = 0xfd2fb528;

/** A file's packing by its name, and the name without that ending. */
export function packingOf(path: string): { readonly packing: Packing; readonly inner: string } {
  const match = /\.(gz|dz|zst)$/i.exec(path);
  if (match === null) return { packing: 'none', inner: path };
  const packing = match[1].toLowerCase() === 'zst' ? 'zstd' : 'gzip';
  return { packing, inner: path.slice(0, match.index) };
}

/** Reads a file in chunks, unpacking it; throws DataError. */
export async function* readChunks(path: string, packing: Packing): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  // An error of the file has to be passed on by hand: `pipe` does not.
  const stream = packing === 'gzip' ? file.pipe(createGunzip()) : file;
  if (stream !== file) file.on('error', (error) => stream.destroy(error));
  try {
    if (packing === 'zstd') yield* unpackZstd(stream);
    else for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (error) {
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error);
  } finally {
    file.destroy();
    stream.destroy();
  }
}

/** Unpacks Zstandard, one frame or several; its checksums are not verified. */
async function* unpackZstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let unpacked: Uint8Array[] = [];
  const decoder = new Decompress((data) => {
    if (data.length > 0) unpacked.push(data);
  });
  let any = false;
  for await (const chunk of chunks) {
    if (!any) checkZstdHeader(chunk);
    any = true;
    for (let at = 0; at < chunk.length; at += ZSTD_SLICE_BYTES) {
      decoder.push(chunk.subarray(at, at + ZSTD_SLICE_BYTES));
      yield* unpacked;
      unpacked = [];
    }
  }
  if (!any) throw new Error('no bytes');
  decoder.push(new Uint8Array(0), true);
  yield* unpacked;
}

/** The decoder reserves the window that a header asks for, up to 2 GB, so the first header is looked at beforehand. */
function checkZstdHeader(chunk: Uint8Array): void {
  if (chunk.length < 6) return;
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (view.getUint32(0, true) !== ZSTD_MAGIC || (chunk[4] & 0x20) !== 0) return;
  const base = 2 ** (10 + (chunk[5] >> 3));
  const window = base + (base / 8) * (chunk[5] & 7);
  if (window > MAX_ZSTD_WINDOW) {
    throw new Error(`a Zstandard window of ${window} bytes, above ${MAX_ZSTD_WINDOW}`);
  }
}

/**
 * Reads files as streams of bytes and unpacks them. It recognises gzip and Zstandard by their first bytes and by file
 * names, and does not interpret the content.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { Decompress } from 'fzstd';
import { DataError } from '../../errors.js';
import { isZstdMagic, UnreadableFrame, ZstdFrames } from '../../formats/zstd-frames.js';
import { noteExpansion, type TextWarnings } from './source.js';

/** How a file is packed; dictzip is gzip. */
export type Packing = 'none' | 'gzip' | 'zstd';

/** Bytes read at a time: enough for speed, little beside a corpus of many small files. */
const CHUNK_BYTES = 1 << 18;
/** Bytes of Zstandard unpacked at a time: four bytes may become 128 KiB, so this many become 32 MiB at most. */
const ZSTD_SLICE_BYTES = 1 << 10;

/** Bytes that identify a packing. */
const MAGIC_BYTES = 4;
/** The endings of packed files. */
const ENDING = /\.(gz|gzip|dz|zst|zstd)$/i;

/** A file's name without the ending of its packing. */
export function unpackedName(path: string): string {
  return path.replace(ENDING, '');
}

/**
 * How a file is packed, by its first bytes and not by its name.
 *
 * @throws DataError if the file cannot be read, or its name promises a packing that the file does not have
 */
export async function packingOf(path: string): Promise<Packing> {
  return packingBy(await readBytes(path, MAGIC_BYTES), path);
}

function packingBy(bytes: Buffer, path: string): Packing {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  if (bytes.length >= MAGIC_BYTES) {
    const magic = bytes.readUInt32LE();
    if (isZstdMagic(magic)) return 'zstd';
  }
  const ending = ENDING.exec(path);
  if (ending === null) return 'none';
  const rule = `must be packed, as its ending ${ending[0]} says`;
  const hint = 'fetch it again if it is damaged, remove the ending from its name if it is not packed';
  throw new DataError(path, rule, 'neither gzip nor Zstandard', hint);
}

/** The beginning of a file, unpacked. */
export interface Head {
  readonly path: string;
  readonly packing: Packing;
  readonly bytes: Uint8Array;
  /** Whether `bytes` are the whole file. */
  readonly whole: boolean;
}

/** Reads the first `count` bytes of a file, or all there are; throws DataError as `packingOf` does. */
export async function readHead(path: string, count: number): Promise<Head> {
  let bytes = await readBytes(path, Math.max(MAGIC_BYTES, count + 1));
  const packing = packingBy(bytes, path);
  if (packing !== 'none') {
    const chunks: Uint8Array[] = [];
    let read = 0;
    for await (const chunk of readChunks(path, packing)) {
      chunks.push(chunk);
      read += chunk.length;
      if (read > count) break;
    }
    bytes = Buffer.concat(chunks);
  }
  return { path, packing, bytes: bytes.subarray(0, count), whole: bytes.length <= count };
}

/** The first bytes of a file as they lie on the disk. */
async function readBytes(path: string, count: number): Promise<Buffer> {
  try {
    await using file = await open(path);
    const buffer = Buffer.alloc(Math.min(count, (await file.stat()).size));
    let bytes = 0;
    for (let read = 1; read > 0 && bytes < buffer.length; bytes += read) {
      read = (await file.read(buffer, bytes, buffer.length - bytes, bytes)).bytesRead;
    }
    return buffer.subarray(0, bytes);
  } catch (error) {
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error);
  }
}

/**
 * Reads a file in chunks, unpacking it; throws DataError.
 *
 * @param warnings receive a packed file that holds many times its size
 */
export async function* readChunks(
  path: string,
  packing: Packing,
  warnings?: TextWarnings,
): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  // `pipe` does not forward the file's errors.
  const stream = packing === 'gzip' ? file.pipe(createGunzip()) : file;
  if (stream !== file) file.on('error', (error) => stream.destroy(error));
  let unpacked = 0;
  try {
    for await (const chunk of packing === 'zstd' ? unpackZstd(stream) : stream) {
      unpacked += chunk.length;
      yield chunk as Uint8Array;
    }
    if (warnings !== undefined && packing !== 'none') {
      noteExpansion(warnings, path, file.bytesRead, unpacked);
    }
  } catch (error) {
    const hint = error instanceof UnreadableFrame ? error.hint : undefined;
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error, hint);
  } finally {
    file.destroy();
    stream.destroy();
  }
}

/** Unpacks Zstandard, one frame or several; its checksums are not verified. */
export async function* unpackZstd(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let unpacked: Uint8Array[] = [];
  const decoder = new Decompress((data) => {
    if (data.length > 0) unpacked.push(data);
  });
  // The decoder reserves the window that a header asks for, up to 2 GB, so headers are checked first.
  const frames = new ZstdFrames();
  let any = false;
  for await (const chunk of chunks) {
    any = true;
    for (let at = 0; at < chunk.length; at += ZSTD_SLICE_BYTES) {
      const slice = chunk.subarray(at, at + ZSTD_SLICE_BYTES);
      frames.check(slice);
      decoder.push(slice);
      yield* unpacked;
      unpacked = [];
    }
  }
  if (!any) throw new Error('no bytes');
  decoder.push(new Uint8Array(0), true);
  yield* unpacked;
}

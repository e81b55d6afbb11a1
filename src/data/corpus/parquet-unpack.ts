/**
 * The body of a parquet page, unpacked: at once if it is small, else as a stream, since a writer may put a whole row
 * group in one page. This file handles codecs, and does not interpret what a page holds.
 */
import { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip } from 'node:zlib';
import { compressors } from 'hyparquet-compressors';
import { unpackLz4 } from '../../formats/lz4.js';
import { unpackSnappy } from '../../formats/snappy.js';
import { unpackZstd } from './packing.js';

/** A file with random access. */
export interface Bytes {
  readonly byteLength: number;
  /** The bytes from `start` to `end`; throws Error if they do not lie within the file. */
  slice(start: number, end?: number): Promise<ArrayBuffer>;
}

/** A page's body: where it lies in the file, and the bytes that its header promises. */
export interface Body {
  readonly start: number;
  readonly end: number;
  readonly codec: string;
  readonly unpackedBytes: number;
}

/** The largest page, packed and unpacked, that is unpacked at once: most writers end their pages near this size. */
export const WHOLE_PAGE_BYTES = 1 << 20;
/** The same for codecs that cannot be unpacked as a stream. */
const WHOLE_ANYHOW_BYTES = 1 << 28;
/** Bytes read at a time from larger pages. */
const CHUNK_BYTES = 1 << 18;

type Chunks = AsyncIterable<Uint8Array>;

const STREAMS: Readonly<Record<string, (packed: Chunks) => Chunks>> = {
  UNCOMPRESSED: (packed) => packed,
  SNAPPY: unpackSnappy,
  LZ4_RAW: unpackLz4,
  ZSTD: unpackZstd,
  GZIP: (packed) => through(packed, createGunzip()),
  BROTLI: (packed) => through(packed, createBrotliDecompress()),
};

/** A page's bytes; throws Error if they are damaged, or not as many as its header promises. */
export async function* unpackedPage(
  file: Bytes,
  body: Body,
  wholeBytes = WHOLE_PAGE_BYTES,
): AsyncGenerator<Uint8Array> {
  const { start, end, codec, unpackedBytes } = body;
  if (unpackedBytes === 0) return;
  const bytes = Math.max(end - start, unpackedBytes);
  let done = 0;
  for await (const chunk of bytes <= wholeBytes ? atOnce(file, body) : asStream(file, body, bytes)) {
    done += chunk.length;
    if (done > unpackedBytes) break;
    yield chunk;
  }
  if (done !== unpackedBytes) {
    throw new Error(
      `a page of ${done}${done > unpackedBytes ? ' bytes or more' : ' bytes'} (${codec}), promised as ${unpackedBytes}`,
    );
  }
}

async function* atOnce(file: Bytes, { start, end, codec, unpackedBytes }: Body): AsyncGenerator<Uint8Array> {
  const packed = new Uint8Array(await file.slice(start, end));
  if (codec === 'UNCOMPRESSED') yield packed;
  else if (!Object.hasOwn(compressors, codec)) throw new Error(`compression of an unknown kind: ${codec}`);
  else yield compressors[codec as keyof typeof compressors]!(packed, unpackedBytes);
}

function asStream(file: Bytes, body: Body, bytes: number): Chunks {
  const { codec, start, end } = body;
  if (Object.hasOwn(STREAMS, codec)) return STREAMS[codec](chunksOf(file, start, end));
  if (bytes <= WHOLE_ANYHOW_BYTES) return atOnce(file, body);
  throw new Error(`a page of ${bytes} bytes in ${codec}, above ${WHOLE_ANYHOW_BYTES}`);
}

async function* chunksOf(file: Bytes, start: number, end: number): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += CHUNK_BYTES) {
    yield new Uint8Array(await file.slice(at, Math.min(end, at + CHUNK_BYTES)));
  }
}

/** Passes bytes through one of Node's own decoders. */
async function* through(
  packed: Chunks,
  decoder: ReturnType<typeof createGunzip>,
): AsyncGenerator<Uint8Array> {
  const source = Readable.from(packed, { objectMode: false });
  // `pipe` does not forward errors.
  source.on('error', (error) => decoder.destroy(error));
  try {
    yield* source.pipe(decoder) as Chunks;
  } finally {
    source.destroy();
    decoder.destroy();
  }
}

/**
 * TFRecord files: for each record its length (64 bits), a checksum of the length, the data, and a checksum of the data,
 * all little-endian. Checksums are CRC-32C, rotated and with a constant added, since a plain CRC is weak for data that
 * holds CRCs itself.
 */
import { crc32c } from './crc32c.js';

/** The constant that masking adds. */
const MASK_DELTA = 0xa282ead8;
const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;

/** The checksum of bytes as TFRecord stores it. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0;
}

/** A record of `data`, with its length and checksums. */
export function tfRecord(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + data.length + FOOTER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(bytes.subarray(0, 8)), true);
  bytes.set(data, HEADER_BYTES);
  view.setUint32(HEADER_BYTES + data.length, maskedCrc32c(data), true);
  return bytes;
}

/**
 * The data of each record as a view, and the record's end in the file; the reading stops at a damaged or unfinished
 * record.
 */
export function* readTfRecords(bytes: Uint8Array): Generator<{ data: Uint8Array; end: number }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER_BYTES + FOOTER_BYTES <= bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    if (view.getUint32(at + 8, true) !== maskedCrc32c(bytes.subarray(at, at + 8))) return;
    const start = at + HEADER_BYTES;
    if (length > bytes.length - start - FOOTER_BYTES) return;
    const data = bytes.subarray(start, start + length);
    if (view.getUint32(start + length, true) !== maskedCrc32c(data)) return;
    at = start + length + FOOTER_BYTES;
    yield { data, end: at };
  }
}

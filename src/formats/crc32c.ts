/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4): detects all damage within 32 bits in a row, and all but one in 2^32
 * cases of other damage.
 */

const GENERATOR = 0x82f63b78; // its bits in reverse
/** Entry `k`·256 + `byte`: the checksum of a byte with `k` zero bytes after it. */
const TABLES = new Uint32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? GENERATOR ^ (crc >>> 1) : crc >>> 1;
  TABLES[byte] = crc;
}
for (let i = 256; i < TABLES.length; i++) {
  const former = TABLES[i - 256];
  TABLES[i] = (former >>> 8) ^ TABLES[former & 0xff];
}

/** The checksum of bytes; with `before`, of earlier bytes with that checksum, followed by `bytes`. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  let i = 0;
  for (; i + 8 <= bytes.length; i += 8) {
    crc =
      TABLES[0x700 | ((crc ^ bytes[i]) & 0xff)] ^
      TABLES[0x600 | (((crc >>> 8) ^ bytes[i + 1]) & 0xff)] ^
      TABLES[0x500 | (((crc >>> 16) ^ bytes[i + 2]) & 0xff)] ^
      TABLES[0x400 | ((crc >>> 24) ^ bytes[i + 3])] ^
      TABLES[0x300 | bytes[i + 4]] ^
      TABLES[0x200 | bytes[i + 5]] ^
      TABLES[0x100 | bytes[i + 6]] ^
      TABLES[bytes[i + 7]];
  }
  for (; i < bytes.length; i++) crc = TABLES[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

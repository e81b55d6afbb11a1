/** CRC-32C, the machine's fastest: the addon's, or the plain one without an addon. */
import { loadAddon } from '../backend/native/addon.js';
import { crc32c as plain } from '../formats/crc32c.js';

let fastest: ((bytes: Uint8Array, before: number) => number) | undefined;

/** The checksum of bytes, or of data with the checksum `before` followed by them. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  fastest ??= native() ?? plain;
  return fastest(bytes, before);
}

function native() {
  try {
    return loadAddon().crc32c;
  } catch {
    return undefined; // the code that computes with it reports why
  }
}

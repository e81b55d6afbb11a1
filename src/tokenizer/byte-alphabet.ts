/**
 * GPT-2's byte alphabet: the order in which the 256 bytes get the first ids, and the printable character that
 * stands for each byte in vocabulary files. Printable bytes of Latin-1 come first and stand for themselves;
 * the others follow and stand for the characters from U+0100 on.
 */

const printable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);

const allBytes = Array.from({ length: 256 }, (_, byte) => byte);
const others = allBytes.filter((byte) => !printable(byte));

/** The byte of each of the first 256 ids. */
export const BYTE_OF_ID = Uint8Array.from([...allBytes.filter(printable), ...others]);

/** The id of each byte. */
export const ID_OF_BYTE = new Uint8Array(256);
for (let id = 0; id < 256; id++) ID_OF_BYTE[BYTE_OF_ID[id]] = id;

const CHARACTER_OF_BYTE = allBytes.map((byte) =>
  String.fromCharCode(printable(byte) ? byte : 0x100 + others.indexOf(byte)),
);
const BYTE_OF_CHARACTER = new Map(CHARACTER_OF_BYTE.map((character, byte) => [character, byte]));

/** Writes bytes in the printable alphabet. */
export function bytesToAlphabet(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += CHARACTER_OF_BYTE[byte];
  return text;
}

/** Writes a text's bytes in UTF-8 in the printable alphabet. */
export function textToAlphabet(text: string): string {
  let written = '';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // A fast path for ASCII: `encode` costs more than the rest for a short word.
    if (code >= 0x80) return bytesToAlphabet(new TextEncoder().encode(text));
    written += CHARACTER_OF_BYTE[code];
  }
  return written;
}

/** Reads bytes from the printable alphabet; undefined if a character is not in the alphabet. */
export function alphabetToBytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = BYTE_OF_CHARACTER.get(text[i]);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** The names of tokens in answers, as in OpenAI's API. */

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a token; undefined if its bytes are not whole characters. */
export function textOf(bytes: readonly number[]): string | undefined {
  try {
    return utf8.decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
}

/** Bytes in ASCII, with unprintable ones as `\xc3`. */
export function escaped(bytes: readonly number[]): string {
  const printable = (byte: number) => byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
  const shown = (byte: number) =>
    printable(byte) ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  return bytes.map(shown).join('');
}

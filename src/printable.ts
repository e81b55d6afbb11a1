/**
 * Text fit to be printed: names of files, tensors and fields may come from anywhere, and hold characters that steer a
 * terminal or make one line look like two. Such characters are written as JSON escapes them.
 */

/** Text on one line, without control characters: those of ASCII and Latin-1, and every kind of line break. */
export function onOneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, escaped);
}

/** JSON text as it is, but for the control characters that JSON lets stand in strings. */
export function printableJSON(json: string): string {
  return json.replace(/[\x7f-\x9f\u2028\u2029]/g, escaped);
}

function escaped(character: string): string {
  const short = JSON.stringify(character).slice(1, -1);
  if (short.length > 1) return short;
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** 1234567 → 1,234,567. */
export function grouped(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

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

/** Text whose blanks and control characters can be seen. */
export function visible(text: string): string {
  if (text === '') return '∅';
  const named = text.replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/^ | $/g, '␣');
  return named.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** 1234567 → 1,234,567. */
export function grouped(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

/** A difference: with its sign, and so many digits after the point. */
export function signed(x: number, digits = 3): string {
  return `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(digits)}`;
}

/** 1 layer, 2 layers. */
export function counted(n: number, noun: string): string {
  return `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/** A number with a metric prefix: 92.9 M, 1.23 G. */
export function metric(n: number): string {
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P'];
  const power = n < 1 ? 0 : Math.min(prefixes.length - 1, Math.floor(Math.log10(n) / 3));
  return `${(n / 1000 ** power).toPrecision(3)} ${prefixes[power]}`.trimEnd();
}

/** A number of bytes with a binary prefix. */
export function byteSize(n: number): string {
  const prefixes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = n < 1 ? 0 : Math.min(prefixes.length - 1, Math.floor(Math.log2(n) / 10));
  return `${(n / 1024 ** power).toPrecision(3)} ${prefixes[power]}`;
}

/** Seconds as 45s, 3m05s or 2h07m. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.round(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
}

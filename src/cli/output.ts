/** How commands print: results on stdout, as text or one JSON document; progress and notices on stderr. */
import { realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { writing } from '../node/file-errors.js';
import { onOneLine, printableJSON } from '../printable.js';

/** Prints a command's result: `document` as JSON where `--json` was given, else `lines`. */
export function printResult(json: boolean, document: unknown, lines: () => readonly string[]): void {
  const text = json ? printableJSON(JSON.stringify(document, null, 2)) : lines().map(onOneLine).join('\n');
  process.stdout.write(`${text}\n`);
}

/** A line of information that is not part of the result. */
export function notice(line: string): void {
  process.stderr.write(`${onOneLine(line)}\n`);
}

/** Writes a page to a file, whole or not at all; a pipe or a device gets it as it comes. Throws FileError. */
export function writePage(file: string, page: string): Promise<void> {
  return writing(file, async () => {
    const former = await stat(file).catch(() => null);
    if (former !== null && !former.isFile()) return writeFile(file, page);
    const target = former === null ? file : await realpath(file);
    const partial = `${target}.${process.pid}.partial`;
    try {
      await writeFile(partial, page);
      await rename(partial, target);
    } finally {
      await rm(partial, { force: true });
    }
  });
}

/** Columns under a header; after the first, which names the row, columns of numbers stand to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const numeric = header.map(
    (_, column) => column > 0 && rows.every((row) => /^([-+~<]?[\d.]|–|$)/.test(row[column])),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (numeric[column] ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
      .join('  ')
      .trimEnd();
  return [line(header), widths.map((width) => '─'.repeat(width)).join('  '), ...rows.map(line)];
}

/** 1234567 → 1,234,567. */
export function grouped(n: number): string {
  return Math.round(n).toLocaleString('en-US');
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

const BAR_WIDTH = 24;
/** Milliseconds between two updates of a bar, and between two plain lines. */
const BAR_INTERVAL = 100;
const LINE_INTERVAL = 10_000;

/** Long work's progress: a bar that redraws itself on a terminal, and now and then a plain line elsewhere. */
export class Progress {
  private readonly start = performance.now();
  private readonly terminal = process.stderr.isTTY === true;
  private shownAt: number;
  private drawn = false;

  constructor(private readonly label: string) {
    this.shownAt = this.terminal ? Number.NEGATIVE_INFINITY : this.start;
  }

  /** Shows the fraction done, what there is to say, and the time left; `from` is the fraction done at the start. */
  update(fraction: number, details: string, from = 0): void {
    const now = performance.now();
    if (now - this.shownAt < (this.terminal ? BAR_INTERVAL : LINE_INTERVAL)) return;
    this.shownAt = now;
    const elapsed = (now - this.start) / 1000;
    const left = (elapsed * (1 - fraction)) / (fraction - from);
    const percent = `${Math.floor(fraction * 100)}%`.padStart(4);
    const text = `${percent}  ${details}  ${duration(left)} left`;
    if (!this.terminal) {
      notice(`${this.label} ${text}`);
      return;
    }
    const full = Math.round(fraction * BAR_WIDTH);
    const line = onOneLine(`${this.label} ${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)} ${text}`);
    process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns ?? 120) - 1)}`);
    this.drawn = true;
  }

  /** Prints a line above the bar. */
  line(text: string): void {
    this.clear();
    notice(text);
    this.shownAt = this.terminal ? Number.NEGATIVE_INFINITY : this.shownAt;
  }

  /** Removes the bar. */
  clear(): void {
    if (this.drawn) process.stderr.write('\r\x1b[2K');
    this.drawn = false;
  }
}

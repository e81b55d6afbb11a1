/**
 * How commands print: results on stdout, as text or one JSON document; progress and notices on stderr. Lines fit the
 * terminal, and 100 columns at most; colour is used if the terminal has it and NO_COLOR is not set.
 */
import { realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { writing } from '../node/file-errors.js';
import { duration, onOneLine, printableJSON } from '../printable.js';

export { byteSize, counted, duration, grouped, metric } from '../printable.js';

/** Columns of the widest output; also of a pipe or a file. */
const MOST_COLUMNS = 100;
const LEAST_COLUMNS = 40;

/** Maximum of columns of a stream's lines; `elsewhere` if it is not a terminal. */
export function terminalWidth(stream: NodeJS.WriteStream = process.stdout, elsewhere = MOST_COLUMNS): number {
  if (stream.isTTY !== true) return elsewhere;
  return Math.min(MOST_COLUMNS, Math.max(LEAST_COLUMNS, stream.columns || elsewhere));
}

const COLOURS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/** A text in a colour, if the stream is a terminal that has it (https://no-color.org). */
export function paint(text: string, colour: keyof typeof COLOURS, stream: NodeJS.WriteStream): string {
  const plain = stream.isTTY !== true || Boolean(process.env.NO_COLOR) || process.env.TERM === 'dumb';
  return plain || text === '' ? text : `\x1b[${COLOURS[colour]}m${text}\x1b[0m`;
}

let silent = false;

/** Says nothing any more, until what it returns is called: another process says it. */
export function silence(): () => void {
  silent = true;
  return () => {
    silent = false;
  };
}

/** Prints a command's result: `document` as JSON where `--json` was given, else `lines`. */
export function printResult(json: boolean, document: unknown, lines: () => readonly string[]): void {
  if (silent) return;
  const text = json
    ? printableJSON(JSON.stringify(document, null, 2))
    : emphasised(lines().map(onOneLine).flatMap(asWide)).join('\n');
  process.stdout.write(`${text}\n`);
}

/** A line wrapped to a terminal's columns; unchanged elsewhere, so that it can be searched. */
const asWide = (line: string) => paragraph(line, terminalWidth(process.stdout, Number.POSITIVE_INFINITY));

/** A text as lines of at most `columns` columns, with its indentation. */
export function paragraph(line: string, width = terminalWidth()): string[] {
  const indent = /^ */.exec(line)![0];
  const lines: string[] = [];
  let rest = line;
  while (rest.length > width) {
    const at = rest.lastIndexOf(' ', width);
    if (at <= indent.length) break;
    lines.push(rest.slice(0, at));
    rest = indent + rest.slice(at + 1);
  }
  return [...lines, rest];
}

/** The lines with the headers of tables in bold and their rules pale. */
function emphasised(lines: readonly string[]): string[] {
  const isRule = (line: string | undefined) => line !== undefined && /^─[─ ]*$/.test(line);
  return lines.map((line, i) =>
    isRule(line)
      ? paint(line, 'dim', process.stdout)
      : isRule(lines[i + 1])
        ? paint(line, 'bold', process.stdout)
        : line,
  );
}

/** A line of information that is not part of the result. */
export function notice(line: string): void {
  if (silent) return;
  const [, lead = '', rest = ''] = /^(loopnn: |warning: )?(.*)$/s.exec(onOneLine(line)) ?? [];
  const colour = lead.startsWith('loopnn') ? 'red' : 'yellow';
  process.stderr.write(`${paint(lead, colour, process.stderr)}${rest}\n`);
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

/**
 * Columns under a header; after the first, which names the row, columns of numbers stand to the right. Columns beyond
 * the width follow in further tables under the same names; a cell that is too wide by itself is cut.
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  width = terminalWidth(),
): string[] {
  const [names, ...columns] = header.map((_, column) => layOut(header[column], rows, column, width));
  const parts: (typeof columns)[] = [];
  let left = 0;
  for (const column of columns) {
    if (parts.length === 0 || left < GAP.length + column.width) {
      parts.push([]);
      left = width - names.width;
    }
    left -= GAP.length + column.width;
    parts.at(-1)!.push(column);
  }
  if (parts.length === 0) parts.push([]);
  return parts.flatMap((part, i) => {
    const all = [names, ...part];
    const line = (row: number) =>
      all
        .map(({ cells }) => cells[row])
        .join(GAP)
        .trimEnd();
    const rule = all.map((column) => '─'.repeat(column.width)).join(GAP);
    const body = rows.map((_, row) => line(row + 1));
    return [...(i === 0 ? [] : ['']), line(0), rule, ...body];
  });
}

const GAP = '  ';

/** A column's cells, the header first, padded to one width that leaves room for the names before it. */
function layOut(
  header: string,
  rows: readonly (readonly string[])[],
  column: number,
  width: number,
): { width: number; cells: string[] } {
  const most = column === 0 ? Math.floor(width / 2) : Math.ceil(width / 2) - GAP.length;
  const cells = [header, ...rows.map((row) => row[column])].map((cell) => cut(onOneLine(cell), most));
  const own = Math.max(...cells.map((cell) => cell.length));
  const numeric = column > 0 && rows.every((row) => /^([-+~<−]?[\d.]|–|$)/.test(row[column]));
  return { width: own, cells: cells.map((cell) => (numeric ? cell.padStart(own) : cell.padEnd(own))) };
}

/** A text cut to a maximum of characters. */
function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

const BAR_WIDTH = 24;
/** Milliseconds between two updates of a bar, and between two plain lines. */
const BAR_INTERVAL = 100;
const LINE_INTERVAL = 10_000;

/** Long work's progress: a bar that redraws itself on a terminal, and now and then a plain line elsewhere. */
export class Progress {
  private readonly start = performance.now();
  private readonly terminal = process.stderr.isTTY === true && !silent;
  private shownAt: number;
  private drawn = false;

  constructor(private readonly label: string) {
    this.shownAt = this.terminal ? Number.NEGATIVE_INFINITY : this.start;
  }

  /**
   * Shows the fraction done, what there is to say, the most important first, and the time left: `left` seconds, or by
   * default what the fraction says, which was `from` at the start.
   */
  update(
    fraction: number,
    details: string | readonly string[],
    from = 0,
    left = this.left(fraction, from),
  ): void {
    const now = performance.now();
    if (now - this.shownAt < (this.terminal ? BAR_INTERVAL : LINE_INTERVAL)) return;
    this.shownAt = now;
    const percent = `${Math.floor(fraction * 100)}%`.padStart(4);
    const says = [details].flat();
    const rest = `${duration(left)} left`;
    if (!this.terminal) {
      notice([`${this.label} ${percent}`, ...says, rest].join(GAP));
      return;
    }
    const line = fitted(onOneLine(this.label), fraction, [percent, ...says.map(onOneLine)], rest);
    process.stderr.write(`\r\x1b[2K${line}`);
    this.drawn = true;
  }

  private left(fraction: number, from: number): number {
    const elapsed = (performance.now() - this.start) / 1000;
    return (elapsed * (1 - fraction)) / (fraction - from);
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

/**
 * A line of progress in the columns there are. Where they are too few the bar shrinks and goes, then the last details,
 * then the label's end; the time left stays.
 */
export function progressLine(
  label: string,
  details: readonly string[],
  left: string,
  columns: number,
): { label: string; bar: number; details: string[]; left: string } {
  const kept = [...details];
  const length = (of: readonly string[]) => [...of, left].join(GAP).length;
  const room = () => columns - length(kept);
  while (kept.length > 1 && room() < label.length + 1) kept.pop();
  if (kept.length === 1 && room() < 1) kept.pop();
  const name = cut(label, Math.max(0, room() - 1));
  const bar = Math.min(BAR_WIDTH, room() - name.length - 2);
  return { label: name, bar: bar < 6 ? 0 : bar, details: kept, left };
}

function fitted(label: string, fraction: number, details: readonly string[], left: string): string {
  const columns = (process.stderr.columns || MOST_COLUMNS) - 1;
  const line = progressLine(label, details, left, columns);
  const full = Math.round(fraction * line.bar);
  const bar = paint('█'.repeat(full), 'cyan', process.stderr) + '░'.repeat(line.bar - full);
  return [line.label, ...(line.bar > 0 ? [bar] : []), [...line.details, line.left].join(GAP)]
    .filter((part) => part !== '')
    .join(' ');
}

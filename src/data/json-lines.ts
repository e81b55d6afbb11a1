/** Reads texts from JSONL files: one JSON object a line. Knows which lines are broken, and goes on after them. */
import { DataError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import { openFile } from './documents.js';
import { noWarnings } from './source.js';

/** Broken lines after which the file is taken for something else. */
const MOST_BROKEN = 100;
/** UTF-16 units after which a line is taken for the sign of another kind of file. */
const LONGEST_LINE = 1 << 24;

export interface JSONLine {
  /** Its number, from 1. */
  readonly line: number;
  readonly text: string;
}

/** A line that could not be used. */
export interface BrokenLine {
  readonly line: number;
  readonly reason: string;
}

/**
 * The texts in a field of every line; empty lines are skipped, and those without such a text counted as broken.
 * Throws DataError where the file is missing, has no line to use, more than a hundred broken ones, or one of many megabytes.
 */
export async function readJSONLines(
  path: string,
  field: string,
): Promise<{ texts: JSONLine[]; broken: BrokenLine[] }> {
  const document = await openFile(path, noWarnings());
  const texts: JSONLine[] = [];
  const broken: BrokenLine[] = [];
  let line = 0;
  const take = (content: string): void => {
    line++;
    if (content.trim() === '') return;
    const found = textOf(content, field);
    if (typeof found === 'string') texts.push({ line, text: found });
    else broken.push({ line, reason: found.reason });
    if (broken.length > MOST_BROKEN) {
      const rule = `must have at most ${MOST_BROKEN} broken lines`;
      throw new DataError(path, rule, undefined, describeBroken(broken));
    }
  };
  let rest = '';
  for await (const piece of document.pieces()) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop()!;
    for (const content of lines) take(content);
    if (rest.length > LONGEST_LINE) {
      const rule = `its lines must have at most ${LONGEST_LINE} characters`;
      throw new DataError(`${path}, line ${line + 1}`, rule, undefined, 'it may not be JSONL');
    }
  }
  if (rest !== '') take(rest);
  if (texts.length === 0) {
    throw new DataError(
      path,
      `must have lines of JSON with a text in the field '${field}'`,
      undefined,
      describeBroken(broken),
    );
  }
  return { texts, broken };
}

/** The first broken lines in words: `2 broken lines: line 3 must be JSON, line 7 …`. */
export function describeBroken(broken: readonly BrokenLine[], most = 5): string {
  const named = broken.slice(0, most).map(({ line, reason }) => `line ${line} ${reason}`);
  const more = broken.length > most ? ', …' : '';
  return `${broken.length} broken ${broken.length === 1 ? 'line' : 'lines'}: ${named.join(', ')}${more}`;
}

function textOf(content: string, field: string): string | { reason: string } {
  let value: unknown;
  try {
    value = parseJSON(content);
  } catch {
    return { reason: 'must be JSON' };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { reason: 'must be a JSON object' };
  }
  const text = Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined;
  if (typeof text !== 'string') return { reason: `must have a text in the field '${field}'` };
  return text.trim() === '' ? { reason: `must have a text in the field '${field}' that is not empty` } : text;
}

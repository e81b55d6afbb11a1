/**
 * Checks the lines and phrases of prose and comments, as a part of `npm run lint`; `--write` wraps lines that are too
 * long:
 *
 *   node scripts/prose.mjs [--write]
 *
 * Prose in README.md and docs/ has lines of at most 100 characters, code and its comments of at most 120. Tables, code
 * blocks, addresses and strings are exempt, and so is docs/log.md, which stays as it was written. Neither prose nor code
 * may have a phrase of UNENGLISH.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LONGEST_PROSE = 100;
const LONGEST_CODE = 120;

/** Phrases that are not English, or do not say what is meant, and what to say instead. */
const UNENGLISH = [
  [/\b(?:gone on with|goes on upon)\b/i, 'resumed, continues on'],
  [/\btold and left out\b/i, 'reported and skipped'],
  [/\bown affair\b/i, "the backend's to decide"],
  [/\b(?:of|for) who (?!is|are|was)/i, 'of or for those who'],
  [/\bhas seen to\b/i, 'has checked'],
  [/\bin the midst of\b/i, 'during'],
  [/\bwhoever\b/i, 'the caller, the client, the reader'],
];

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  .split('\n')
  .filter((path) => !/fixtures|generated|^docs\/results\/|^docs\/log\.md$|^scripts\/prose\.mjs$/.test(path));
const pages = files.filter((path) => /^(?:README|docs\/[\w-]+)\.md$/.test(path));
const sources = files.filter((path) =>
  /^(?:src|test|studies|scripts|native)\/.*\.(?:tsx?|mjs|cc|h|c)$/.test(path),
);

/** Words of a text. Code between backticks is one word; a mark that must not begin a line joins the word before it. */
function wordsOf(text) {
  const words = [];
  for (const [word] of text.matchAll(/(?:`[^`]*`|[^\s`])+/g)) {
    if (words.length > 0 && /^(?:[-+*#>|=]|\d+[.)]$)/.test(word)) words.push(`${words.pop()} ${word}`);
    else words.push(word);
  }
  return words;
}

/** A text as lines of at most `longest` characters; the first begins with `first`, the others with `rest`. */
function fill(text, first, rest, longest) {
  const lines = [];
  let line = first;
  let empty = true;
  for (const word of wordsOf(text)) {
    if (!empty && line.length + 1 + word.length > longest) {
      lines.push(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return [...lines, line];
}

/** A page, with each paragraph wrapped again that has too long a line. */
function wrapPage(text) {
  const out = [];
  let paragraph = null;
  let fenced = false;
  const flush = () => {
    if (!paragraph) return;
    const { lines, first, rest } = paragraph;
    const long = lines.some((line) => line.length > LONGEST_PROSE);
    const content = lines.map((line, i) => line.slice(i === 0 ? first.length : 0).trim()).join(' ');
    out.push(...(long ? fill(content, first, rest, LONGEST_PROSE) : lines));
    paragraph = null;
  };
  for (const line of text.split('\n')) {
    const fence = /^\s*```/.test(line);
    if (fence) fenced = !fenced;
    const [item] = /^\s*(?:[-*]|\d+\.) /.exec(line) ?? [];
    const apart = fence || fenced || /^\s*$|^\s*[|<#]|^\[[^\]]+\]: |^\s*!?\[.*\]\([^)]*\)$/.test(line);
    const code = !paragraph && item === undefined && /^ {4}/.test(line);
    if (apart || code) {
      flush();
      out.push(line);
    } else if (item !== undefined || !paragraph) {
      flush();
      const first = item ?? /^\s*/.exec(line)[0];
      paragraph = { lines: [line], first, rest: ' '.repeat(first.length) };
    } else paragraph.lines.push(line);
  }
  flush();
  return out.join('\n');
}

/** A source, with too long comments wrapped; the rest of a line goes before the text of the next line. */
function wrapComments(text) {
  const lines = text.split('\n');
  let example = false;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i];
    if (/^\s*\* @example/.test(line)) example = true;
    if (line.endsWith('*/')) example = false;
    if (example || line.length <= LONGEST_CODE) continue;
    const [, single, content] = /^(\s*)\/\*\* (.*) \*\/$/.exec(line) ?? [];
    if (single !== undefined) {
      lines.splice(
        i,
        1,
        `${single}/**`,
        ...fill(content, `${single} * `, `${single} * `, LONGEST_CODE),
        `${single} */`,
      );
      continue;
    }
    const [, mark, rest] = /^(\s*(?:\*|\/\/) {1,4}(?:- |\d+\. )?)(\S.*)$/.exec(line) ?? [];
    if (mark === undefined || / {3}|^\|/.test(rest)) continue;
    const indent = mark.replace(/- |\d+\. /, (item) => ' '.repeat(item.length));
    const [head, ...tail] = fill(rest.replace(/ \*\/$/, ''), mark, indent, LONGEST_CODE);
    const after = tail.map((part) => part.slice(indent.length)).join(' ');
    const next = lines[i + 1] ?? '';
    const joins = next.startsWith(indent) && /^[^\s@\-*/|]/.test(next.slice(indent.length));
    lines[i] = head;
    if (after === '') continue;
    if (joins && !rest.endsWith(':')) lines[i + 1] = `${indent}${after} ${next.slice(indent.length)}`;
    else lines.splice(i + 1, 0, `${indent}${after}${rest.endsWith(' */') ? ' */' : ''}`);
  }
  return lines.join('\n');
}

/** Whether a long line may stay: one with an address, or code in TypeScript, whose formatter keeps only strings long. */
const mayStay = (path, line) =>
  /https?:/.test(line) || (!/^native\//.test(path) && !/^\s*(?:\/\/|\/?\*)/.test(line));

const complaints = [];
for (const path of [...pages, ...sources]) {
  const before = readFileSync(`${ROOT}/${path}`, 'utf8');
  const wrap = pages.includes(path) ? wrapPage : wrapComments;
  const after = wrap(before);
  if (after !== before && process.argv.includes('--write')) writeFileSync(`${ROOT}/${path}`, after);
  const text = process.argv.includes('--write') ? after : before;
  const wrapped = wrap(text);
  if (wrapped !== text) {
    const lines = wrapped.split('\n');
    const first = text.split('\n').findIndex((line, i) => line !== lines[i]);
    complaints.push(`${path}:${first + 1}: a line is too long; node scripts/prose.mjs --write wraps it`);
  }
  text.split('\n').forEach((line, i) => {
    if (sources.includes(path) && line.length > LONGEST_CODE && wrapped === text && !mayStay(path, line)) {
      complaints.push(`${path}:${i + 1}: more than ${LONGEST_CODE} characters`);
    }
    for (const [phrase, say] of UNENGLISH) {
      const [found] = phrase.exec(line) ?? [];
      if (found !== undefined) complaints.push(`${path}:${i + 1}: '${found}': say ${say}`);
    }
  });
}
for (const complaint of complaints) console.error(complaint);
if (complaints.length > 0) process.exitCode = 1;

/** Rows cut wherever chunks end, broken ones counted by line, and quotes that never close refused. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openSource } from '../../../src/data/corpus/corpora.js';
import { CsvSplitter, type Delimiter } from '../../../src/data/corpus/csv-splitter.js';
import { describeWarnings, FIELD_DEFAULTS, noWarnings } from '../../../src/data/corpus/source.js';
import { Fuzz, fuzz } from '../../fuzz.js';
import { readSource } from '../helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-csv-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function read(
  content: string | Uint8Array,
  warnings = noWarnings(),
  name = 'a.csv',
): Promise<string[]> {
  await writeFile(join(folder, name), content);
  return readSource(await openSource(join(folder, name), undefined, FIELD_DEFAULTS), warnings);
}

type Row = [line: number, ...cells: string[]];

function split(chunks: readonly Uint8Array[], delimiter: Delimiter = ',', longest?: number): Row[] {
  const splitter = new CsvSplitter(delimiter, longest);
  const rows: Row[] = [];
  const take = ({ line, cells, fault }: { line: number; cells: readonly Uint8Array[]; fault?: string }) =>
    rows.push([
      line,
      ...(fault === undefined ? cells.map((cell) => Buffer.from(cell).toString()) : [`(${fault})`]),
    ]);
  for (const chunk of chunks) for (const row of splitter.push(chunk)) take(row);
  for (const row of splitter.end()) take(row);
  return rows;
}

/** Rows with everything that a quote can hold, and what they are. */
const TEXT =
  'id,text\r\n1,"two\r\nlines, ""quoted"""\n\n2,\n3,""\r4,5" pipe\n5,"a" b\n,"日本語, 😀"\n"7","last"';
const ROWS: Row[] = [
  [1, 'id', 'text'],
  [2, '1', 'two\r\nlines, "quoted"'],
  [5, '2', ''],
  [6, '3', ''],
  [7, '4', '5" pipe'],
  [8, '(text after a closing quote)'],
  [9, '', '日本語, 😀'],
  [10, '7', 'last'],
];

test('rows, cells and line numbers are found wherever a chunk ends', () => {
  const bytes = Buffer.from(TEXT);
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(split([bytes.subarray(0, at), bytes.subarray(at)]), ROWS, `cut at ${at}`);
  }
  assert.deepEqual(split(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))), ROWS);
  assert.deepEqual(split([Buffer.from(TEXT.replaceAll(',', '\t'))], '\t').length, ROWS.length);
});

test('what is written as RFC 4180 has it comes back, cut anywhere', () => {
  const random = new Fuzz(2);
  const cell = () =>
    Array.from({ length: random.below(6) }, () =>
      random.pick(['"', ',', '\n', '\r', 'é', ' ', 'word', '']),
    ).join('');
  for (let n = 0; n < 300; n++) {
    const rows = Array.from({ length: 1 + random.below(5) }, () =>
      Array.from({ length: 2 + random.below(3) }, cell),
    );
    const end = random.pick(['\n', '\r\n', '\r']);
    const text =
      rows.map((row) => row.map((value) => `"${value.replaceAll('"', '""')}"`).join(',')).join(end) + end;
    const bytes = Buffer.from(text);
    const at = random.below(bytes.length);
    const found = split([bytes.subarray(0, at), bytes.subarray(at)]).map(([, ...cells]) => cells);
    assert.deepEqual(found, rows);
  }
});

test('rows that do not fit the header, or cannot be read, are left out and counted by line', async () => {
  const warnings = noWarnings();
  const content = 'id,text\n1,good\n2\n3,a,b\n"4"x,c\n5,"two\nlines"\n6,also good\n';
  assert.deepEqual(await read(content, warnings), ['good', 'two\nlines', 'also good']);
  const path = join(folder, 'a.csv');
  assert.deepEqual(describeWarnings(warnings), [
    `skipped 3 broken records: ${path}, line 3 (1 cell below a header of 2); ${path}, line 4 (3 cells below a header of 2); ` +
      `${path}, line 5 (text after a closing quote)`,
  ]);
  const many = `id,text\n${'1\n'.repeat(101)}`;
  await assert.rejects(
    read(many),
    /must have at most 100 broken records in all files, got .*line 2 \(1 cell below/,
  );
});

test('a quote that is never closed is refused with its line, and so is a header that cannot be read', async () => {
  const rest = '6,more\n'.repeat(50);
  await assert.rejects(read(`id,text\n1,good\n2,"open\n${rest}`), {
    name: 'DataError',
    message: `${join(folder, 'a.csv')}, line 3: must close its quotes, got 'a quote that stays open'; fix the line`,
  });
  await assert.rejects(
    read(`"text"s,id\na,1\n`),
    /line 1: must be a header, got 'text after a closing quote'/,
  );
});

test('a row has bounds: it is left out where it is longer, or has cells without end', () => {
  const long = Buffer.from(`a,b\n1,${'x'.repeat(50)}\n2,y\n`);
  const chunks = [0, 10, 20, 30, 40].map((at, i, all) => long.subarray(at, all[i + 1]));
  assert.deepEqual(split(chunks, ',', 20), [
    [1, 'a', 'b'],
    [2, '(longer than 20 bytes)'],
    [3, '2', 'y'],
  ]);
  const wide = Buffer.from(`${','.repeat(70_000)}\n2,y\n`);
  assert.deepEqual(split([wide]), [
    [1, '(more than 65536 cells)'],
    [2, '2', 'y'],
  ]);
});

test('bytes of a cell that are not UTF-8 are mended and counted; those of other columns do not matter', async () => {
  const warnings = noWarnings();
  const content = Buffer.from('text,\xe9\ncaf\xe9,a\ngood,\xe9\n', 'latin1');
  assert.deepEqual(await read(content, warnings), ['caf\ufffd', 'good']);
  assert.equal(warnings.invalidUtf8, 1);
});

test('damaged CSV gives texts or an error of ours', async () => {
  const random = new Fuzz(3);
  const whole = Buffer.from(
    `id,text\n${Array.from({ length: 20 }, (_, i) => `${i},"text ""${i}"", and\nmore"\n`).join('')}`,
  );
  await fuzz(120, ['DataError'], () => read(random.bytes(whole)));
});

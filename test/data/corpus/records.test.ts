/**
 * Files of records as Python's tools write them (`make-records.py`), under any name, packed or not: what they hold, and
 * nothing else.
 */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openSource } from '../../../src/data/corpus/corpora.js';
import { openFile } from '../../../src/data/corpus/documents.js';
import { prepareCorpus } from '../../../src/data/prepare.js';
import {
  describeWarnings,
  FIELD_DEFAULTS,
  type FieldOptions,
  noWarnings,
} from '../../../src/data/corpus/source.js';
import { fixture, fixtureTexts, readSource } from '../helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-records-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** What the reference readers read. */
const EXPECTED = JSON.parse(await readFile(fixture('records/expected.json'), 'utf8')) as Record<
  string,
  string[]
>;

async function write(name: string, content: string | Uint8Array): Promise<string> {
  await mkdir(join(folder, name, '..'), { recursive: true });
  await writeFile(join(folder, name), content);
  return join(folder, name);
}

async function read(
  path: string,
  options: Partial<FieldOptions> = {},
  warnings = noWarnings(),
): Promise<string[]> {
  return readSource(await openSource(path, undefined, { ...FIELD_DEFAULTS, ...options }), warnings);
}

test('JSON and CSV of every tool give the texts that Python reads, packed too', async () => {
  assert.ok(Object.keys(EXPECTED).length > 15);
  for (const [name, texts] of Object.entries(EXPECTED)) {
    const warnings = noWarnings();
    assert.deepEqual(await read(fixture(`records/${name}`), {}, warnings), texts, name);
    assert.deepEqual(warnings, noWarnings(), name);
    const bytes = await readFile(fixture(`records/${name}`));
    if (name.endsWith('.zst')) continue;
    assert.deepEqual(await read(await write(`${name}.gz`, gzipSync(bytes))), texts, `${name}.gz`);
  }
});

test('content decides, whatever the name, and what the name does not promise is told', async () => {
  // A single column is like any other text, and semicolons are common in it: those need their name.
  const named = ['column.csv', 'semicolons.csv'];
  const names = ['part-00000', 'a.JSON', 'a.jl', 'a.txt', 'a.json.gz', 'gzip-without-ending', 'a.csv'];
  for (const [fixtureName, texts] of Object.entries(EXPECTED)) {
    if (named.includes(fixtureName) || fixtureName.endsWith('.zst')) continue;
    const bytes = await readFile(fixture(`records/${fixtureName}`));
    for (const name of names) {
      const path = await write(name, name.includes('gz') ? gzipSync(bytes) : bytes);
      assert.deepEqual(await read(path), texts, `${fixtureName} as ${name}`);
    }
  }
  const warnings = noWarnings();
  await write('part-00000', await readFile(fixture('records/excel.csv')));
  await write('a.jl', await readFile(fixture('records/pandas-lines.json')));
  await write('a.txt', await readFile(fixture('records/data.json')));
  for (const name of ['part-00000', 'a.jl', 'a.txt']) await read(join(folder, name), {}, warnings);
  assert.deepEqual(describeWarnings(warnings), [
    `read 2 files as records, by content and not by name: ${join(folder, 'part-00000')} (CSV); ` +
      `${join(folder, 'a.txt')} (records in JSON); --as text reads them as plain text`,
  ]);
});

test('parquet is told by its content too', async () => {
  const bytes = await readFile(fixture('snappy.parquet'));
  for (const name of ['part-00000', 'a.json']) {
    assert.deepEqual(await read(await write(name, bytes)), fixtureTexts(), name);
  }
  assert.deepEqual(await read(await write('b', gzipSync(bytes))), fixtureTexts());
  assert.deepEqual(await read(await write('c.txt', 'PAR1 is how a text may begin')), [
    'PAR1 is how a text may begin',
  ]);
});

test('records lie in folders among texts, and each pass finds the same', async () => {
  await write('a.txt', 'A book, with commas.\n');
  await write('b/part-00000', await readFile(fixture('records/datasets-lines.json')));
  await write('b/part-00001.gz', gzipSync(await readFile(fixture('records/indented.json'))));
  await write('c.csv', await readFile(fixture('records/excel.csv')));
  await write('d.md', '[a link](http://x)\n');
  const source = await openSource(folder);
  const texts = EXPECTED['excel.csv'];
  const all = ['A book, with commas.\n', ...texts, ...texts, ...texts, '[a link](http://x)\n'];
  assert.deepEqual(await readSource(source), all);
  assert.deepEqual(await readSource(source), all);
});

test('twenty records are twenty documents, and not one byte of another field is trained on', async () => {
  const records = Array.from({ length: 20 }, (_, i) => ({ text: `Document ${i}.`, url: `http://x/${i}` }));
  const lines = records.map((record) => JSON.stringify(record)).join('\n');
  const forms: Record<string, string | Uint8Array> = {
    'a.jsonl': lines,
    'c4.00000.json.gz': gzipSync(lines),
    'a.json': lines,
    'a.jl': lines,
    'part-00000': lines,
    'array.json': JSON.stringify(records),
    'data.json': JSON.stringify({ data: records }),
    'a.csv': ['text,url', ...records.map(({ text, url }) => `"${text}",${url}`)].join('\r\n'),
    'in-a-folder/a.json': JSON.stringify(records, null, 2),
  };
  const found: Record<string, unknown> = {};
  for (const [name, content] of Object.entries(forms)) {
    const path = await write(name, content);
    const out = `${path}-data`;
    const sources = [name.includes('/') ? join(path, '..') : path];
    const options = { sources, out, tokenizer: 'bytes', seed: 2357 };
    const { meta } = await prepareCorpus(options);
    const shards = await Promise.all(['train.bin', 'val.bin'].map((file) => readFile(join(out, file))));
    assert.equal(meta.train.documents + meta.val.documents, 20, name);
    found[name] = [meta.train, meta.val, ...shards.map((shard) => shard.toString('latin1'))];
    assert.deepEqual(found[name], found['a.jsonl'], name);
    const text = Buffer.concat(shards).toString('utf16le');
    for (const foreign of ['url', 'http', '"', '{'])
      assert.ok(!text.includes(foreign), `${name}: ${foreign}`);
  }
});

test('another field is named with --field, also where the default is there', async () => {
  const url = Array.from({ length: 20 }, (_, i) => `http://x/${i}`);
  for (const name of [
    'indented.json',
    'data.json',
    'jq.json',
    'pandas-lines.json',
    'excel.csv',
    'pandas.tsv',
  ]) {
    assert.deepEqual(await read(fixture(`records/${name}`), { field: 'url' }), url, name);
  }
});

test('records without the field are refused: what there is, --field and --as text', async () => {
  const other = 'loopnn prepare reads another field with --field, and files as plain text with --as text';
  const refused: [name: string, content: string, message: string][] = [
    [
      'a.json',
      '[{"id": 1, "body": "a", "url": "b"}]',
      "a.json, record 1: must have the field 'text', got 'the text fields body, url'",
    ],
    [
      'b.json',
      '{"n": 1, "data": [{"body": "a"}]}',
      "b.json, record 1: must have the field 'text', got 'the text fields body'",
    ],
    [
      'part-1',
      '{"body": "a"}\n{"body": "b"}\n',
      "part-1, line 1: must have the field 'text', got 'the text fields body'",
    ],
    [
      'c.json',
      `{"body": "${'a word '.repeat(50)}",\n"id": 1}`,
      "c.json, record 1: must have the field 'text', got 'the text fields body'",
    ],
    ['a.csv', 'id,body\n1,a\n', "a.csv, line 1: must have the column 'text', got 'id, body'"],
    [
      'b.csv',
      'text,id,text\na,1,b\n',
      "b.csv, line 1: must have the column 'text' once, got 'text, id, text'",
    ],
    [
      'prose.csv',
      'It was a dark night.\nIt was.\n',
      "prose.csv, line 1: must have the column 'text', got 'It was a dark night.'",
    ],
    ['part-2', 'id,body\n1,a\n2,b\n', "part-2, line 1: must have the column 'text', got 'id, body'"],
  ];
  for (const [name, content, message] of refused) {
    const path = await write(name, content);
    const expected = { name: 'DataError', message: `${join(folder, message)}; ${other}` };
    await assert.rejects(read(path), expected, name);
    assert.deepEqual(await read(path, { as: 'text' }), [content], name);
  }
});

test('--as says what all files are, and is refused where it does not fit', async () => {
  const lines = await write('a.json', '{"text":"one"}\n{"text":"two"}\n');
  assert.deepEqual(await read(lines, { as: 'text' }), ['{"text":"one"}\n{"text":"two"}\n']);
  // More broken lines than whole ones are a log, unless the user says that they are JSON Lines.
  const log = await write('b.log', 'start\n{"text":"one"}\nstop\n');
  assert.deepEqual(await read(log), ['start\n{"text":"one"}\nstop\n']);
  const warnings = noWarnings();
  assert.deepEqual(await read(log, { as: 'jsonl' }, warnings), ['one']);
  assert.equal(warnings.broken, 2);
  const semicolons = fixture('records/semicolons.csv');
  const unnamed = await write('c', await readFile(semicolons));
  assert.deepEqual(await read(unnamed, { as: 'csv' }), EXPECTED['semicolons.csv']);

  const array = fixture('records/indented.json');
  await assert.rejects(read(array, { as: 'jsonl' }), {
    name: 'DataError',
    message: `${array}: must be JSON Lines, as --as jsonl says, got 'records in JSON'; without --as its content decides`,
  });
  await assert.rejects(read(lines, { as: 'csv' }), /must be CSV, as --as csv says, got 'JSON Lines'/);
  for (const as of ['text', 'jsonl', 'csv'] as const) {
    await assert.rejects(read(fixture('none.parquet'), { as }), /must be text in UTF-8, got 'a binary file/);
  }
  await assert.rejects(read('sotu', { as: 'text' }), {
    name: 'ConfigError',
    message: "--as: is for files and folders, got 'sotu'; leave it out",
  });
  const hub = prepareCorpus({
    sources: ['hf:owner/set'],
    out: join(folder, 'out'),
    tokenizer: 'bytes',
    seed: 1,
    fields: { as: 'text' },
  });
  await assert.rejects(hub, /--as: is for files and folders, got 'hf:owner\/set'; leave it out/);
});

test('a file of text that holds records is refused by name of its kind', async () => {
  const open = (name: string, content: string | Uint8Array) =>
    write(name, content).then((path) => openFile(path, noWarnings()));
  const lines = '{"text":"one"}\n{"text":"two"}\n';
  await assert.rejects(
    open('a.txt', lines),
    /must be a file of text, got 'JSON Lines'; loopnn prepare makes data/,
  );
  await assert.rejects(
    open('b.gz', gzipSync(`[${lines.trim().replace('\n', ',')}]`)),
    /got 'records in JSON';/,
  );
  await assert.rejects(open('c.csv', 'id,text\n1,a\n'), /must be a file of text, got 'CSV';/);
  await assert.rejects(
    open('d', await readFile(fixture('none.parquet'))),
    /must be a file of text, got 'parquet';/,
  );
  await assert.rejects(open('e.txt.gz', gzipSync('')), /must hold text, got 'an empty file'/);
});

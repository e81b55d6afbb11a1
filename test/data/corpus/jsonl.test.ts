import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openSource } from '../../../src/data/corpus/corpora.js';
import {
  describeWarnings,
  FIELD_DEFAULTS,
  type FieldOptions,
  noWarnings,
} from '../../../src/data/corpus/source.js';
import { readSource } from '../helpers.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-jsonl-'));
  path = join(folder, 'a.jsonl');
});
afterEach(() => rm(folder, { recursive: true }));

const open = (file = path, options: Partial<FieldOptions> = {}) =>
  openSource(file, undefined, { ...FIELD_DEFAULTS, ...options });
const line = (text: unknown, field = 'text') => JSON.stringify({ id: 1, [field]: text });

test('each line is a document: one field of it, line breaks and empty texts as they are', async () => {
  const texts = ['one', 'two\nlines', '', 'café 😀', '\ufeffmark', 'x'.repeat(700_000), 'last'];
  const content = texts.map((text) => line(text));
  const expected = async (file: string) => assert.deepEqual(await readSource(await open(file)), texts);
  await writeFile(path, content.join('\n'));
  await expected(path);
  await writeFile(path, `\ufeff${content.join('\r\n')}\r\n\n  \n`);
  await expected(path);
  await writeFile(`${path}.gz`, gzipSync(content.join('\n')));
  await expected(`${path}.gz`);
  await writeFile(join(folder, 'b.ndjson'), content.join('\n'));
  await expected(join(folder, 'b.ndjson'));
  assert.deepEqual(await readSource(await open(folder)), [...texts, ...texts, ...texts], 'a folder of them');
});

test('another field is named with --field; a first line without it names those there are', async () => {
  await writeFile(path, `${JSON.stringify({ url: 'u', n: 1, content: 'hello' })}\n`);
  assert.deepEqual(await readSource(await open(path, { field: 'content' })), ['hello']);
  await assert.rejects(readSource(await open()), {
    name: 'DataError',
    message: `${path}, line 1: must have the field 'text', got 'the text fields url, content'; loopnn prepare reads another field with --field, and files as plain text with --as text`,
  });
  await writeFile(path, '{"n": 1}\n');
  await assert.rejects(readSource(await open()), /must have the field 'text', got 'no text field'/);
});

test('broken lines are left out, counted and shown by number', async () => {
  const broken = ['{"text": "cut', '[1]', '{"other": 1}', line({}), 'x', line(5), '{"text": "a"} {}'];
  await writeFile(path, [line('good'), ...broken, line(null), line('also good')].join('\n'));
  const warnings = noWarnings();
  assert.deepEqual(await readSource(await open(), warnings), ['good', 'also good']);
  assert.equal(warnings.broken, broken.length);
  const [told, nulls] = describeWarnings(warnings);
  assert.equal(
    told,
    `skipped 7 broken records: ${path}, line 2 (not JSON); ${path}, line 3 (not an object); ${path}, line 4 (no field 'text'); ` +
      `${path}, line 5 (field 'text' is not a string); ${path}, line 6 (not JSON); …`,
  );
  assert.equal(nulls, `skipped 1 record whose text is null: ${path}, line 9`);
});

test('any number of nulls is left out: they say themselves that there is no text', async () => {
  await writeFile(path, Array.from({ length: 300 }, (_, i) => line(i % 3 === 1 ? null : `${i}`)).join('\n'));
  const warnings = noWarnings();
  assert.equal((await readSource(await open(path, { maxBroken: 0 }), warnings)).length, 200);
  assert.match(
    describeWarnings(warnings)[0],
    /^skipped 100 records whose text is null: .*line 2; .*line 5; .*; …$/,
  );
});

test('too many broken lines stop the pass, over all files together', async () => {
  await writeFile(path, ['x', line('good'), 'y'].join('\n'));
  await writeFile(join(folder, 'b.jsonl'), [line('good'), 'z'].join('\n'));
  assert.deepEqual(await readSource(await open(folder, { maxBroken: 3 })), ['good', 'good']);
  await assert.rejects(readSource(await open(folder, { maxBroken: 2 })), {
    name: 'DataError',
    message: new RegExp(
      'b\\.jsonl: must have at most 2 broken records in all files, got .*a\\.jsonl, line 1 \\(not JSON\\); .*line 3.*; ' +
        ".*b\\.jsonl, line 2 \\(not JSON\\)'; fix them, or allow more with --max-broken$",
    ),
  });
  await assert.rejects(readSource(await open(path, { maxBroken: 0 })), /line 1 \(not JSON\)'/);
});

test('bytes that are not UTF-8 are mended and counted by document', async () => {
  await writeFile(
    path,
    Buffer.concat([Buffer.from('{"text":"caf\xe9"}\n', 'latin1'), Buffer.from(line('good'))]),
  );
  const warnings = noWarnings();
  assert.deepEqual(await readSource(await open(), warnings), ['caf\ufffd', 'good']);
  assert.deepEqual(describeWarnings(warnings), [
    'replaced bytes that are not UTF-8 with U+FFFD in 1 document',
  ]);
});

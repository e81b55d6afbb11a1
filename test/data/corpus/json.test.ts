/** JSON cut into values wherever its chunks end, records counted as broken, and files that cannot be cut refused. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openSource } from '../../../src/data/corpus/corpora.js';
import { type Cut, JsonSplitter } from '../../../src/data/corpus/json-splitter.js';
import { describeWarnings, FIELD_DEFAULTS, noWarnings } from '../../../src/data/corpus/source.js';
import { Fuzz, fuzz } from '../../fuzz.js';
import { readSource } from '../helpers.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-json-'));
  path = join(folder, 'a.json');
});
afterEach(() => rm(folder, { recursive: true }));

async function read(
  content: string | Uint8Array,
  warnings = noWarnings(),
  maxBroken = 100,
): Promise<string[]> {
  await writeFile(path, content);
  return readSource(await openSource(path, undefined, { ...FIELD_DEFAULTS, maxBroken }), warnings);
}

const array = (texts: readonly unknown[]) => JSON.stringify(texts.map((text) => ({ text })));

/** The values that a splitter finds in chunks. */
function split(cut: Cut, chunks: readonly Uint8Array[]): { values: string[]; closed: boolean; rest: string } {
  const splitter = new JsonSplitter(cut);
  const values: string[] = [];
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString().trim();
  for (const chunk of chunks) {
    if (splitter.closedAt < 0) for (const value of splitter.push(chunk)) values.push(text(value));
  }
  return { values, closed: splitter.closedAt >= 0, rest: text(splitter.rest) };
}

const VALUES = [
  { text: 'a "quoted" \\ back\\"slash', n: [1, [2, { three: '}]' }]] },
  {},
  'a string, with [brackets] and \\',
  -1.5e3,
  null,
  [],
  [[], {}, '"'],
  { 'ключ ,"': '日本語 😀 \u2028' },
];

test('the members of arrays and objects are found wherever a chunk ends', () => {
  const members = VALUES.map((value) => JSON.stringify(value));
  const object = Object.fromEntries(VALUES.map((value, i) => [`key "${i}"`, value]));
  const inside = Object.entries(object).map(([key, value]) => JSON.stringify({ [key]: value }).slice(1, -1));
  for (const [text, expected] of [
    [JSON.stringify(VALUES), members],
    [`[ ${members.join(' ,\n ')}\t]`, members],
    [JSON.stringify(object), inside],
  ] as const) {
    const bytes = Buffer.from(text);
    for (let at = 0; at <= bytes.length; at++) {
      const { values, closed, rest } = split('members', [bytes.subarray(0, at), bytes.subarray(at)]);
      assert.deepEqual(values, expected, `cut at ${at}`);
      assert.ok(closed && rest === '');
    }
    const single = split(
      'members',
      Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)),
    );
    assert.deepEqual(single.values, expected);
    // Cut off anywhere, it is never closed, and gives a beginning of the values.
    for (let end = 1; end < bytes.length; end++) {
      const { values, closed } = split('members', [bytes.subarray(0, end)]);
      assert.ok(!closed);
      assert.deepEqual(values, expected.slice(0, values.length));
    }
  }
});

test('values that follow each other are found wherever a chunk ends', () => {
  const values = VALUES.filter((value) => typeof value === 'object' && value !== null);
  for (const indent of [0, 2]) {
    for (const between of ['\n', '', ' \r\n\t']) {
      const expected = values.map((value) => JSON.stringify(value, null, indent));
      const bytes = Buffer.from(expected.join(between));
      for (let at = 0; at <= bytes.length; at++) {
        const found = split('values', [bytes.subarray(0, at), bytes.subarray(at)]);
        assert.deepEqual(found, { values: expected, closed: false, rest: '' });
      }
    }
  }
});

test('an array of any length holds one value in memory at a time', () => {
  const splitter = new JsonSplitter('members');
  const value = Buffer.from(`,{"text":"${'a word '.repeat(30_000)}"}\n`);
  let most = 0;
  let found = 0;
  const push = (chunk: Uint8Array) => {
    for (const bytes of splitter.push(chunk)) if (bytes.length > 0) found++;
    most = Math.max(most, splitter.heldBytes);
  };
  push(Buffer.from('[{}'));
  for (let i = 0; i < 200; i++) {
    for (let at = 0; at < value.length; at += 1 << 16) push(value.subarray(at, at + (1 << 16)));
  }
  push(Buffer.from(']'));
  assert.equal(found, 201);
  assert.ok(most <= value.length, `held ${most} bytes`);
});

test('random arrays are cut as JSON.parse reads them, and damaged ones end in texts or an error of ours', async () => {
  const random = new Fuzz(1);
  const records = (n: number) => Array.from({ length: n }, (_, i) => ({ text: `text ${i}`, more: VALUES }));
  for (let n = 0; n < 200; n++) {
    const value = random.json(records(1 + random.below(6)));
    if (!Array.isArray(value)) continue;
    const bytes = Buffer.from(JSON.stringify(value, null, random.below(3)));
    const at = [random.below(bytes.length), random.below(bytes.length)].sort((a, b) => a - b);
    const chunks = [bytes.subarray(0, at[0]), bytes.subarray(at[0], at[1]), bytes.subarray(at[1])];
    const { values, closed } = split('members', chunks);
    assert.ok(closed);
    assert.deepEqual(
      values.map((text) => JSON.parse(text)),
      value,
    );
  }
  const whole = Buffer.from(JSON.stringify(records(8)));
  await fuzz(120, ['DataError'], () => read(random.bytes(whole)));
});

test('broken records of an array are left out, counted and shown by number', async () => {
  const warnings = noWarnings();
  const content = `[{"text":"good"},{"text":NaN},[1],"bare",{"n":1},{"text":null},{"text":"a" "b"},${'{"text":"also good"},'.repeat(9)}]`;
  assert.deepEqual(await read(content, warnings), ['good', ...Array(9).fill('also good')]);
  assert.deepEqual(describeWarnings(warnings), [
    `skipped 6 broken records: ${path}, record 2 (not JSON); ${path}, record 3 (not an object); ${path}, record 4 (not an object); ` +
      `${path}, record 5 (no field 'text'); ${path}, record 7 (not JSON); …`,
    `skipped 1 record whose text is null: ${path}, record 6`,
  ]);
  await assert.rejects(
    read(content, noWarnings(), 5),
    /must have at most 5 broken records in all files, got .*record 2/,
  );
});

test('bytes of a record that are not UTF-8 are mended and counted', async () => {
  const warnings = noWarnings();
  assert.deepEqual(await read(Buffer.from('[{"text":"caf\xe9"},{"text":"b"}]', 'latin1'), warnings), [
    'caf\ufffd',
    'b',
  ]);
  assert.equal(warnings.invalidUtf8, 1);
});

test('an array that is cut off or goes wrong is refused, whatever came before', async () => {
  const refused = (content: string, message: RegExp) =>
    assert.rejects(read(content), { name: 'DataError', message });
  const whole = array(['one', 'two', 'three']);
  const unclosed = 'a bracket or a quote is not closed, or the file is cut off$';
  await refused(
    whole.slice(0, -1),
    new RegExp(`record 3: must end in the file, got 'the end of the file'; ${unclosed}`),
  );
  await refused(whole.slice(0, -9), /record 3: must end in the file/);
  await refused(`[{"text":"one},${whole.slice(1)}`, /must (end in the file|hold records)/);
  await refused(
    `${array(['x'.repeat(300_000), 'b'])}]`,
    /must end with its array of records, got 'more after it'/,
  );
  const data = JSON.stringify({ data: [{ text: 'x'.repeat(300_000) }], n: 1 });
  await refused(
    data.slice(0, -1),
    new RegExp(`must be JSON after the records of 'data', got 'something else'; ${unclosed}`),
  );
  assert.equal((await read(data)).length, 1);
});

test('records in several fields are a choice that is not made in silence', async () => {
  const hint = `jq -c '.["train"][]' writes the records of one field as JSON Lines; loopnn prepare --as text reads the file as plain text`;
  const records = (n: number) => Array.from({ length: n }, () => ({ text: 'x'.repeat(1000) }));
  for (const n of [1, 500]) {
    await assert.rejects(read(JSON.stringify({ train: records(n), n, validation: records(1) })), {
      name: 'DataError',
      message: `${path}: must have its records in one field, got 'train, validation'; ${hint}`,
    });
  }
  // Records of other fields are none of the corpus.
  const features = [{ name: 'text', type: 'string' }];
  assert.deepEqual(
    await read(JSON.stringify({ features, rows: records(2), more: features })),
    Array(2).fill('x'.repeat(1000)),
  );
});

test('an array in a field is found behind others, and far behind them', async () => {
  const texts = ['one', 'two ]}', 'three'];
  const data = JSON.parse(array(texts)) as unknown[];
  const before = { title: 'a "title" [', nested: { data: [{ text: 'no' }] }, n: [1, 2] };
  assert.deepEqual(await read(JSON.stringify({ ...before, data, after: before })), texts);
  const long = Array.from({ length: 2000 }, (_, i) => ({ text: `text ${i}, ${'word '.repeat(60)}` }));
  const found = await read(
    `\ufeff\n${JSON.stringify({ licence: 'x'.repeat(100_000), data: long, end: 1 }, null, 1)}\n`,
  );
  assert.equal(found.length, 2000);
  assert.equal(found[1999], long[1999].text);
});

/** Parquet files that pyarrow wrote (`make-fixtures.py`). */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openSource } from '../../../src/data/corpus/corpora.js';
import { openParquet } from '../../../src/data/corpus/parquet.js';
import { describeWarnings, FIELD_DEFAULTS, noWarnings } from '../../../src/data/corpus/source.js';
import { LoopnnError } from '../../../src/errors.js';
import { fixture, fixtureTexts, readSource, textsOf } from '../helpers.js';
import { writeOneGroup } from '../parquet-writer.js';

// A place of its own for temporary files: other tests read parquet too, at the same time.
process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'loopnn-parquet-test-'));
after(() => rm(tmpdir(), { recursive: true }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'test-'));
});
afterEach(() => rm(folder, { recursive: true }));

const TEXTS = fixtureTexts();

async function read(path: string, column = 'text', warnings = noWarnings()): Promise<string[]> {
  return readSource(await openSource(path, undefined, { ...FIELD_DEFAULTS, column }), warnings);
}

function refused(path: string, column: string, message: RegExp): Promise<void> {
  return assert.rejects(read(path, column), { name: 'DataError', message });
}

/** The temporary folders that readers have now. */
async function temporary(): Promise<string[]> {
  return (await readdir(tmpdir())).filter((name) => !name.startsWith('test-'));
}

test('every compression, page version and encoding gives the texts in order', async () => {
  const names = ['none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd', 'plain-v2', 'delta'];
  for (const name of names) assert.deepEqual(await read(fixture(`${name}.parquet`)), TEXTS, name);
  const many = await read(fixture('pages.parquet'));
  assert.deepEqual(many, Array(40).fill(TEXTS).flat(), 'many pages, a dictionary');
  assert.deepEqual(await read(fixture('required.parquet')), ['one', 'two']);
  assert.deepEqual(await read(fixture('odd.parquet'), 'large'), ['large one', 'large two']);
  assert.deepEqual(await read(fixture('empty.parquet')), []);
});

test('a column that holds 200 times what its pages take is told, compressed, repeated or packed', async () => {
  const text = 'the same again '.repeat(70);
  const warningsOf = async (path: string) => {
    const warnings = noWarnings();
    assert.deepEqual(await read(path, 'text', warnings), Array(400).fill(text));
    return describeWarnings(warnings).join();
  };
  const told = (path: string, times: number) =>
    `unpacked 1 file to 200 times the packed size or more: ${path} (${times} times)`;
  // 421,600 bytes of pages in 109; the texts without their lengths are 420,000, from a dictionary in 3,211.
  assert.equal(await warningsOf(fixture('same-pages.parquet')), told(fixture('same-pages.parquet'), 3867));
  assert.equal(await warningsOf(fixture('same-dictionary.parquet')), '');
  const path = join(folder, 'a.parquet.gz');
  const file = await readFile(fixture('same-dictionary.parquet'));
  const packed = gzipSync(file);
  await writeFile(path, packed);
  const times = Math.floor((420_000 / 3211) * (file.length / packed.length));
  assert.equal(await warningsOf(path), told(path, times));
});

test('rows are skipped without reading the groups before them', async () => {
  const text = await openParquet(fixture('snappy.parquet'), 'text');
  assert.equal(text.texts, 60);
  for (const skip of [0, 1, 15, 16, 17, 59, 60]) {
    assert.deepEqual(await textsOf(text.documents(noWarnings(), skip)), TEXTS.slice(skip));
  }
  await text.close();
});

test('packed files and folders are read, and no temporary file stays', async () => {
  const bytes = await readFile(fixture('zstd.parquet'));
  await writeFile(join(folder, 'a.parquet.gz'), gzipSync(bytes));
  await copyFile(fixture('snappy.parquet'), join(folder, 'b.parquet'));
  await writeFile(join(folder, 'c.txt'), 'plain');
  const before = await temporary();
  assert.deepEqual(await read(folder), [...TEXTS, ...TEXTS, 'plain']);
  assert.deepEqual(await temporary(), before);
});

test('a binary column is text if it is UTF-8, and mended if not', async () => {
  const warnings = noWarnings();
  assert.deepEqual(await read(fixture('odd.parquet'), 'bytes', warnings), ['caf\ufffd', 'good']);
  assert.deepEqual(describeWarnings(warnings), [
    'replaced bytes that are not UTF-8 with U+FFFD in 1 document',
  ]);
});

test('missing, nested and numeric columns are named', async () => {
  const odd = fixture('odd.parquet');
  await refused(
    odd,
    'text',
    /odd\.parquet: must have the column 'text', got 'lines, record, number, bytes, large'; loopnn prepare --column reads another$/,
  );
  await refused(
    odd,
    'lines',
    /column 'lines': must hold text, got 'a nested column'; write its text to a column/,
  );
  await refused(odd, 'record', /column 'record': must hold text, got 'a nested column'/);
  await refused(
    odd,
    'number',
    /column 'number': must hold text, got 'INT64'; name another column with --column$/,
  );
});

test('nulls are left out and told, counted by the file or not', async () => {
  const texts = [...TEXTS.slice(0, 9), ...TEXTS.slice(10, 20)];
  for (const [name, count] of [
    ['nulls', 19],
    ['nulls-uncounted', undefined],
  ] as const) {
    const path = fixture(`${name}.parquet`);
    const warnings = noWarnings();
    assert.deepEqual(await read(path, 'text', warnings), texts);
    assert.deepEqual(describeWarnings(warnings), [`skipped 1 record whose text is null: ${path}, row 9`]);
    const text = await openParquet(path, 'text');
    assert.equal(text.texts, count);
    for (let skip = 0; skip <= 19; skip++) {
      assert.deepEqual(await textsOf(text.documents(noWarnings(), skip)), texts.slice(skip), `${skip}`);
    }
    await text.close();
  }
});

test('a group with other nulls than the file counts is refused', async () => {
  const path = join(folder, 'a.parquet');
  const bytes = await readFile(fixture('nulls.parquet'));
  // The levels of rows 8 to 15, one of which is a null, bit-packed: two bytes of length, a header, and the bits.
  const levels = Buffer.from('0200000003fd', 'hex');
  bytes[bytes.indexOf(levels) + 5] = 0xf9;
  await writeFile(path, bytes);
  await refused(
    path,
    'text',
    /a\.parquet: must hold rows 8 to 15, got '6 texts where it counts 7'; the file is damaged/,
  );
});

test('pages and dictionaries of any size come through in pieces, with the same texts', async () => {
  const before = await temporary();
  const read = async (path: string, skip = 0) => {
    const text = await openParquet(path, 'text', path, 1, { whole: 0, dictionary: 0 });
    const texts = await textsOf(text.documents(noWarnings(), skip));
    await text.close();
    return texts;
  };
  for (const name of ['none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd', 'plain-v2', 'delta']) {
    assert.deepEqual(await read(fixture(`${name}.parquet`)), TEXTS, name);
  }
  assert.deepEqual(await read(fixture('pages.parquet')), Array(40).fill(TEXTS).flat());
  assert.deepEqual(await read(fixture('pages.parquet'), 1999), Array(40).fill(TEXTS).flat().slice(1999));
  assert.equal((await read(fixture('nulls.parquet'))).length, 19);
  const path = join(folder, 'a.parquet');
  for (const dictionary of [false, true]) {
    const texts = [...TEXTS, 'long 語 😀 '.repeat(400_000), 'last'];
    writeOneGroup(
      path,
      texts.map((text) => Buffer.from(text)),
      dictionary,
    );
    assert.deepEqual(await read(path), texts, `dictionary ${dictionary}`);
  }
  // A reader that stops early leaves no file behind either.
  const text = await openParquet(path, 'text', path, 1, { whole: 0, dictionary: 0 });
  for await (const document of text.documents(noWarnings())) {
    assert.notDeepEqual(await temporary(), before);
    if (document.name.endsWith('row 3')) break;
  }
  await text.close();
  assert.deepEqual(await temporary(), before);
});

test('a truncated or foreign file is named', async () => {
  const path = join(folder, 'a.parquet');
  const bytes = await readFile(fixture('snappy.parquet'));
  for (const length of [1, 11, 100, bytes.length >> 1, bytes.length - 1]) {
    await writeFile(path, bytes.subarray(0, length));
    await refused(path, 'text', /a\.parquet: must be a parquet file, got/);
  }
  await writeFile(path, 'no parquet file, whatever its name says');
  await refused(
    path,
    'text',
    /must be a parquet file, got 'no 'PAR1' at its end'; it is truncated, damaged or/,
  );
  await refused(join(folder, 'none.parquet'), 'text', /must be a file or a folder, got 'ENOENT/);
});

test('pages that claim more values than there are rows are refused before places for them are reserved', async () => {
  const path = join(folder, 'a.parquet');
  // 1,000 rows become 8,191: the page header's data_page_header and its num_values, in Thrift's compact form.
  const pages = await readFile(fixture('pages.parquet'));
  pages.write('2c15fe7f', pages.lastIndexOf(Buffer.from('2c15d00f', 'hex')), 'hex');
  await writeFile(path, pages);
  await refused(path, 'text', /must hold rows 1000 to 1999, got 'a page of 8191 values where 1000 are left'/);
  // The dictionary's page, 14 bytes unpacked, becomes one of 3.
  const dictionary = await readFile(fixture('required.parquet'));
  dictionary.write('1504151c', 4, 'hex');
  assert.deepEqual(dictionary, await readFile(fixture('required.parquet')));
  dictionary.write('15041506', 4, 'hex');
  await writeFile(path, dictionary);
  await refused(path, 'text', /must hold rows 0 to 1, got 'a dictionary of 2 texts in 3 bytes'; the file is/);
});

test('runs that claim more values than their page has are refused before they are written out', async () => {
  const path = join(folder, 'a.parquet');
  const plain = await readFile(fixture('none.parquet'));
  // Levels of 2 bytes, a run of 16 ones; then places of 4 bits in a dictionary, bit-packed.
  const levels = Buffer.from('0200000020010405', 'hex');
  const at = plain.indexOf(levels, plain.indexOf(levels) + 1); // the first are those of another column
  for (const run of [at + 4, at + 7]) {
    const bytes = Buffer.from(plain);
    bytes[run] = 63 << 1;
    await writeFile(path, bytes);
    await refused(path, 'text', /must hold rows 0 to 15, got 'a run of 63 values where 16 are left'/);
  }
  // The second version of pages has them in front, unpacked.
  const second = await readFile(fixture('plain-v2.parquet'));
  second[second.indexOf(Buffer.from('3201', 'hex'), 187)] = 63 << 1;
  await writeFile(path, second);
  await refused(path, 'text', /must hold rows 0 to 24, got 'a run of 63 values where 25 are left'/);
});

test('a footer that leaves out what every column has is refused', async () => {
  const path = join(folder, 'a.parquet');
  const bytes = await readFile(fixture('required.parquet'));
  const footer = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
  // Another field's number: the schema's element loses its name, the column its path.
  for (const [at, value] of [
    [14, 19],
    [40, 51],
  ]) {
    const damaged = Buffer.from(bytes);
    damaged[footer + at] = value;
    await writeFile(path, damaged);
    await refused(path, 'text', /a\.parquet: must be a parquet file, got 'Cannot read properties/);
  }
});

test('a damaged byte gives an error of ours or other text, never a crash', async () => {
  const path = join(folder, 'a.parquet');
  for (const name of ['snappy', 'gzip', 'zstd', 'plain-v2', 'delta']) {
    const bytes = await readFile(fixture(`${name}.parquet`));
    for (let i = 0; i < 120; i++) {
      const damaged = Buffer.from(bytes);
      const at = (i * 7919 + 13) % bytes.length;
      // Half of the damage goes to the footer, where lengths and offsets are.
      const place = i % 2 === 0 ? at : bytes.length - 1 - (at % 600);
      damaged[place] ^= 1 + ((i * 31) % 255);
      await writeFile(path, damaged);
      try {
        await read(path);
      } catch (error) {
        assert.ok(error instanceof LoopnnError, `${name}, byte ${place}: ${(error as Error).stack}`);
      }
    }
  }
});

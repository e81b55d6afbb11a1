/** Thousands of damaged parquet files: each is read or refused. Belongs to the long run. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openPath } from '../../../src/data/corpus/documents.js';
import { openParquet } from '../../../src/data/corpus/parquet.js';
import { noWarnings, textOf } from '../../../src/data/corpus/source.js';
import { Fuzz, fuzz } from '../../fuzz.js';
import { writeOneGroup } from '../parquet-writer.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'damaged.parquet');

const fixtures = new URL('../../../../test/data/fixtures/', import.meta.url);
const seeds = readdirSync(fixtures)
  .filter((name) => name.endsWith('.parquet'))
  .map((name) => new Uint8Array(readFileSync(new URL(name, fixtures))));

async function read(bytes: Uint8Array): Promise<void> {
  writeFileSync(path, bytes);
  const text = await openParquet(path, 'text');
  try {
    let rows = 0;
    for await (const document of text.documents(noWarnings())) {
      assert.equal(typeof (await textOf(document)), 'string');
      rows++;
    }
    if (text.texts !== undefined) assert.equal(rows, text.texts);
  } finally {
    await text.close();
  }
}

test('a row group of 400 MB in one page, or one dictionary, takes little memory', async () => {
  const texts = Array.from({ length: 400 }, (_, i) => Buffer.alloc(1e6, `${i} and so on `));
  const before = process.memoryUsage.rss();
  for (const dictionary of [false, true]) {
    writeOneGroup(path, texts, dictionary);
    const text = await openParquet(path, 'text');
    let row = 0;
    let most = 0;
    for await (const document of text.documents(noWarnings())) {
      assert.equal(await textOf(document), texts[row++].toString());
      most = Math.max(most, process.memoryUsage.rss());
    }
    await text.close();
    assert.equal(row, texts.length);
    console.log(`at most ${((most - before) / 1e6).toFixed(0)} MB more than before`);
    assert.ok(most - before < 150e6, `${most - before}`);
  }
});

/** The footer: where a file says how much there is of everything. */
function footerOf(bytes: Uint8Array): { start: number; end: number } {
  const end = bytes.length - 8;
  return { start: end - new DataView(bytes.buffer).getUint32(end, true), end };
}

test('6,000 files with damaged bytes', async () => {
  const random = new Fuzz(40);
  await fuzz(6000, ['DataError'], () => read(random.bytes(random.pick(seeds))));
});

test('6,000 files whose footer or page headers lie', async () => {
  const random = new Fuzz(41);
  await fuzz(6000, ['DataError'], async () => {
    const bytes = Uint8Array.from(random.pick(seeds));
    const { start, end } = footerOf(bytes);
    const inFooter = random.below(2) === 0;
    for (let wounds = 1 + random.below(3); wounds > 0; wounds--) {
      const at = inFooter ? start + random.below(end - start) : 4 + random.below(Math.min(80, start - 4));
      bytes[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
    }
    await read(bytes);
  });
});

test('1,000 damaged files, as a source and packed', async () => {
  const random = new Fuzz(42);
  const { gzipSync } = await import('node:zlib');
  await fuzz(1000, ['DataError'], async () => {
    const packed = random.below(2) === 0;
    const name = `${path}${packed ? '.gz' : ''}`;
    const bytes = random.pick(seeds);
    writeFileSync(name, packed ? random.bytes(gzipSync(random.bytes(bytes))) : random.bytes(bytes));
    const source = await openPath(name);
    for await (const document of source.documents(noWarnings())) await textOf(document);
  });
});

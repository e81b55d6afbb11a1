import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CORPORA, openSource } from '../../../src/data/corpus/corpora.js';
import { describeWarnings, noWarnings, type TextSource } from '../../../src/data/corpus/source.js';
import { ZSTD_BLOCK, zstdOfOneByte } from '../helpers.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-documents-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function write(name: string, content: string | Uint8Array): Promise<void> {
  const path = join(folder, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, content);
}

async function read(source: TextSource, warnings = noWarnings()): Promise<[name: string, text: string][]> {
  const found: [string, string][] = [];
  for await (const document of source.documents(warnings)) {
    let text = '';
    for await (const piece of document.pieces()) text += piece;
    found.push([document.name.replace(`${folder}/`, ''), text]);
  }
  return found;
}

test("a folder's text files are its documents, sorted, whatever their extension", async () => {
  await write('b.txt', 'two');
  await write('a.md', 'one');
  await write('c/z.py', 'four');
  await write('c/A', 'three');
  await write('d.txt', 'five');
  await write('.hidden', 'no');
  await write('.git/config', 'no');
  await symlink(folder, join(folder, 'loop'));
  const source = await openSource(folder);
  const expected = [
    ['a.md', 'one'],
    ['b.txt', 'two'],
    ['c/A', 'three'],
    ['c/z.py', 'four'],
    ['d.txt', 'five'],
  ];
  assert.deepEqual(await read(source), expected);
  assert.deepEqual(await read(source), expected, 'and again');
});

test('binary and empty files in a folder are left out and counted; bad UTF-8 is mended and counted', async () => {
  await write('zero.bin', Uint8Array.of(1, 2, 0, 3));
  await write('packed', gzipSync(Buffer.from(Array.from({ length: 4000 }, (_, i) => (i * i * 31) % 251))));
  await write('empty.txt', '');
  await write('latin1.txt', Buffer.from('caf\xe9 au lait', 'latin1'));
  await write('good.txt', '\ufeffcafé\r\n');
  const warnings = noWarnings();
  assert.deepEqual(await read(await openSource(folder), warnings), [
    ['good.txt', 'café\r\n'],
    ['latin1.txt', 'caf\ufffd au lait'],
  ]);
  assert.deepEqual(warnings, { ...noWarnings(), binary: 2, empty: 1, invalidUtf8: 1 });
  assert.deepEqual(describeWarnings(warnings), [
    'skipped 2 files: not text',
    'skipped 1 file: empty',
    'replaced bytes that are not UTF-8 with U+FFFD in 1 document',
  ]);
  assert.deepEqual(describeWarnings(noWarnings()), []);
});

test('a packed file that holds 200 times its size is told once, with its name and how many times', async () => {
  const text = 'a'.repeat(1 << 20);
  const jsonl = `${JSON.stringify({ text })}\n`.repeat(2);
  const times = (packed: Uint8Array, bytes: number) => Math.floor(bytes / packed.length);
  const gzip = gzipSync(text);
  const zstd = zstdOfOneByte(0x61, 8);
  const records = gzipSync(jsonl);
  const csv = gzipSync(`text,n\n${text},1\n`);
  const array = gzipSync(`[${JSON.stringify({ text })}]`);
  await write('a.txt.gz', gzip);
  await write('b.txt.zst', zstd);
  await write('c.jsonl.gz', records);
  await write('d.csv.gz', csv);
  await write('e.json.gz', array);
  await write('f.txt.gz', gzipSync('a text of a usual kind'));
  const warnings = noWarnings();
  const found = await read(await openSource(folder), warnings);
  assert.deepEqual(
    found.map(([name]) => name),
    ['a.txt.gz', 'b.txt.zst', 'c.jsonl.gz, line 1', 'c.jsonl.gz, line 2'].concat(
      'd.csv.gz, line 2',
      'e.json.gz, record 1',
      'f.txt.gz',
    ),
  );
  const shown = [
    `a.txt.gz (${times(gzip, text.length)} times)`,
    `b.txt.zst (${times(zstd, 8 * ZSTD_BLOCK)} times)`,
    `c.jsonl.gz (${times(records, jsonl.length)} times)`,
    `d.csv.gz (${times(csv, text.length + 10)} times)`,
    `e.json.gz (${times(array, text.length + 13)} times)`,
  ];
  assert.deepEqual(describeWarnings(warnings), [
    `unpacked 5 files to 200 times the packed size or more: ${shown.map((name) => join(folder, name)).join('; ')}`,
  ]);
});

test('199 times are not told, 200 are; of many files the first five are named', async () => {
  // An empty frame of 10 bytes that is skipped, once or twice, makes the packed size what it is to be.
  for (let i = 0; i < 7; i++) await write(`${i}.txt.zst`, zstdOfOneByte(0x61, 1));
  const size = ZSTD_BLOCK / 200;
  const padded = (bytes: number) => {
    const frame = Buffer.alloc(bytes - zstdOfOneByte(0x61, 1).length);
    frame.writeUInt32LE(0x184d2a50, 0);
    frame.writeUInt32LE(frame.length - 8, 4);
    return Buffer.concat([frame, zstdOfOneByte(0x61, 1)]);
  };
  const warningsOf = async (name: string) => {
    const warnings = noWarnings();
    await read(await openSource(join(folder, name)), warnings);
    return describeWarnings(warnings);
  };
  await write('8.txt.zst', padded(Math.floor(size)));
  await write('9.txt.zst', padded(Math.floor(size) + 1));
  assert.match((await warningsOf('8.txt.zst')).join(), /^unpacked 1 file .*8\.txt\.zst \(200 times\)$/);
  assert.deepEqual(await warningsOf('9.txt.zst'), []);
  assert.match((await warningsOf('')).join(), /^unpacked 8 files .*4\.txt\.zst \(13107 times\); …$/);
});

test('a file named by the user has to be text', async () => {
  await write('zero.bin', Uint8Array.of(1, 2, 0, 3));
  await write('wide.txt', Buffer.from('\ufeffwide', 'utf16le'));
  await write('empty.txt', '');
  const refused = (name: string, message: RegExp): Promise<void> =>
    assert.rejects(openSource(join(folder, name)), { name: 'DataError', message });
  await refused('zero.bin', /zero\.bin: must be text in UTF-8, got 'a binary file \(a zero byte at 2\)'$/);
  await refused('wide.txt', /wide\.txt: must be text in UTF-8, got 'UTF-16; convert it first'$/);
  await refused('empty.txt', /empty\.txt: must hold text, got 'an empty file'$/);
  await refused('none.txt', /none\.txt: must be a file or a folder, got 'ENOENT/);
});

test('a name that is neither corpus nor file lists the corpora', async () => {
  await assert.rejects(openSource('shakespear'), {
    name: 'DataError',
    message: `source: must be a file, a folder or a corpus (${CORPORA.map(({ name }) => name).join(', ')}), got 'shakespear'`,
  });
});

test('sotu is 233 addresses and moby-dick one document', async (t) => {
  const open = (name: string): Promise<TextSource | undefined> =>
    openSource(name).catch((error: Error) => {
      t.diagnostic(error.message);
      return undefined;
    });
  const sotu = await open('sotu');
  const moby = await open('moby-dick');
  if (sotu === undefined || moby === undefined) {
    t.skip('the optional packages are not installed');
    return;
  }
  const addresses = await read(sotu);
  assert.equal(addresses.length, 233);
  assert.match(addresses[0][0], /^sotu\/1790_george_washington/);
  assert.match(addresses[0][1], /^Fellow-Citizens of the Senate/);
  const [[name, text]] = await read(moby);
  assert.equal(name, 'moby-dick/data.txt');
  assert.match(text, /Call me Ishmael\./);
});

test("Debian's packages are read where they are installed", async () => {
  await write('doc/anarchism/markdown/b.md.gz', gzipSync('second'));
  await write('doc/anarchism/markdown/a.md.gz', gzipSync('first'));
  await write('doc/linux-doc-6.9/Documentation/old.rst', 'old');
  await write('doc/linux-doc-6.10/Documentation/sub/new.rst.gz', gzipSync('new'));
  await write('doc/linux-doc-6.10/Documentation/conf.py', 'left out');
  await write('dictd/gcide.dict.dz', gzipSync('words'));
  const names = async (corpus: string): Promise<unknown> => read(await openSource(corpus, folder));
  assert.deepEqual(await names('anarchism'), [
    ['anarchism/a.md.gz', 'first'],
    ['anarchism/b.md.gz', 'second'],
  ]);
  assert.deepEqual(await names('linux-doc'), [['linux-doc/new.rst.gz', 'new']]);
  assert.deepEqual(await names('dict-gcide'), [['dict-gcide/gcide.dict.dz', 'words']]);
});

test('a corpus whose package is missing says how to install it', async () => {
  for (const name of ['anarchism', 'linux-doc', 'dict-gcide', 'dict-foldoc']) {
    await assert.rejects(openSource(name, folder), {
      name: 'DataError',
      message: `corpus ${name}: its package must be installed; apt-get install ${name}`,
    });
  }
});

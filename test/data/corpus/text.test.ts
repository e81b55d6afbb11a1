import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { readChunks } from '../../../src/data/corpus/packing.js';
import { cutPieces, decodeUtf8, piecesFrom, piecesUpTo } from '../../../src/data/corpus/text.js';
import { trainBpe } from '../../../src/tokenizer/bpe-train.js';
import { oddText } from '../../tokenizer/samples.js';

/** Half of a character. */
const LONE = /\p{Surrogate}/u;

async function* each<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function chunked(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

test('UTF-8 is decoded the same wherever the chunks end', async () => {
  const text = 'aé日😀\ufeff\u0000b\ufffd'.repeat(3);
  for (const size of [1, 2, 3, 4, 5, 7, 100]) {
    const chunks = chunked(new TextEncoder().encode(text), size);
    const pieces = await all(decodeUtf8(each(chunks), () => assert.fail('it is valid')));
    assert.equal(pieces.join(''), text);
  }
});

test('a byte order mark at the beginning is dropped, one further on is kept', async () => {
  for (const size of [1, 2, 3, 100]) {
    const chunks = chunked(new TextEncoder().encode('\ufeffa\ufeffb'), size);
    assert.equal((await all(decodeUtf8(each(chunks), () => {}))).join(''), 'a\ufeffb');
  }
});

test('what is not UTF-8 becomes U+FFFD and is reported once', async () => {
  const bytes = Uint8Array.of(0x61, 0xff, 0x62, 0xe6, 0x97, 0x20, 0xfe, 0xf0, 0x9f);
  for (const size of [1, 3, 100]) {
    let reports = 0;
    const pieces = await all(
      decodeUtf8(each(chunked(bytes, size)), () => {
        reports++;
      }),
    );
    assert.match(pieces.join(''), /^a\ufffdb\ufffd+ \ufffd+$/);
    assert.equal(reports, 1);
  }
});

test('pieces encode to the ids of the whole text', async () => {
  const text = Array.from({ length: 300 }, (_, seed) => oddText(seed, 40)).join('');
  const tokenizer = trainBpe([text], 400);
  for (const size of [1, 7, 100, 5000]) {
    const chunks = chunked(new TextEncoder().encode(text), size);
    const pieces = await all(cutPieces(decodeUtf8(each(chunks), () => {})));
    assert.equal(pieces.join(''), text);
    assert.ok(size > 100 || pieces.length > 100);
    assert.deepEqual(
      pieces.flatMap((piece) => [...tokenizer.encode(piece)]),
      [...tokenizer.encode(text)],
    );
  }
});

test('a stretch without white space is cut at a character, so that memory is bounded', async () => {
  const pieces = await all(cutPieces(each(Array<string>(50).fill('😀a')), 10));
  assert.equal(pieces.join(''), '😀a'.repeat(50));
  for (const piece of pieces) {
    assert.ok(piece.length <= 13);
    assert.doesNotMatch(piece, LONE);
  }
});

test('head and tail of a text are the text, neither is empty, and no character is split', async () => {
  for (const pieces of [['ab', '😀c', 'd', '😀😀'], ['😀', 'é'], ['a', '日'], ['日本'], ['\ud800a']]) {
    const text = pieces.join('');
    const total = Buffer.byteLength(text);
    for (let cut = 1; cut < total; cut++) {
      const head = (await all(piecesUpTo(each(pieces), cut, total))).join('');
      const tail = (await all(piecesFrom(each(pieces), cut, total))).join('');
      assert.equal(head + tail, text);
      assert.ok(head !== '' && tail !== '');
      if (!LONE.test(text)) assert.doesNotMatch(`${head}|${tail}`, LONE);
      assert.ok(Math.abs(Buffer.byteLength(head) - cut) <= 3);
    }
  }
});

test('gzip is unpacked, and a file that is missing or no gzip is named', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'loopnn-text-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'a.gz');
  await writeFile(path, gzipSync('packed text'));
  assert.equal(Buffer.concat(await all(readChunks(path, 'gzip'))).toString(), 'packed text');
  await writeFile(path, 'not gzip');
  await assert.rejects(all(readChunks(path, 'gzip')), {
    name: 'DataError',
    message: /a\.gz: must be readable, got/,
  });
  for (const packing of ['none', 'gzip', 'zstd'] as const) {
    await assert.rejects(
      all(readChunks(join(folder, 'none'), packing)),
      /none: must be readable, got 'ENOENT/,
    );
  }
});

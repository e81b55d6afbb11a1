/** What is taken for something else than token ids, and what never is. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { disguiseOf, type FileSample } from '../../src/formats/disguise.js';
import { uniform } from '../../src/random.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { createTokenizer } from '../../src/tokenizer/load.js';
import { fixture, idBytes } from '../data/helpers.js';
import { SAMPLES } from '../tokenizer/samples.js';

/** A short file. */
function sampleOf(bytes: Uint8Array): FileSample {
  return { size: bytes.length, head: bytes, last: bytes[bytes.length - 1], blocks: [bytes] };
}

const disguise = (bytes: Uint8Array, width = 2) => disguiseOf(sampleOf(bytes), width)?.what ?? null;

/** Text of many kinds, each of a few hundred characters. */
const TEXTS: Record<string, string> = {
  English:
    'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, '.repeat(
      4,
    ),
  German:
    'Größe, Maß und Übermut: im grünen Wald wäre es schöner gewesen, hätte man früher darüber gesprochen. '.repeat(
      4,
    ),
  Russian: 'Съешь ещё этих мягких французских булок, да выпей же чаю. '.repeat(8),
  Chinese: '敏捷的棕色狐狸跳过了懒狗。天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。'.repeat(10),
  Japanese: 'いろはにほへと ちりぬるを わかよたれそ つねならむ。東京都は日本の首都です。'.repeat(10),
  Korean: '모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. '.repeat(10),
  Arabic: 'يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. '.repeat(10),
  Hindi: 'सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। '.repeat(6),
  Thai: 'มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ '.repeat(8),
  code: 'for (let i = 0; i < n; i++) {\n\tif (a[i] !== b[i]) return false; // not equal\n}\n\n'.repeat(8),
  CSV: 'id,name,score\n1,"Ada, L.",0.25\n2,Bob,17\n3,"",-3.5e-7\n'.repeat(12),
  JSON: `${JSON.stringify({ text: 'Größe "quoted"\n', url: 'http://x/1', n: [1, 2, null] })}\n`.repeat(10),
  digits: '3.14159265358979323846264338327950288419716939937510'.repeat(8),
  'short lines': '1\n2\n3\n4\n5\n6\n7\n8\n9\n'.repeat(30),
  emoji: '👨‍👩‍👧‍👦🏳️‍🌈 🇨🇭👍🏽 𝒜𝟙𠮷 '.repeat(12),
};

const TOKENIZERS = [
  await createTokenizer('bytes'),
  await createTokenizer('gpt2'),
  trainBpe(Object.values(TEXTS), 300),
  trainBpe(Object.values(TEXTS), 900),
];

test('ids of any text, tokenizer and length are ids', () => {
  for (const [name, text] of Object.entries({ ...TEXTS, odd: SAMPLES.join('') })) {
    for (const tokenizer of TOKENIZERS) {
      const bytes = idBytes(tokenizer.encode(text));
      const where = `${name}, ${tokenizer.name}`;
      assert.equal(disguise(bytes), null, where);
      for (let ids = 1; ids < 100; ids++) assert.equal(disguise(bytes.subarray(0, 2 * ids)), null, where);
      for (let ids = 1; ids < 100; ids++) assert.equal(disguise(bytes.subarray(-2 * ids)), null, where);
    }
  }
});

test('ids of small vocabularies and of none in particular are ids', () => {
  for (const vocabulary of [1, 2, 3, 4, 20, 65, 256, 257, 4096, 50_257, 65_536]) {
    for (const length of [1, 10, 63, 64, 128, 1000, 20_000]) {
      const ids = Array.from({ length }, (_, i) => Math.floor(uniform(vocabulary, length, i) * vocabulary));
      assert.equal(disguise(idBytes(ids)), null, `${vocabulary}, ${length}`);
    }
  }
  assert.equal(disguise(idBytes(Array<number>(5000).fill(0))), null);
  assert.equal(
    disguise(idBytes(Array<number>(5000).fill(0x2020)).subarray(0, 30)),
    null,
    'too short to tell',
  );
});

test('text is text in every language, at every width', () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    for (const encoded of [
      Buffer.from(text),
      Buffer.from(`\ufeff${text}`),
      Buffer.from(text).subarray(0, 33),
    ]) {
      // The last character may be cut.
      const whole =
        encoded.length === 33 ? Buffer.from(encoded.toString('utf8').replace('\ufffd', '')) : encoded;
      for (const width of [1, 2, 4])
        if (whole.length >= 32) assert.equal(disguise(whole, width), 'text', name);
    }
  }
  const latin = Buffer.from(TEXTS.German.repeat(4), 'latin1');
  assert.equal(disguise(latin), 'text', 'in another encoding');
  const spoilt = Buffer.from(TEXTS.Chinese.repeat(3));
  spoilt[100] = 0;
  spoilt[301] = 0xff;
  assert.equal(disguise(spoilt), 'text', 'with a few damaged bytes');
  assert.equal(disguise(Buffer.from(`\ufeff${TEXTS.Chinese}`, 'utf16le')), 'text in UTF-16');
  const ids = Array.from({ length: 500 }, (_, i) => Math.floor(uniform(1, 2, i) * 65_536));
  assert.equal(disguise(idBytes([0xfeff, ...ids])), null, 'ids that begin with its mark');
});

test('ids of twice and four times the width are told', () => {
  for (const [name, text] of Object.entries(TEXTS)) {
    for (const tokenizer of TOKENIZERS) {
      const ids = [...tokenizer.encode(text)];
      if (ids.length < 128) continue;
      const where = `${name}, ${tokenizer.name}`;
      assert.match(disguise(idBytes(ids, 32))!, /^what looks like 32-bit ids/, where);
      assert.match(disguise(idBytes(ids, 64))!, /^what looks like 64-bit ids/, where);
      assert.match(disguise(idBytes(ids, 64), 4)!, /^what looks like 64-bit ids/, where);
      assert.equal(disguise(idBytes(ids, 32), 4), null, where);
      assert.equal(disguise(idBytes(ids, 64), 8), null, where);
    }
  }
  // Llama 3's ids, beyond 16 bits.
  const large = Array.from({ length: 500 }, (_, i) => Math.floor(uniform(1, 2, i) ** 3 * 128_256));
  assert.match(disguise(idBytes(large, 32))!, /32-bit/);
  assert.match(disguise(idBytes(large, 64))!, /64-bit/);
  assert.equal(
    disguiseOf(sampleOf(idBytes(large, 32)), 2)?.hint,
    'read it with --dtype uint32, or write it again as numpy.uint16',
  );
});

test('formats with a mark of their own are named', () => {
  const zeros = Buffer.alloc(100);
  const marked = (mark: string) => Buffer.concat([Buffer.from(mark, 'latin1'), zeros]);
  const header = Buffer.from('{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  ');
  const safetensors = Buffer.concat([Buffer.alloc(8), header, Buffer.alloc(4)]);
  safetensors.writeBigUInt64LE(BigInt(header.length));
  // What `pickle.dumps([1, 2, 3])` gives.
  const pickle = Buffer.from('8004950b000000000000005d94284b014b024b03652e', 'hex');
  const llmc = Buffer.alloc(1024);
  llmc.writeInt32LE(20240326);
  for (const [bytes, what] of [
    [gzipSync('text'), 'a gzip file'],
    [gzipSync(idBytes([1, 2, 3]), { level: 1 }), 'a gzip file'],
    [readFileSync(fixture('lines.txt.zst')), 'a Zstandard file'],
    [readFileSync(fixture('none.parquet')), 'a parquet file'],
    [marked('PK\x03\x04'), 'a zip archive, as .npz and .pt files are'],
    [marked('BZh91AY&SY'), 'a bzip2 file'],
    [marked('\x89PNG\r\n\x1a\n'), 'a PNG image'],
    [safetensors, 'a safetensors file'],
    [pickle, 'a pickled file'],
    [llmc, "llm.c's model"],
  ] as const) {
    for (const width of [1, 2, 4]) assert.equal(disguise(bytes, width), what);
  }
  for (const bytes of [brotliCompressSync(TEXTS.code), deflateSync(TEXTS.JSON)]) {
    assert.equal(disguise(bytes), null, 'no mark, no zeros: it may be anything');
  }
});

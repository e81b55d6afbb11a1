import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { toFloat32 } from '../../src/formats/dtypes.js';
import { duplicateKey, parseJSON } from '../../src/formats/json.js';
import { safetensorsHeader } from '../../src/formats/safetensors.js';
import { readFileHeader, readHeader } from '../../src/formats/safetensors-header.js';
import { memoryFile } from './memory-file.js';
import {
  parseSafetensors,
  safetensorsMetadata,
  serializeSafetensors,
  type WritableTensor,
} from './safetensors-bytes.js';

const fixture = new Uint8Array(
  readFileSync(new URL('../../../test/formats/fixture.safetensors', import.meta.url)),
);
const VALUES = [1.5, -2, 0, 65504, 6.103515625e-5, -0.333251953125];

/** What `make-safetensors-fixture.py ours.st` checks. */
const SAMPLE: readonly WritableTensor[] = [
  { name: 'ints', dtype: 'I32', shape: [1], data: Int32Array.of(-7) },
  { name: 'weights', dtype: 'F32', shape: [2, 3], data: Float32Array.of(1.5, -2, 3, 0.25, 5, -6) },
  { name: 'empty', dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
  { name: 'doubles', dtype: 'F64', shape: [2], data: Float64Array.of(0.1, -1e300) },
];

function join(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}

/** A file from a header's text and a number of zero bytes of data. */
function file(header: string, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

test('a file of the Python package safetensors is read, every dtype', () => {
  const tensors = parseSafetensors(fixture, 'f');
  const values = (name: string): unknown[] => [...tensors.get(name)!.data];
  assert.deepEqual(values('f32'), [...Float32Array.from(VALUES)]);
  assert.deepEqual(values('f64'), VALUES.map(Math.fround));
  assert.deepEqual(values('i64'), [-(2n ** 62n), 5n]);
  assert.deepEqual(values('i32'), [-7, 2 ** 31 - 1]);
  assert.deepEqual(values('u8'), [0, 255, 3]);
  assert.deepEqual(values('u16'), [65535, 1]);
  assert.deepEqual(values('bool'), [1, 0, 1]);
  assert.deepEqual(values('scalar'), [2.5]);
  assert.deepEqual(tensors.get('scalar')!.shape, []);
  assert.deepEqual(tensors.get('empty')!.shape, [0, 4]);
  assert.deepEqual(tensors.get('f16')!.shape, [2, 3]);
  assert.deepEqual([...toFloat32(tensors.get('f16')!, 'f16')], VALUES);
  assert.deepEqual([...toFloat32(tensors.get('bf16')!, 'bf16')], [1.5, -2, 0, 65536, 2 ** -14, -0.333984375]);
  assert.deepEqual(safetensorsMetadata(fixture, 'f'), { format: 'pt', note: 'größe' });
});

test('float16 and bfloat16 convert at their edges', () => {
  const f16 = Uint16Array.of(0x0001, 0x03ff, 0x8000, 0x7c00, 0xfc00, 0x7e00);
  assert.deepEqual(
    [...toFloat32({ dtype: 'F16', data: f16 }, 'x')],
    [2 ** -24, 1023 * 2 ** -24, -0, Infinity, -Infinity, NaN],
  );
  const bf16 = Uint16Array.of(0x8000, 0xff80, 0x7fc0, 0x0001);
  assert.deepEqual([...toFloat32({ dtype: 'BF16', data: bf16 }, 'x')], [-0, -Infinity, NaN, 2 ** -133]);
  assert.throws(() => toFloat32({ dtype: 'I32', data: Int32Array.of(1) }, 'tensor x'), {
    name: 'CheckpointError',
    message: "tensor x: must hold floating-point values (F32, F64, F16 or BF16), got 'I32'",
  });
});

test('what is written is read back, with its metadata, aligned and without copies', () => {
  const chunks = serializeSafetensors(SAMPLE, { step: '7' });
  assert.equal(chunks[0].length % 8, 0);
  assert.equal(chunks[1].buffer, SAMPLE[3].data.buffer);
  const bytes = join(chunks);
  const tensors = parseSafetensors(bytes, 'f');
  assert.deepEqual([...tensors.keys()], ['doubles', 'ints', 'weights', 'empty']);
  for (const { name, dtype, shape, data } of SAMPLE) {
    assert.deepEqual(tensors.get(name), { dtype, shape, data });
  }
  assert.equal(tensors.get('weights')!.data.buffer, bytes.buffer);
  assert.deepEqual(safetensorsMetadata(bytes, 'f'), { step: '7' });
});

test('unaligned bytes are read all the same', () => {
  const bytes = join(serializeSafetensors(SAMPLE));
  for (const shift of [1, 4]) {
    const moved = new Uint8Array(bytes.length + shift);
    moved.set(bytes, shift);
    const tensors = parseSafetensors(moved.subarray(shift), 'f');
    for (const { name, data } of SAMPLE) assert.deepEqual(tensors.get(name)!.data, data);
  }
});

test('a header alone tells where the tensors are', () => {
  const header = safetensorsHeader(SAMPLE);
  const { tensors, dataStart } = readHeader(header, header.length + 4 + 24 + 16, 'f');
  assert.equal(dataStart, header.length);
  assert.deepEqual(
    tensors.map(({ name, begin, end }) => [name, begin, end]),
    [
      ['ints', 0, 4],
      ['weights', 4, 28],
      ['empty', 28, 28],
      ['doubles', 28, 44],
    ],
  );
});

test('names that objects treat specially survive', () => {
  const names = ['__proto__', '10', '2', 'constructor', 'a"b\\c', 'ü😀'];
  const tensors = names.map((name, i): WritableTensor => {
    return { name, dtype: 'I32', shape: [], data: Int32Array.of(i) };
  });
  const read = parseSafetensors(join(serializeSafetensors(tensors)), 'f');
  assert.deepEqual([...read.keys()], names);
  assert.deepEqual(safetensorsMetadata(join(serializeSafetensors(tensors)), 'f'), {});
});

test('tensors that do not fit are not written', () => {
  const entry = { name: 'w', dtype: 'F32', shape: [2] } as const;
  assert.throws(() => safetensorsHeader([entry, entry]), /tensor w: must have a name of its own/);
  assert.throws(
    () => safetensorsHeader([{ ...entry, shape: [-1] }]),
    /tensor w: sizes must be whole numbers/,
  );
  assert.throws(() => safetensorsHeader([{ ...entry, name: '__metadata__' }]), /tensor __metadata__/);
});

test('a header may hold every dtype of the format, in bytes that are whole', () => {
  for (const [dtype, bytes] of Object.entries({
    C64: 32,
    U64: 32,
    I16: 8,
    I8: 4,
    F8_E8M0: 4,
    F6_E2M3: 3,
    F4: 2,
  })) {
    const at = file(`{"a":{"dtype":"${dtype}","shape":[4],"data_offsets":[0,${bytes}]}}`, bytes);
    assert.deepEqual(readHeader(at, at.length, 'f').tensors, [
      { name: 'a', dtype, shape: [4], begin: 0, end: bytes },
    ]);
  }
  const half = file('{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}', 1);
  assert.throws(() => readHeader(half, half.length, 'f'), /F4 of shape \(3\) must take 1\.5 bytes, got '1'/);
});

const entry = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}';
const hostile: readonly (readonly [promise: string, bytes: Uint8Array, message: RegExp])[] = [
  [
    'an empty file',
    new Uint8Array(0),
    /^m\.st: must begin with a safetensors file's 8 bytes .*got '0 bytes'/,
  ],
  [
    'a header longer than the file',
    file('{}', 0).subarray(0, 9),
    /must hold its header, which ends at byte 10/,
  ],
  [
    'a header over 100 MB',
    Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255),
    /at most 100000000 bytes, got '18446744073709551615'/,
  ],
  ['a header that is not JSON', file('{"a":', 0), /^m\.st: its header must be JSON/],
  [
    'a header that is not UTF-8',
    join([file('', 0).fill(1, 0, 1), Uint8Array.of(0xff)]),
    /its header must be UTF-8/,
  ],
  ['a header that is a list', file('[]', 0), /its header must be a JSON object, got '\[\]'/],
  [
    'duplicate names',
    file(`{"a":${entry},"a":${entry}}`, 8),
    /each key of its header must come once, got 'a'/,
  ],
  [
    'duplicate keys in an entry',
    file('{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', 8),
    /each key of its header must come once, got 'shape'/,
  ],
  [
    'an unknown key',
    file(`{"a":${entry.replace('{', '{"x":1,')}}`, 8),
    /tensor a: its entry must have only the keys .*'x'/,
  ],
  [
    'an unknown dtype',
    file(`{"a":${entry.replace('F32', 'F8')}}`, 8),
    /tensor a: dtype must be one of .*'"F8"'/,
  ],
  [
    'an inherited dtype',
    file(`{"a":${entry.replace('F32', 'toString')}}`, 8),
    /tensor a: dtype must be one of/,
  ],
  [
    'a missing dtype',
    file('{"a":{"shape":[2],"data_offsets":[0,8]}}', 8),
    /dtype must be one of .*'nothing'/,
  ],
  [
    'a negative size',
    file(`{"a":${entry.replace('[2]', '[-2]')}}`, 8),
    /tensor a: shape must be a list .*'\[-2\]'/,
  ],
  [
    'a fractional size',
    file(`{"a":${entry.replace('[2]', '[2.5]')}}`, 8),
    /tensor a: shape must be a list .*'\[2.5\]'/,
  ],
  [
    'a size beyond reason',
    file(`{"a":${entry.replace('[2]', '[9007199254740991,9]')}}`, 8),
    /its sizes must multiply to a number of bytes, got '\[9007199254740991,9\]'/,
  ],
  [
    'sizes that overflow and then vanish',
    file(
      `{"a":${entry.replace('[2]', '[4503599627370496,4503599627370496,0]').replace('[0,8]', '[0,0]')}}`,
      0,
    ),
    /tensor a: its sizes must multiply to a number of bytes/,
  ],
  [
    'a header nested deep',
    file('['.repeat(100_000) + ']'.repeat(100_000), 0),
    /its header must be JSON \(nested more than 64 levels deep\)/,
  ],
  [
    'a list nested deep in an entry',
    file(`{"a":{"dtype":${'['.repeat(100_000)}${']'.repeat(100_000)},"shape":[],"data_offsets":[0,0]}}`, 0),
    /its header must be JSON \(nested more than 64 levels deep\)/,
  ],
  [
    'a name that steers the terminal',
    file('{"a\\n\\u001b[2J":3}', 0),
    /^m\.st: tensor a\\n\\u001b\[2J: its entry must be an object, got '3'$/,
  ],
  ['a name without end', file(`{"${'x'.repeat(1_000_000)}":3}`, 0), /^m\.st: tensor x{900,1000}….{0,100}$/],
  [
    'a shape without end',
    file(JSON.stringify({ a: { dtype: 'F32', shape: Array(100_000).fill(1), data_offsets: [0, 8] } }), 8),
    /tensor a: F32 of shape \((1, ){16}…\) must take 4 bytes, got '8'/,
  ],
  [
    'too few bytes for a shape',
    file(`{"a":${entry.replace('[2]', '[3]')}}`, 8),
    /F32 of shape \(3\) must take 12 bytes, got '8'/,
  ],
  [
    'offsets that run backwards',
    file(`{"a":${entry.replace('[0,8]', '[8,0]')}}`, 8),
    /data_offsets must be a begin and an end/,
  ],
  [
    'one offset',
    file(`{"a":${entry.replace('[0,8]', '[8]')}}`, 8),
    /data_offsets must be a begin and an end/,
  ],
  [
    'a truncated file',
    file(`{"a":${entry}}`, 7),
    /tensor a: its data must end within the 7 bytes of data, got 8; the file is truncated/,
  ],
  [
    'bytes after the data',
    file(`{"a":${entry}}`, 9),
    /must have exactly the 8 bytes of data that its tensors take, got '9 bytes of data'/,
  ],
  [
    'overlapping tensors',
    file(`{"a":${entry},"b":${entry.replace('[0,8]', '[4,12]')}}`, 12),
    /tensor b: its data must begin at byte 8, got '4, which overlaps the tensor before it'/,
  ],
  [
    'a gap between tensors',
    file(`{"a":${entry},"b":${entry.replace('[0,8]', '[12,20]')}}`, 20),
    /tensor b: its data must begin at byte 8, got '12, which leaves a gap before it'/,
  ],
  ['an entry that is no object', file('{"a":3}', 0), /tensor a: its entry must be an object, got '3'/],
  [
    'metadata that is not text',
    file('{"__metadata__":{"a":1}}', 0),
    /__metadata__ must be an object of texts/,
  ],
];

for (const [promise, bytes, message] of hostile) {
  test(`refused: ${promise}`, async () => {
    const refusal = { name: 'CheckpointError', message };
    assert.throws(() => parseSafetensors(bytes, 'm.st'), refusal);
    await assert.rejects(readFileHeader(memoryFile(bytes), 'm.st'), refusal);
  });
}

test('every prefix of a file is refused, and no damaged byte of the header goes further than an error of ours', () => {
  const bytes = join(serializeSafetensors(SAMPLE, { step: '7' }));
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => parseSafetensors(bytes.subarray(0, length), 'm.st'), { name: 'CheckpointError' });
  }
  const headerLength = serializeSafetensors(SAMPLE, { step: '7' })[0].length;
  for (let i = 0; i < headerLength; i++) {
    for (const flip of [1, 2, 0x10, 0x80]) {
      const damaged = bytes.slice();
      damaged[i] ^= flip;
      try {
        parseSafetensors(damaged, 'm.st');
      } catch (error) {
        assert.equal((error as Error).name, 'CheckpointError', `byte ${i}`);
      }
    }
  }
});

test('duplicate keys are found however they are written', () => {
  assert.equal(duplicateKey('{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}'), undefined);
  assert.equal(duplicateKey('{"a":1, "\\u0061" : 2}'), 'a');
  assert.equal(duplicateKey('[{"x":"{\\"y\\":1,"},{"y":"a\\\\","y":2}]'), 'y');
  assert.equal(duplicateKey('["a","a",{"k":"k"}]'), undefined);
});

test('JSON is parsed up to a depth, brackets in strings apart', () => {
  const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
  parseJSON(nested(64));
  assert.throws(() => parseJSON(nested(65)), /nested more than 64 levels deep/);
  assert.deepEqual(parseJSON(`["${'['.repeat(100)}\\"[", {}]`), [`${'['.repeat(100)}"[`, {}]);
  for (const text of ['"', '"\\', '["a', ']]]']) assert.throws(() => parseJSON(text), SyntaxError);
});

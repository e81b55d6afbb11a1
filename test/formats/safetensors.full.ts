/** Thousands of damaged safetensors files: each is read or refused. Belongs to the long run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ARRAYS, isReadable } from '../../src/formats/dtypes.js';
import { Fuzz, fuzz } from '../fuzz.js';
import { parseSafetensors, safetensorsMetadata, serializeSafetensors } from './safetensors-bytes.js';

const good = new Uint8Array(
  Buffer.concat(
    serializeSafetensors(
      [
        { name: 'weights', dtype: 'F32', shape: [2, 3], data: Float32Array.of(1.5, -2, 3, 0.25, 5, -6) },
        { name: 'ints', dtype: 'I32', shape: [1], data: Int32Array.of(-7) },
        { name: 'empty', dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
        { name: 'doubles', dtype: 'F64', shape: [2], data: Float64Array.of(0.1, -1e300) },
      ],
      { step: '7' },
    ),
  ),
);
const headerEnd = 8 + Number(new DataView(good.buffer).getBigUint64(0, true));

function read(bytes: Uint8Array): void {
  for (const { dtype, shape, data } of parseSafetensors(bytes, 'm.st').values()) {
    assert.ok(data instanceof (isReadable(dtype) ? ARRAYS[dtype] : Uint8Array));
    assert.equal(
      data.length,
      shape.reduce((product, size) => product * size, 1),
    );
    assert.ok(data.byteLength <= bytes.length);
  }
  safetensorsMetadata(bytes, 'm.st');
}

test('20,000 files with damaged bytes', async () => {
  const random = new Fuzz(1);
  await fuzz(20_000, ['CheckpointError'], () => read(random.bytes(good)));
});

test('20,000 files with well-formed headers that lie', async () => {
  const random = new Fuzz(2);
  const header: unknown = JSON.parse(new TextDecoder().decode(good.subarray(8, headerEnd)));
  await fuzz(20_000, ['CheckpointError'], () => {
    const json = Buffer.from(JSON.stringify(random.json(header)));
    const length = Buffer.alloc(8);
    const claimed = random.below(4) === 0 ? random.below(2 * json.length + 1) : json.length;
    length.writeBigUInt64LE(BigInt(claimed));
    read(new Uint8Array(Buffer.concat([length, json, good.subarray(headerEnd)])));
  });
});

test('headers of many megabytes are refused in bounded time and memory', async () => {
  const size = 8_000_000;
  const texts = ['[', '{"a":', '[0,', '{"a":{"shape":[1,', '"', '"\\', ' ', '{"a":"'].map((text) =>
    text.repeat(Math.ceil(size / text.length)),
  );
  const whole = [`[${'0,'.repeat(size / 2)}0]`, `{"a":{"dtype":"F32","shape":[${'1,'.repeat(size / 2)}1]}}`];
  await fuzz(texts.length + whole.length + 1, ['CheckpointError'], (n) => {
    const json = Buffer.from([...texts, ...whole, `{}${' '.repeat(size)}`][n]);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    read(new Uint8Array(Buffer.concat([length, json])));
  });
});

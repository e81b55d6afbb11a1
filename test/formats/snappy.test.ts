/** Snappy as a stream against hysnappy, which unpacks at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compressors } from 'hyparquet-compressors';
import { unpackSnappy } from '../../src/formats/snappy.js';

const LONGEST = 60;

/** Text as Snappy's elements: copies of all three kinds where it repeats itself, literals of all lengths of lengths. */
function packed(
  bytes: Uint8Array,
  elements: readonly (readonly [kind: number, length: number, offset?: number])[],
): Buffer {
  const parts = [varint(bytes.length)];
  let at = 0;
  for (const [kind, length, offset = 0] of elements) {
    if (kind === 0) {
      const extra = length <= LONGEST ? 0 : length <= 1 << 8 ? 1 : length <= 1 << 16 ? 2 : 3;
      const head = Buffer.alloc(1 + extra);
      head[0] = (extra === 0 ? length - 1 : 59 + extra) << 2;
      if (extra > 0) head.writeUIntLE(length - 1, 1, extra);
      parts.push(head, Buffer.from(bytes.subarray(at, at + length)));
    } else if (kind === 1)
      parts.push(Buffer.from([((offset >> 8) << 5) | ((length - 4) << 2) | 1, offset & 255]));
    else {
      const head = Buffer.alloc(kind === 2 ? 3 : 5);
      head[0] = ((length - 1) << 2) | kind;
      head.writeUIntLE(offset, 1, kind === 2 ? 2 : 4);
      parts.push(head);
    }
    at += length;
  }
  assert.equal(at, bytes.length);
  return Buffer.concat(parts);
}

function varint(number: number): Buffer {
  const bytes: number[] = [];
  for (; number >= 128; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
  return Buffer.from([...bytes, number]);
}

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function unpack(bytes: Uint8Array, size = bytes.length): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of unpackSnappy(cut(bytes, size))) parts.push(part);
  return Buffer.concat(parts);
}

/** Bytes in which element after element repeats what is behind it, and the elements. */
function sample(): { bytes: Buffer; elements: [number, number, number?][] } {
  const parts: number[] = [];
  const elements: [number, number, number?][] = [];
  let state = 1;
  const next = (below: number) => {
    state = (state * 48271) % 0x7fffffff;
    return state % below;
  };
  for (const length of [1, 59, 60, 61, 255, 256, 257, 65_536, 65_537, 300_000]) {
    elements.push([0, length]);
    for (let i = 0; i < length; i++) parts.push(next(256));
  }
  for (let i = 0; i < 60_000; i++) {
    const kind = 1 + next(3);
    const length = kind === 1 ? 4 + next(8) : 1 + next(64);
    const offset = 1 + next([2047, 65_535, 400_000][kind - 1]);
    elements.push([kind, length, offset]);
    const from = parts.length - offset;
    for (let k = 0; k < length; k++) parts.push(parts[from + k]);
  }
  return { bytes: Buffer.from(parts), elements };
}

test('a block comes back however it is cut, as hysnappy unpacks it', async () => {
  const { bytes, elements } = sample();
  assert.ok(bytes.length > 1.5 * 2 ** 20, 'more than is given at a time');
  const block = packed(bytes, elements);
  assert.deepEqual(Buffer.from(compressors.SNAPPY!(block, bytes.length)), bytes);
  for (const size of [block.length, 65_536, 1000, 7])
    assert.deepEqual(await unpack(block, size), bytes, `${size}`);
  const short = packed(bytes.subarray(0, 1), [[0, 1]]);
  assert.deepEqual(await unpack(short, 1), bytes.subarray(0, 1));
  assert.deepEqual(await unpack(Buffer.from([0])), Buffer.alloc(0));
});

test('a block that ends early, goes on, or looks back too far is refused', async () => {
  const bytes = Buffer.from('abcabcabc');
  const block = packed(bytes, [
    [0, 3],
    [1, 6, 3],
  ]);
  for (let length = 0; length < block.length; length++) {
    await assert.rejects(unpack(block.subarray(0, length)), /unpacked where Snappy promises/, `${length}`);
  }
  await assert.rejects(
    unpack(Buffer.concat([block, Buffer.from([0, 97])])),
    /10 bytes unpacked where Snappy promises 9/,
  );
  await assert.rejects(
    unpack(
      packed(bytes, [
        [0, 3],
        [1, 6, 4],
      ]),
    ),
    /a Snappy copy from 4 bytes back, where 3 are kept/,
  );
  await assert.rejects(
    unpack(
      packed(bytes, [
        [0, 3],
        [3, 6, 0],
      ]),
    ),
    /a Snappy copy from 0 bytes back/,
  );
  await assert.rejects(unpack(Buffer.alloc(9, 255)), /no length at the beginning/);
  const far = Buffer.alloc(2 ** 21);
  await assert.rejects(
    unpack(
      packed(Buffer.alloc(far.length + 4), [
        [0, far.length],
        [3, 4, 2 ** 20 + 1],
      ]),
    ),
    /from 1048577 bytes back/,
  );
});

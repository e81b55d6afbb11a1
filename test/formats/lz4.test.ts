/** LZ4 as a stream against hyparquet-compressors, which unpacks at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compressors } from 'hyparquet-compressors';
import { unpackLz4 } from '../../src/formats/lz4.js';

type Sequence = readonly [literals: Uint8Array, offset: number, match: number];

/** Sequences as a block, the last without a match. */
function packed(sequences: readonly Sequence[], end: Uint8Array): Buffer {
  const parts = sequences.flatMap(([literals, offset, match]) => [
    token(literals.length, match - 4),
    literals,
    Buffer.from([offset & 255, offset >> 8]),
    rest(match - 4),
  ]);
  return Buffer.concat([...parts, token(end.length, 0), end]);
}

function token(literals: number, match: number): Buffer {
  const head = Buffer.from([(Math.min(literals, 15) << 4) | Math.min(match, 15)]);
  return Buffer.concat([head, rest(literals)]);
}

/** What of a length does not fit into four bits. */
function rest(length: number): Buffer {
  if (length < 15) return Buffer.alloc(0);
  const more = length - 15;
  return Buffer.concat([Buffer.alloc(Math.floor(more / 255), 255), Buffer.from([more % 255])]);
}

async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function unpack(bytes: Uint8Array, size = bytes.length): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of unpackLz4(cut(bytes, size))) parts.push(part);
  return Buffer.concat(parts);
}

test('a block comes back however it is cut, as hyparquet-compressors unpacks it', async () => {
  let state = 1;
  const next = (below: number) => {
    state = (state * 48271) % 0x7fffffff;
    return state % below;
  };
  const noise = (length: number) => Uint8Array.from({ length }, () => next(256));
  const lengths = [15, 16, 269, 270, 271, 0, 65_536, 300_000];
  const sequences: Sequence[] = lengths.map((length) => [noise(length), 1 + next(15), 4 + next(3)]);
  for (let i = 0; i < 2000; i++) sequences.push([noise(next(40)), 1 + next(65_535), 4 + next(700)]);
  sequences.push([noise(1), 1, 3 * 2 ** 20]); // more than is given at a time, out of one byte
  const end = noise(5);
  const block = packed(sequences, end);
  const size = sequences.reduce((sum, [literals, , match]) => sum + literals.length + match, end.length);
  const whole = Buffer.from(compressors.LZ4_RAW!(block, size));
  for (const piece of [block.length, 65_536, 1000, 7]) {
    assert.ok((await unpack(block, piece)).equals(whole), `cut by ${piece}`);
  }
  assert.deepEqual(await unpack(Buffer.from([0])), Buffer.alloc(0));
});

test('a block that ends early or looks back too far is refused', async () => {
  const block = packed([[Buffer.from('abc'), 3, 6]], Buffer.from('end'));
  assert.equal(String(await unpack(block, 1)), 'abcabcabcend');
  // A block may end after any literals: where it does, the page's own size tells.
  const complete = [4, 11];
  for (let length = 0; length < block.length; length++) {
    const part = block.subarray(0, length);
    if (complete.includes(length)) await unpack(part);
    else await assert.rejects(unpack(part), /ends early/, `${length}`);
  }
  const far = packed([[Buffer.from('abc'), 4, 6]], Buffer.from('end'));
  await assert.rejects(unpack(far), /an LZ4 match from 4 bytes back, where 3 are there/);
  const nowhere = packed([[Buffer.from('abc'), 0, 6]], Buffer.from('end'));
  await assert.rejects(unpack(nowhere), /an LZ4 match from 0 bytes back/);
  await assert.rejects(unpack(Buffer.alloc(1 << 24, 255), 1 << 18), /an LZ4 length above 2147483648/);
});

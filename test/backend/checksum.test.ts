/** CRC-32C: the addon's on every instruction set and the plain one, against the published values and the definition. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setIsa } from '../../src/backend/native/addon.js';
import { BackendError } from '../../src/errors.js';
import { crc32c } from '../../src/formats/crc32c.js';
import { addon, integers, isas } from './helpers.js';

const bytesOf = (seed: number, n: number) => Uint8Array.from(integers(seed, n, 256));

/** Bit by bit, as the definition has it. */
function byDefinition(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

after(() => setIsa(isas[0]));

const variants: [string, (bytes: Uint8Array, before: number) => number][] = [
  ['plain', crc32c],
  ...isas.map((isa): [string, (bytes: Uint8Array, before: number) => number] => [
    isa,
    (bytes, before) => {
      setIsa(isa);
      return addon.crc32c(bytes, before);
    },
  ]),
];

for (const [name, crc] of variants) {
  test(`${name}: the values of RFC 3720 and the catalogue of CRCs`, () => {
    const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
    for (const [bytes, sum] of [
      [new Uint8Array(), 0],
      [new TextEncoder().encode('123456789'), 0xe3069283],
      [new Uint8Array(32), 0x8a9136aa],
      [new Uint8Array(32).fill(0xff), 0x62a8ab43],
      [ascending, 0x46dd794e],
      [ascending.toReversed(), 0x113fdb5c],
    ] as const) {
      assert.equal(crc(bytes, 0), sum);
    }
  });

  test(`${name}: every length and beginning, whole or in two parts, has the sum of the definition`, () => {
    const bytes = bytesOf(3, 400);
    for (let n = 0; n < 120; n++) {
      const part = bytes.subarray(n % 9, (n % 9) + n);
      const expected = byDefinition(part);
      assert.equal(crc(part, 0), expected, `${n} bytes`);
      const cut = (n * 7) % (n + 1);
      assert.equal(
        crc(part.subarray(cut), crc(part.subarray(0, cut), 0)),
        expected,
        `${n} bytes cut at ${cut}`,
      );
    }
    const many = bytesOf(4, 100_003);
    assert.equal(crc(many, 0), byDefinition(many));
  });
}

test('the addon refuses what are no bytes', () => {
  assert.throws(() => addon.crc32c(new Float32Array(4) as never, 0), {
    name: 'BackendError',
    message: "crc32c: argument 'bytes' must be a Uint8Array, got 'Float32Array'",
  });
  assert.throws(() => addon.crc32c(new Uint8Array(new SharedArrayBuffer(4)), 0), BackendError);
  assert.throws(() => addon.crc32c(new Uint8Array(4), -1), BackendError);
});

/**
 * Event files: known checksums and bytes, and every record parsed back. `read-tfevents.py` lets TensorBoard itself read
 * one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bytesField,
  doubleField,
  floatField,
  message,
  type ProtoField,
  readFields,
  textField,
  varintField,
} from '../../src/formats/protobuf.js';
import {
  eventStep,
  eventText,
  hyperParametersRecord,
  scalarsRecord,
  textRecord,
  versionRecord,
} from '../../src/formats/tfevents.js';
import { crc32c } from '../../src/formats/crc32c.js';
import { maskedCrc32c, readTfRecords, tfRecord } from '../../src/formats/tfrecord.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const utf8 = new TextDecoder();

/** The values of a field of a message. */
function all(bytes: Uint8Array, number: number): ProtoField['value'][] {
  return [...readFields(bytes, 'test')].filter(({ field }) => field === number).map(({ value }) => value);
}

/** The only value of the field at the end of a path of message fields. */
function at(bytes: Uint8Array, ...path: number[]): ProtoField['value'] {
  const [value, ...others] = all(bytes, path[0]);
  assert.equal(others.length, 0);
  return path.length === 1 ? value : at(value as Uint8Array, ...path.slice(1));
}

const text = (value: ProtoField['value']): string => utf8.decode(value as Uint8Array);

function records(...chunks: Uint8Array[]): Uint8Array[] {
  return [...readTfRecords(message(...chunks))].map(({ data }) => data);
}

test('CRC-32C has the values of RFC 3720', () => {
  const cases: [Uint8Array, number][] = [
    [new Uint8Array(0), 0],
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    [Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    [new TextEncoder().encode('123456789'), 0xe3069283],
  ];
  for (const [bytes, crc] of cases) assert.equal(crc32c(bytes), crc);
  assert.equal(maskedCrc32c(new Uint8Array(0)), 0xa282ead8);
});

test('protobuf fields have the bytes of the specification’s examples, and are read back', () => {
  assert.equal(hex(varintField(1, 150)), '089601');
  assert.equal(hex(textField(2, 'testing')), '120774657374696e67');
  assert.equal(hex(bytesField(3, varintField(1, 150))), '1a03089601');
  assert.equal(hex(doubleField(1, 1)), '09000000000000f03f');
  assert.equal(hex(floatField(2, 1)), '150000803f');
  for (const n of [0, 1, 127, 128, 300, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]) {
    assert.deepEqual([...readFields(varintField(20_000, n), 'test')], [{ field: 20_000, value: n }]);
  }
  const whole = message(varintField(1, true), textField(2, 'ü'), doubleField(3, 0.1), floatField(4, 0.5));
  assert.deepEqual(
    [...readFields(whole, 'test')].map(({ value }) => value),
    [1, new TextEncoder().encode('ü'), 0.1, 0.5],
  );
  for (let end = 1; end < whole.length; end++) {
    try {
      for (const _ of readFields(whole.subarray(0, end), 'cut'));
    } catch (error) {
      assert.equal((error as Error).message, 'cut: must be a whole protobuf message');
    }
  }
  assert.throws(() => [...readFields(Uint8Array.of(0x0b), 'x')], /x: its wire types must be .*, got 3/);
  assert.throws(() => [...readFields(new Uint8Array(11).fill(0xff), 'x')], /x: its varints must have/);
});

test('a file begins as TensorBoard’s own do', () => {
  const file = versionRecord(1.5);
  // Length 24 and its checksum: the first bytes of every event file there is.
  assert.equal(hex(file.subarray(0, 12)), '1800000000000000a37f4b22');
  assert.equal(
    hex(file.subarray(12, 36)),
    `09000000000000f83f1a0d${Buffer.from('brain.Event:2').toString('hex')}`,
  );
  assert.equal(file.length, 40);
});

test('scalars, texts and hyper-parameters are parsed back', () => {
  const parameters = { lr: 6e-4, depth: 'loop', bias: true, tied: false, nLoop: 2, seed: 0, none: null };
  const [version, scalars, config, session] = records(
    versionRecord(10),
    scalarsRecord(11.25, 300, { 'loss/train': 2.5, lr: 0.001 }),
    textRecord(12, 7, 'config', '| größe |'),
    hyperParametersRecord(13, parameters),
  );
  assert.equal(text(at(version, 3)), 'brain.Event:2');
  assert.equal(eventStep(version, 'test'), 0);

  assert.equal(at(scalars, 1), 11.25);
  assert.equal(eventStep(scalars, 'test'), 300);
  const values = all(at(scalars, 5) as Uint8Array, 1) as Uint8Array[];
  assert.deepEqual(
    values.map((value) => [text(at(value, 1)), at(value, 2)]),
    [
      ['loss/train', 2.5],
      ['lr', Math.fround(0.001)],
    ],
  );

  assert.equal(eventStep(config, 'test'), 7);
  assert.equal(eventText(config, 'config', 'test'), '| größe |');
  assert.equal(eventText(config, 'other', 'test'), undefined);
  assert.equal(eventText(scalars, 'config', 'test'), undefined);
  assert.equal(text(at(config, 5, 1, 9, 1, 1)), 'text');

  assert.equal(text(at(session, 5, 1, 1)), '_hparams_/session_start_info');
  assert.equal(text(at(session, 5, 1, 9, 1, 1)), 'hparams');
  const info = at(session, 5, 1, 9, 1, 2, 3) as Uint8Array;
  assert.equal(at(info, 5), 13);
  const read = (all(info, 1) as Uint8Array[]).map((entry) => {
    const [{ field, value }] = readFields(at(entry, 2) as Uint8Array, 'test');
    return [text(at(entry, 1)), field === 3 ? text(value) : field === 4 ? value === 1 : value];
  });
  assert.deepEqual(read, Object.entries(parameters).slice(0, -1));
});

test('reading stops before what is damaged or cut off', () => {
  const parts = [versionRecord(1), scalarsRecord(2, 1, { x: 1 }), scalarsRecord(3, 2, { x: 2 })];
  const file = message(...parts);
  const ends = [...readTfRecords(file)].map(({ end }) => end);
  assert.deepEqual(ends, [40, 40 + parts[1].length, file.length]);
  for (let length = 0; length < file.length; length++) {
    assert.equal(records(file.subarray(0, length)).length, ends.filter((end) => end <= length).length);
  }
  for (let i = 0; i < file.length; i++) {
    const damaged = file.slice();
    damaged[i] ^= 0x10;
    assert.equal(records(damaged).length, ends.filter((end) => end <= i).length, `byte ${i}`);
  }
  assert.deepEqual(records(tfRecord(new Uint8Array(0))), [new Uint8Array(0)]);
});

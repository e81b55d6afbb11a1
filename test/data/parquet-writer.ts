/** Parquet files of one column that no writer at hand makes small: whole row groups in one page, of any size. */
import { closeSync, openSync, writeSync } from 'node:fs';

/** Writes one row group of texts: one page of them, or a dictionary of them and their places in order. */
export function writeOneGroup(path: string, texts: readonly Uint8Array[], dictionary = false): void {
  const file = openSync(path, 'w');
  let at = writeSync(file, 'PAR1');
  const size = texts.reduce((sum, { length }) => sum + 4 + length, 0);
  const start = at;
  // Snappy's literals, each a text behind its length.
  const packed = varint(size).length + texts.reduce((sum, { length }) => sum + 9 + length, 0);
  const of = (type: number, bytes: number, held: number, field: number, encoding: number) =>
    struct([
      [1, type],
      [2, bytes],
      [3, held],
      [
        field,
        struct(
          field === 7
            ? [
                [1, texts.length],
                [2, 0],
              ]
            : [
                [1, texts.length],
                [2, encoding],
                [3, 3],
                [4, 3],
              ],
        ),
      ],
    ]);
  const write = (bytes: Uint8Array) => {
    at += writeSync(file, bytes);
  };
  write(dictionary ? of(2, size, packed, 7, 0) : of(0, size, packed, 5, 0));
  write(varint(size));
  for (const text of texts) {
    const head = Buffer.alloc(9);
    head[0] = 63 << 2;
    head.writeUInt32LE(3 + text.length, 1); // less one, and the four bytes of the length belong to it
    head.writeUInt32LE(text.length, 5);
    write(head);
    write(text);
  }
  let data = start;
  if (dictionary) {
    data = at;
    // A run of one for each place, of four bytes: 2 is the header of a run of one.
    const places = Buffer.alloc(1 + 5 * texts.length, 32);
    for (let i = 0; i < texts.length; i++) {
      places[1 + 5 * i] = 2;
      places.writeUInt32LE(i, 2 + 5 * i);
    }
    const body = Buffer.concat([varint(places.length), literal(places)]);
    write(of(0, places.length, body.length, 5, 8));
    write(body);
  }
  const column: Field[] = [
    [1, 6], // BYTE_ARRAY
    [2, [0, 8]],
    [3, ['text']],
    [4, 1], // SNAPPY
    [5, BigInt(texts.length)],
    [6, BigInt(size)],
    [7, BigInt(at - start)],
    [9, BigInt(data)],
    ...(dictionary ? ([[11, BigInt(start)]] as Field[]) : []),
  ];
  const footer = struct([
    [1, 1],
    [
      2,
      [
        struct([
          [4, 'schema'],
          [5, 1],
        ]),
        struct([
          [1, 6],
          [3, 0],
          [4, 'text'],
          [6, 0],
        ]),
      ],
    ],
    [3, BigInt(texts.length)],
    [
      4,
      [
        struct([
          [
            1,
            [
              struct([
                [2, BigInt(start)],
                [3, struct(column)],
              ]),
            ],
          ],
          [2, BigInt(size)],
          [3, BigInt(texts.length)],
        ]),
      ],
    ],
  ]);
  write(footer);
  const end = Buffer.alloc(8, 'PAR1\0\0\0\0PAR1');
  end.writeUInt32LE(footer.length, 0);
  end.write('PAR1', 4);
  write(end);
  closeSync(file);
}

function literal(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head[0] = 63 << 2;
  head.writeUInt32LE(bytes.length - 1, 1);
  return Buffer.concat([head, bytes]);
}

/**
 * Thrift's compact protocol: a number is an i32, a bigint an i64, an array a list of what its first item is, bytes a
 * struct.
 */
type Value = number | bigint | string | Uint8Array | readonly Value[];
type Field = readonly [id: number, value: Value];

function struct(fields: readonly Field[]): Buffer {
  const parts: Uint8Array[] = [];
  let last = 0;
  for (const [id, value] of fields) {
    parts.push(Buffer.from([((id - last) << 4) | kindOf(value)]), bytesOf(value));
    last = id;
  }
  return Buffer.concat([...parts, Buffer.from([0])]);
}

function kindOf(value: Value): number {
  if (typeof value === 'number') return 5;
  if (typeof value === 'bigint') return 6;
  if (typeof value === 'string') return 8;
  return value instanceof Uint8Array ? 12 : 9;
}

function bytesOf(value: Value): Uint8Array {
  if (typeof value === 'number' || typeof value === 'bigint') return varint(Number(value) * 2);
  if (typeof value === 'string') return Buffer.concat([varint(value.length), Buffer.from(value)]);
  if (value instanceof Uint8Array) return value;
  return Buffer.concat([Buffer.from([(value.length << 4) | kindOf(value[0])]), ...value.map(bytesOf)]);
}

function varint(number: number): Buffer {
  const bytes: number[] = [];
  for (; number >= 128; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
  return Buffer.from([...bytes, number]);
}

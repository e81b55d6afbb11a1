/**
 * Protocol buffers over bytes: a message is its fields one after the other, each a key (number · 8 + wire type) and a
 * value. This file implements the wire format (protobuf.dev/programming-guides/encoding), and no particular message.
 */
import { DataError } from '../errors.js';
import { joined } from './joined.js';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

const utf8 = new TextEncoder();

/** A message of fields made by the functions below. */
export function message(...fields: readonly Uint8Array[]): Uint8Array {
  return joined(fields);
}

/** A whole number between −2⁵³ and 2⁵³ (int32, int64, uint64, enum), or a boolean. */
export function varintField(field: number, value: number | boolean): Uint8Array {
  return Uint8Array.from([...varint(field * 8 + VARINT), ...varint(Number(value))]);
}

export function doubleField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return message(Uint8Array.from(varint(field * 8 + FIXED64)), bytes);
}

export function floatField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return message(Uint8Array.from(varint(field * 8 + FIXED32)), bytes);
}

/** Bytes, or a message within a message. */
export function bytesField(field: number, value: Uint8Array): Uint8Array {
  return message(Uint8Array.from([...varint(field * 8 + LENGTH), ...varint(value.length)]), value);
}

export function textField(field: number, value: string): Uint8Array {
  return bytesField(field, utf8.encode(value));
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  if (value < 0) {
    // The two's complement of 64 bits: nine groups of seven bits, and the sign.
    for (let i = 0; i < 9; i++) bytes.push(Number((BigInt(value) >> BigInt(7 * i)) & 0x7fn) | 0x80);
    return [...bytes, 1];
  }
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

/** A field as read: a number for varints, doubles and floats; a view of its bytes for a field with a length. */
export interface ProtoField {
  readonly field: number;
  readonly value: number | Uint8Array;
}

/** Reads the fields of a message. Throws DataError if it is damaged. Varints beyond 2⁵³ lose their last bits. */
export function* readFields(bytes: Uint8Array, where: string): Generator<ProtoField> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number): number => {
    const start = at;
    if (count > bytes.length - start) throw new DataError(where, 'must be a whole protobuf message');
    at += count;
    return start;
  };
  const readVarint = (): number => {
    let value = 0;
    for (let power = 1, i = 0; i < 10; power *= 0x80, i++) {
      const byte = bytes[take(1)];
      value += (byte & 0x7f) * power;
      if (byte < 0x80) return value;
    }
    throw new DataError(where, 'its varints must have at most 10 bytes');
  };
  while (at < bytes.length) {
    const key = readVarint();
    const field = Math.floor(key / 8);
    switch (key % 8) {
      case VARINT:
        yield { field, value: readVarint() };
        break;
      case FIXED64:
        yield { field, value: view.getFloat64(take(8), true) };
        break;
      case FIXED32:
        yield { field, value: view.getFloat32(take(4), true) };
        break;
      case LENGTH: {
        const length = readVarint();
        const start = take(length);
        yield { field, value: bytes.subarray(start, start + length) };
        break;
      }
      default:
        throw new DataError(where, 'its wire types must be 0, 1, 2 or 5', key % 8);
    }
  }
}

/**
 * Converts integers of any width to token ids, which have 16 bits.
 */

/** The integer types by numpy's names. */
export const INTEGER_TYPES = {
  uint8: { bytes: 1, signed: false },
  int8: { bytes: 1, signed: true },
  uint16: { bytes: 2, signed: false },
  int16: { bytes: 2, signed: true },
  uint32: { bytes: 4, signed: false },
  int32: { bytes: 4, signed: true },
  uint64: { bytes: 8, signed: false },
  int64: { bytes: 8, signed: true },
} as const;

export type IntegerType = keyof typeof INTEGER_TYPES;

/** The type of integers in a file, and their byte order. */
export interface IntegerFormat {
  readonly type: IntegerType;
  readonly bigEndian: boolean;
}

const HOST_IS_BIG_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 0;

/** Whether every value of a type is an id. */
export function alwaysFits(type: IntegerType): boolean {
  return type === 'uint8' || type === 'uint16';
}

/** Converts integers from a file's byte order to this machine's, in place. */
export function toHostOrder(bytes: Uint8Array, { type, bigEndian }: IntegerFormat): void {
  if (bigEndian === HOST_IS_BIG_ENDIAN) return;
  const width = INTEGER_TYPES[type].bytes;
  for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

/**
 * Converts whole integers to ids. Overwrites `bytes`, which must begin its buffer.
 *
 * @returns the number of ids made: all, or those before the first integer that is no id
 */
export function toIds(bytes: Uint8Array<ArrayBuffer>, format: IntegerFormat, ids: Uint16Array): number {
  const { bytes: width, signed } = INTEGER_TYPES[format.type];
  const count = bytes.length / width;
  toHostOrder(bytes, format);
  const { buffer } = bytes;
  if (width <= 2) {
    const values = width === 1 ? new Uint8Array(buffer, 0, count) : new Uint16Array(buffer, 0, count);
    const most = signed ? 2 ** (8 * width - 1) - 1 : 2 ** (8 * width) - 1;
    for (let i = 0; i < count; i++) {
      if (values[i] > most) return i;
      ids[i] = values[i];
    }
    return count;
  }
  // Only the low 16 bits of a wide integer may be set; a negative integer has others set too.
  const words = new Uint32Array(buffer, 0, (count * width) / 4);
  const step = width / 4;
  const low = HOST_IS_BIG_ENDIAN ? step - 1 : 0;
  for (let i = 0; i < count; i++) {
    const word = words[i * step + low];
    if (word > 0xffff || (step === 2 && words[2 * i + 1 - low] !== 0)) return i;
    ids[i] = word;
  }
  return count;
}

/** The integer that `bytes` begins with. */
export function integerAt(bytes: Uint8Array, { type, bigEndian }: IntegerFormat): bigint {
  const { bytes: width, signed } = INTEGER_TYPES[type];
  let value = 0n;
  for (let i = 0; i < width; i++) value = (value << 8n) | BigInt(bytes[bigEndian ? i : width - 1 - i]);
  return signed ? BigInt.asIntN(8 * width, value) : value;
}

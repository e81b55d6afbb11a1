/**
 * The dtypes of safetensors and the typed arrays that hold their values.
 */
import { CheckpointError } from '../errors.js';

/** Typed arrays that hold tensors: float16 and bfloat16 as their 16 bits, booleans as bytes 0 and 1. */
export type TensorData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

/** The typed array of each dtype whose values can be read. */
export const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

/** The dtypes that can be read. */
export type Dtype = keyof typeof ARRAYS;

/** Bits of one value of each dtype in the format, which has more dtypes than loopnn reads. */
const BITS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Object.entries(ARRAYS).map(([dtype, array]) => [dtype, 8 * array.BYTES_PER_ELEMENT])),
  ...{ C64: 64, U64: 64, U32: 32, I16: 16, I8: 8 },
  ...{ F8_E4M3: 8, F8_E4M3FNUZ: 8, F8_E5M2: 8, F8_E5M2FNUZ: 8, F8_E8M0: 8 },
  ...{ F6_E2M3: 6, F6_E3M2: 6, F4: 4 },
};

/** The dtypes that a file may hold. */
export const DTYPES: readonly string[] = Object.keys(BITS);

/** Bits of one value of a dtype; undefined if the format does not have the dtype. */
export function dtypeBits(dtype: string): number | undefined {
  return Object.hasOwn(BITS, dtype) ? BITS[dtype] : undefined;
}

/** Whether the values of a dtype can be read. */
export function isReadable(dtype: string): dtype is Dtype {
  return Object.hasOwn(ARRAYS, dtype);
}

/** Converts floating-point values to float32; throws CheckpointError for other dtypes. */
export function toFloat32(
  tensor: { readonly dtype: string; readonly data: TensorData },
  where: string,
): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  if (data instanceof Float64Array) return Float32Array.from(data);
  if (data instanceof Uint16Array && dtype === 'BF16') {
    // bfloat16 is the upper half of a float32.
    return new Float32Array(Uint32Array.from(data, (bits) => bits << 16).buffer);
  }
  if (data instanceof Uint16Array && dtype === 'F16') return Float32Array.from(data, float16Value);
  throw new CheckpointError(where, 'must hold floating-point values (F32, F64, F16 or BF16)', dtype);
}

function float16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

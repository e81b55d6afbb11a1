/**
 * The dtypes of safetensors and the typed arrays that hold their values. Knows no file.
 */
import { CheckpointError } from '../errors.js';

/** Typed arrays that hold tensors: float16 and bfloat16 as their 16 bits, booleans as bytes 0 and 1. */
export type TensorData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

/** The typed array of each dtype. */
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

/** Bytes of one value of a dtype, or undefined for a dtype that cannot be read. */
export function dtypeBytes(dtype: string): number | undefined {
  return Object.hasOwn(ARRAYS, dtype) ? ARRAYS[dtype as Dtype].BYTES_PER_ELEMENT : undefined;
}

/** Converts floating-point values to float32; throws CheckpointError for other dtypes. */
export function toFloat32(
  tensor: { readonly dtype: Dtype; readonly data: TensorData },
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

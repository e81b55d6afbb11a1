/**
 * The weights of an ONNX file: as float32, as float16, or as int8 with a scale for each channel.
 */
import type { LazyTensor } from './lazy-tensors.js';
import { ONNX_TYPES, type OnnxInitializer, type OnnxNode } from './onnx.js';

export const WEIGHT_TYPES = ['float32', 'float16', 'int8'] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];

/** A tensor in a file: its constants, and the nodes that make the float32 values `value` of them. */
export interface StoredWeights {
  readonly value: string;
  readonly initializers: readonly OnnxInitializer[];
  readonly nodes: readonly OnnxNode[];
}

/** `axis` is the dimension along which int8 has a scale for each index; null for a tensor that int8 does not change. */
export function storedWeights(tensor: LazyTensor, type: WeightType, axis: number | null): StoredWeights {
  const { name, shape } = tensor;
  const value = `${name}.float32`;
  const initializer = (
    own: string,
    kind: OnnxInitializer['type'],
    dims: readonly number[],
    read: () => Promise<Uint8Array>,
  ) => ({ name: own, type: kind, shape: dims, read });
  if (type === 'float16') {
    const read = async () => bytesOf(float16(await tensor.read()));
    return {
      value,
      initializers: [initializer(name, 'float16', shape, read)],
      nodes: [{ op: 'Cast', inputs: [name], outputs: [value], attributes: { to: ONNX_TYPES.float32 } }],
    };
  }
  if (type === 'int8' && axis !== null) {
    const scale = `${name}.scale`;
    return {
      value,
      initializers: [
        initializer(name, 'int8', shape, async () => bytesOf(quantise(await tensor.read(), shape, axis).q)),
        initializer(scale, 'float32', [shape[axis]], async () =>
          bytesOf(quantise(await tensor.read(), shape, axis).scales),
        ),
      ],
      nodes: [{ op: 'DequantizeLinear', inputs: [name, scale], outputs: [value], attributes: { axis } }],
    };
  }
  const read = async () => bytesOf(await tensor.read());
  return { value: name, initializers: [initializer(name, 'float32', shape, read)], nodes: [] };
}

/** Symmetric int8: q = round(x / s), s = max |x| / 127 over all elements with the same index along `axis`. */
export function quantise(
  values: Float32Array,
  shape: readonly number[],
  axis: number,
): { q: Int8Array; scales: Float32Array } {
  const inner = shape.slice(axis + 1).reduce((product, n) => product * n, 1);
  const scales = new Float32Array(shape[axis]);
  const q = new Int8Array(values.length);
  for (let i = 0, c = 0; i < values.length; c = (c + 1) % shape[axis]) {
    for (const end = i + inner; i < end; i++) scales[c] = Math.max(scales[c], Math.abs(values[i]));
  }
  for (let c = 0; c < scales.length; c++) scales[c] = scales[c] / 127 || 1;
  for (let i = 0, c = 0; i < values.length; c = (c + 1) % shape[axis]) {
    for (const end = i + inner; i < end; i++) {
      q[i] = Math.max(-127, Math.min(127, Math.round(values[i] / scales[c])));
    }
  }
  return { q, scales };
}

function float16(values: Float32Array): Uint16Array {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = float16Bits(values[i]);
  return bits;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** The float16 nearest to x, ties to even, as its 16 bits. */
export function float16Bits(x: number): number {
  float[0] = x;
  const sign = (word[0] >>> 16) & 0x8000;
  const magnitude = word[0] & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(float[0]) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0));
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

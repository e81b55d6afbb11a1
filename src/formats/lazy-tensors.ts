/**
 * Tensors whose values are read only when they are needed, and a safetensors file written from them, so that a model
 * can be converted with one tensor in memory at a time. This file must not import files or models.
 */
import { CheckpointError } from '../errors.js';
import { safetensorsHeader } from './safetensors.js';

/** A float32 tensor that can be read. */
export interface LazyTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Reads its values, row-major. Throws CheckpointError if they cannot be read. */
  read(): Promise<Float32Array>;
}

/** A tensor under another name. */
export function renamed(tensor: LazyTensor, name: string): LazyTensor {
  return { name, shape: tensor.shape, read: () => tensor.read() };
}

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A safetensors file with the tensors in this order. Throws CheckpointError if a tensor does not fit its shape. */
export async function* lazySafetensors(
  tensors: readonly LazyTensor[],
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  yield safetensorsHeader(
    tensors.map(({ name, shape }) => ({ name, dtype: 'F32', shape })),
    metadata,
  );
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    const values = await tensor.read();
    if (values.length !== elementCount(shape)) {
      const rule = `must hold ${elementCount(shape)} values for shape (${shape.join(', ')})`;
      throw new CheckpointError(`tensor ${name}`, rule, values.length);
    }
    yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
}

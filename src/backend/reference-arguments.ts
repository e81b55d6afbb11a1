/** How the reference backend distrusts its arguments: lengths, element types and ranges of ids. */
import { ShapeError } from '../errors.js';
import type { Storage } from './backend.js';
import { HostStorage } from './host.js';

export type Floats = Float32Array | Float64Array;

export function host(storage: Storage): HostStorage {
  if (!(storage instanceof HostStorage)) {
    throw new ShapeError('storage', 'must come from this backend', typeof storage);
  }
  return storage;
}

export function expectLength(where: string, name: string, storage: Storage, length: number): void {
  if (storage.length !== length) {
    throw new ShapeError(where, `argument '${name}' must hold ${length} elements`, storage.length);
  }
}

export function floats(where: string, name: string, storage: Storage, length = storage.length): Floats {
  expectLength(where, name, storage, length);
  const { data, dtype } = host(storage);
  if (data instanceof Int32Array) {
    throw new ShapeError(where, `argument '${name}' must hold floating-point elements`, dtype);
  }
  return data;
}

export function integers(where: string, name: string, storage: Storage, length: number): Int32Array {
  expectLength(where, name, storage, length);
  const { data, dtype } = host(storage);
  if (!(data instanceof Int32Array))
    throw new ShapeError(where, `argument '${name}' must hold i32 elements`, dtype);
  return data;
}

/** Integers that must lie in [least, end). */
export function indices(
  where: string,
  name: string,
  storage: Storage,
  length: number,
  end: number,
  least = 0,
): Int32Array {
  const data = integers(where, name, storage, length);
  for (let i = 0; i < length; i++) {
    if (data[i] < least || data[i] >= end) {
      throw new ShapeError(where, `${name}[${i}] must lie in [${least}, ${end})`, data[i]);
    }
  }
  return data;
}

/** Row numbers below `end`, each once, in ascending order. */
export function ascending(where: string, name: string, storage: Storage, end: number): Int32Array {
  const data = indices(where, name, storage, storage.length, end);
  const wrong = data.findIndex((row, i) => i > 0 && row <= data[i - 1]);
  if (wrong > 0) throw new ShapeError(where, `argument '${name}' must ascend`, data[wrong]);
  return data;
}

export function gateValues(where: string, gate: Storage, C: number, G: number): Floats {
  if (G !== 1 && G !== C) throw new ShapeError(where, `G must be 1 or C = ${C}`, G);
  return floats(where, 'gate', gate, G);
}

/** Σ a[i + k]·b[j + k], in double precision. */
export function dot(a: Floats, i: number, b: Floats, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += a[i + k] * b[j + k];
  return sum;
}

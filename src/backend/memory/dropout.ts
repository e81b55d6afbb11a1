/** Which elements dropout keeps: the one definition for every engine (native/vec.h has its twin). */
import { mix32 } from '../../random.js';

/** The two words that a sample's elements are hashed with. */
export function sampleKey(key: readonly [number, number], sample: number): [number, number] {
  const k0 = mix32((key[0] + Math.imul(sample, 0x9e3779b9)) >>> 0);
  return [k0, mix32((key[1] ^ k0) >>> 0)];
}

/** Smallest hash that keeps an element: keep ⇔ hash ≥ ⌊p·2³²⌋. */
export function dropoutThreshold(p: number): number {
  return Math.floor(p * 2 ** 32) >>> 0;
}

/** Whether dropout keeps an element of a sample; `k` comes from `sampleKey`. */
export function dropoutKeep(k: readonly [number, number], element: number, threshold: number): boolean {
  return mix32((mix32((element + k[0]) >>> 0) ^ k[1]) >>> 0) >= threshold;
}

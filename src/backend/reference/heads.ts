/** Norm and rotation of query and key heads in the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { Floats, HostKernels } from '../memory/arguments.js';
import { dot } from './dot.js';

export const heads = {
  headsForward({ qkv, rstd, positions, rotation, R, NH, KV, HS, eps }) {
    const QK = NH + KV;
    for (let i = 0; i < R * QK; i++) {
      const r = Math.floor(i / QK);
      const head = headAt(qkv, r, i % QK, QK + KV, HS);
      if (rstd) {
        const s = 1 / Math.sqrt(dot(head, 0, head, 0, HS) / HS + eps);
        rstd[i] = s;
        for (let c = 0; c < HS; c++) head[c] *= s;
      }
      if (rotation) rotate(head, rotation, positions[r], 1);
    }
  },

  /**
   * In the forward pass this was out = rotation of x̂ = x·rstd. Rotation preserves products: Σ dout ⊙ out = Σ dx̂ ⊙ x̂.
   */
  headsBackward({ dqkv, qkv, rstd, positions, rotation, R, NH, KV, HS }) {
    const QK = NH + KV;
    for (let i = 0; i < R * QK; i++) {
      const r = Math.floor(i / QK);
      const d = headAt(dqkv, r, i % QK, QK + KV, HS);
      if (rstd) {
        const out = headAt(qkv, r, i % QK, QK + KV, HS);
        const average = dot(d, 0, out, 0, HS) / HS;
        for (let c = 0; c < HS; c++) d[c] = rstd[i] * (d[c] - out[c] * average);
      }
      if (rotation) rotate(d, rotation, positions[r], -1);
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;

/** Head h of row r, a row having H of them. */
function headAt(rows: Floats, r: number, h: number, H: number, HS: number): Floats {
  return rows.subarray((r * H + h) * HS, (r * H + h + 1) * HS);
}

/** Turns the pairs of a head's two halves by the angles of a position, or by their opposites. */
function rotate(head: Floats, rotation: Floats, position: number, direction: 1 | -1): void {
  const half = Math.floor(head.length / 2);
  const at = position * head.length;
  for (let c = 0; c < half; c++) {
    const [a, b] = [head[c], head[half + c]];
    const [cos, sin] = [rotation[at + c], direction * rotation[at + half + c]];
    head[c] = a * cos - b * sin;
    head[half + c] = b * cos + a * sin;
  }
}

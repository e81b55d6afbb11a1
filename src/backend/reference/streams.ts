/** Hyper-connections' streams (arXiv 2409.19606) of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';

export const streams = {
  readStreamsForward({ out, streams, coefficients, R, C, M }) {
    const P = M + 2;
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++) {
        let sum = 0;
        for (let i = 0; i < M; i++) sum += coefficients[(r * M + i) * P + M] * streams[(r * M + i) * C + c];
        out[r * C + c] = sum;
      }
    }
  },

  // In the forward pass this was out = Σ_i read_i·s_i.
  readStreamsBackward({ dstreams, dcoefficients, dout, streams, coefficients, R, C, M, accumulate }) {
    const P = M + 2;
    for (let s = 0; s < R * M; s++) {
      const read = s * P + M;
      let sum = 0;
      for (let c = 0; c < C; c++) {
        const d = dout[Math.floor(s / M) * C + c];
        dstreams[s * C + c] = (accumulate ? dstreams[s * C + c] : 0) + coefficients[read] * d;
        if (streams) sum += d * streams[s * C + c];
      }
      if (dcoefficients) dcoefficients[read] += sum;
    }
  },

  writeStreamsForward({ out, streams, y, coefficients, R, C, M }) {
    for (let r = 0; r < R; r++) {
      const { mix, read, write } = coefficientsOf(coefficients, r, M);
      for (let c = 0; c < C; c++) {
        let was = 0;
        for (let j = 0; j < M; j++) was += read(j) * streams[(r * M + j) * C + c];
        for (let i = 0; i < M; i++) {
          let sum = write(i) * (y[r * C + c] - was);
          for (let j = 0; j < M; j++) sum += mix(i, j) * streams[(r * M + j) * C + c];
          out[(r * M + i) * C + c] = sum;
        }
      }
    }
  },

  // In the forward pass this was out_i = Σ_j mix_ij·s_j + write_i·(y − Σ_j read_j·s_j).
  writeStreamsBackward({
    dstreams,
    dy,
    dcoefficients,
    dout,
    streams,
    y,
    coefficients,
    R,
    C,
    M,
    accumulateStreams,
    accumulateY,
  }) {
    const P = M + 2;
    for (let r = 0; r < R; r++) {
      const { mix, read, write } = coefficientsOf(coefficients, r, M);
      const [first, own] = [r * M * C, r * M * P];
      for (let c = 0; c < C; c++) {
        let [was, change] = [0, 0]; // the loop's input, and the gradient with respect to the written change
        for (let i = 0; i < M; i++) {
          was += read(i) * streams[first + i * C + c];
          change += write(i) * dout[first + i * C + c];
        }
        dy[r * C + c] = (accumulateY ? dy[r * C + c] : 0) + change;
        for (let j = 0; j < M; j++) {
          const s = first + j * C + c;
          let sum = -read(j) * change;
          for (let i = 0; i < M; i++) {
            sum += mix(i, j) * dout[first + i * C + c];
            dcoefficients[own + i * P + j] += dout[first + i * C + c] * streams[s];
          }
          dstreams[s] = (accumulateStreams ? dstreams[s] : 0) + sum;
          dcoefficients[own + j * P + M] -= change * streams[s];
          dcoefficients[own + j * P + M + 1] += dout[s] * (y[r * C + c] - was);
        }
      }
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;

/** The coefficients of row r. */
function coefficientsOf(all: Float32Array | Float64Array, r: number, M: number) {
  const of = (i: number, k: number) => all[(r * M + i) * (M + 2) + k];
  return {
    mix: (i: number, j: number) => of(i, j),
    read: (i: number) => of(i, M),
    write: (i: number) => of(i, M + 1),
  };
}

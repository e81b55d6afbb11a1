/** Token and position embeddings of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';

export const embedding = {
  embeddingForward({ out, tokens, positions, wte, wpe, R, C }) {
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++) {
        out[r * C + c] = wte[tokens[r] * C + c] + (wpe ? wpe[positions[r] * C + c] : 0);
      }
    }
  },

  // In the forward pass this was out[r] = wte[tokens[r]] + wpe[positions[r]], or wte[tokens[r]] alone.
  embeddingBackward({ dwte, dwpe, dout, tokens, positions, R, C }) {
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++) {
        dwte[tokens[r] * C + c] += dout[r * C + c];
        if (dwpe) dwpe[positions[r] * C + c] += dout[r * C + c];
      }
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;

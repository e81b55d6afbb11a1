/**
 * AdamW over the flat parameters (Loshchilov & Hutter 2019, arXiv 1711.05101), with nanoGPT's groups: matrices and
 * embeddings are decayed, biases and norms are not, gates as the configuration says.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters, RoleRange } from '../nn/parameters.js';
import type { Role } from '../tensor/tensor.js';
import type { TrainConfig } from './config.js';

export class AdamW {
  /** First and second moments, laid out as the parameters are. */
  readonly m: Storage;
  readonly v: Storage;

  constructor(
    private readonly parameters: Parameters,
    private readonly config: TrainConfig,
  ) {
    const { backend } = parameters.runtime;
    this.m = backend.allocate(backend.dtype, parameters.storage.length);
    this.v = backend.allocate(backend.dtype, parameters.storage.length);
  }

  /**
   * Updates every parameter, unless `nonFinite (1)` says that something is not finite, or the gradient is not; `step` counts
   * updates from 1. `squares (1)` receives the sum of squares of the whole gradient.
   */
  update(step: number, lr: number, squares: Storage, nonFinite: Storage): void {
    const { storage, gradient, runtime, ranges } = this.parameters;
    const { beta1, beta2, eps, weightDecay, gradClip } = this.config;
    if (!gradient) throw new Error('AdamW.update: the model was allocated without gradients');
    runtime.backend.sumSquares({ out: squares, nonFinite, inp: gradient });
    for (const { decayed, offset, length } of this.runs(ranges)) {
      const part = (whole: Storage) => runtime.backend.slice(whole, offset, length);
      runtime.backend.adamw({
        param: part(storage),
        m: part(this.m),
        v: part(this.v),
        grad: part(gradient),
        squares,
        nonFinite,
        lr,
        beta1,
        beta2,
        eps,
        weightDecay: decayed ? weightDecay : 0,
        step,
        gradClip,
      });
    }
  }

  dispose(): void {
    const { backend } = this.parameters.runtime;
    backend.free(this.m);
    backend.free(this.v);
  }

  /** The ranges of roles, neighbours that are treated alike being one run. */
  private runs(ranges: readonly RoleRange[]): { decayed: boolean; offset: number; length: number }[] {
    const runs: { decayed: boolean; offset: number; length: number }[] = [];
    for (const { role, offset, length } of ranges) {
      const decayed = this.decays(role);
      const last = runs.at(-1);
      if (last?.decayed === decayed) last.length += length;
      else runs.push({ decayed, offset, length });
    }
    return runs;
  }

  private decays(role: Role): boolean {
    return (
      role === 'matrix' ||
      role === 'embedding' ||
      role === 'position' ||
      (role === 'gate' && this.config.decayGates)
    );
  }
}

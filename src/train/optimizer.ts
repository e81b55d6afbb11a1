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

  /** Updates every parameter; `step` counts updates from 1. */
  update(step: number, lr: number, gradScale: number): void {
    const { storage, gradient, runtime, ranges } = this.parameters;
    const { beta1, beta2, eps, weightDecay } = this.config;
    if (!gradient) throw new Error('AdamW.update: the model was allocated without gradients');
    for (const { decayed, offset, length } of this.runs(ranges)) {
      const part = (whole: Storage) => runtime.backend.slice(whole, offset, length);
      runtime.backend.adamw(part(storage), part(gradient), part(this.m), part(this.v), {
        lr,
        beta1,
        beta2,
        eps,
        weightDecay: decayed ? weightDecay : 0,
        step,
        gradScale,
      });
    }
  }

  /** Norm of the whole gradient, over all parameters. */
  async gradientNorm(): Promise<number> {
    const { gradient, runtime } = this.parameters;
    if (!gradient) throw new Error('AdamW.gradientNorm: the model was allocated without gradients');
    using sum = runtime.empty([1]);
    runtime.backend.sumSquares(sum.storage, gradient);
    return Math.sqrt((await sum.read())[0]);
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

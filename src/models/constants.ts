/** Values that a model computes once from its configuration, and keeps on its backend beside the parameters. */
import { rotations } from '../nn/rotary.js';
import { type Runtime, Tensor } from '../tensor/tensor.js';
import { headsOf, type ModelConfig } from './config.js';
import type { ModelConstants } from './context.js';
import { initialStates } from './depth/loop/initial-state.js';

/** Constants with their own memory. */
export class Constants implements ModelConstants, Disposable {
  readonly rotation: Tensor | null;
  readonly initialStates: Tensor | null;

  constructor(
    config: ModelConfig,
    private readonly runtime: Runtime,
  ) {
    const { blockSize: P, nEmbd: C, positions, ropeTheta, initialState } = config;
    const { HS } = headsOf(config);
    this.rotation = positions === 'rotary' ? this.keep(rotations(P, HS, ropeTheta), P, HS) : null;
    this.initialStates = initialState === 'random' ? this.keep(initialStates(config), P, C) : null;
  }

  private keep(values: Float64Array, rows: number, columns: number): Tensor {
    const { backend } = this.runtime;
    const storage = backend.allocate(backend.dtype, values.length);
    backend.write(storage, values);
    return Tensor.over(this.runtime, [rows, columns], storage);
  }

  [Symbol.dispose](): void {
    for (const tensor of [this.rotation, this.initialStates]) {
      if (tensor) this.runtime.backend.free(tensor.storage);
    }
  }
}

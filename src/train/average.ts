/**
 * The exponential moving average of a training's weights, average ← decay·average + (1 − decay)·weights after each
 * update: The average is evaluated, sampled and published, while training continues from the weights themselves. It
 * starts as the initial weights of the training.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';

export class WeightAverage {
  /** In the layout of the parameters. */
  readonly storage: Storage;

  constructor(
    private readonly parameters: Parameters,
    private readonly decay: number,
  ) {
    const { runtime, storage } = parameters;
    this.storage = runtime.backend.allocate(runtime.backend.dtype, storage.length);
  }

  /** Sets it to the weights. */
  begin(): void {
    this.parameters.runtime.backend.copy(this.storage, this.parameters.storage);
  }

  /** After an update; does nothing if `nonFinite (1)` is set. */
  update(nonFinite: Storage): void {
    const { runtime, storage: param } = this.parameters;
    runtime.backend.averageWeights({ average: this.storage, param, nonFinite, decay: this.decay });
  }

  /**
   * Runs `body` while the model has the average. Meanwhile the weights are in the gradient's memory, which nothing
   * reads between updates.
   */
  async during<Result>(body: () => Promise<Result>): Promise<Result> {
    const { runtime, storage, gradient } = this.parameters;
    if (!gradient) throw new Error('WeightAverage.during: the model was allocated without gradients');
    runtime.backend.copy(gradient, storage);
    this.publish();
    try {
      return await body();
    } finally {
      runtime.backend.copy(storage, gradient);
    }
  }

  /** Leaves the average in the model, for good. */
  publish(): void {
    this.parameters.runtime.backend.copy(this.parameters.storage, this.storage);
  }

  dispose(): void {
    this.parameters.runtime.backend.free(this.storage);
  }
}

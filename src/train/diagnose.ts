/** Finds the first tensor that went wrong when a loss or gradient is no longer finite. Knows no recovery. */
import type { Storage } from '../backend/backend.js';
import type { GPT } from '../models/gpt.js';
import type { TrainPass } from '../models/exits/pass.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Batch } from './batches.js';

/**
 * Names the first parameter that is not finite; failing that, the first output in a repeated forward pass of `batch`; failing
 * that, the gradient nearest to the loss. Null when all are finite.
 */
export async function firstNonFinite(
  model: GPT,
  batch: Batch,
  { objective: _, ...pass }: TrainPass,
): Promise<string | null> {
  const { runtime, parameters } = model;
  const { backend } = runtime;
  for (const parameter of parameters.all) {
    if (!(await allFinite(parameter.storage))) return `parameter ${parameter.name}`;
  }
  const sums: { where: string; sum: Tensor }[] = [];
  runtime.observe = (where, x) => {
    const sum = runtime.empty([1]);
    backend.sumSquares(sum.storage, x.storage);
    sums.push({ where, sum });
  };
  try {
    using _output = model.loss(batch.tokens, batch.targets, batch.B, 1, pass);
  } finally {
    runtime.observe = null;
  }
  let first: string | null = null;
  for (const { where, sum } of sums) {
    if (first === null && !Number.isFinite((await sum.read())[0])) first = `output of ${where}`;
    sum.dispose();
  }
  if (first !== null) return first;
  for (const parameter of [...parameters.all].reverse()) {
    const { gradient, name } = parameter;
    if (gradient && !(await allFinite(gradient))) return `gradient of ${name}`;
  }
  return null;

  async function allFinite(storage: Storage): Promise<boolean> {
    return (await backend.read(storage)).every(Number.isFinite);
  }
}

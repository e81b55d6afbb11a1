/** Finds the first tensor that is not finite when a loss or gradient is not finite. It does not recover. */
import type { Storage } from '../backend/backend.js';
import type { GPT } from '../models/gpt.js';
import type { TrainPass } from '../models/exits/pass.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Batch } from '../evaluate/batches.js';

/**
 * Names the first parameter that is not finite; failing that, the first output in a repeated forward pass of `batch`;
 * failing that, the gradient nearest to the loss. Null when all are finite.
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
  const flags: { where: string; flag: Tensor }[] = [];
  runtime.observe = (where, x) => {
    using sum = runtime.empty([1]);
    const flag = runtime.from(new Float64Array(1), [1]);
    backend.sumSquares({ out: sum.storage, nonFinite: flag.storage, inp: x.storage });
    flags.push({ where, flag });
  };
  try {
    using _output = model.loss(batch.tokens, batch.targets, batch.B, 1, pass);
  } finally {
    runtime.observe = null;
  }
  let first: string | null = null;
  for (const { where, flag } of flags) {
    if (first === null && (await flag.read())[0] !== 0) first = `output of ${where}`;
    flag.dispose();
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

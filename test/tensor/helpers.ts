/** Shared by the gradient tests: a double-precision runtime, random values, and finite differences. */
import assert from 'node:assert/strict';
import { onEngine } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { normal } from '../../src/random.js';
import { Tape } from '../../src/tensor/tape.js';
import { Parameter, type Role, Runtime, size, type Tensor } from '../../src/tensor/tensor.js';

export function doubleRuntime(): Runtime {
  return new Runtime(onEngine(new ReferenceBackend('f64')));
}

/** A parameter with normal values. */
export function randomParameter(
  runtime: Runtime,
  name: string,
  shape: number[],
  role: Role = 'matrix',
): Parameter {
  const { backend } = runtime;
  const storage = backend.allocate('f64', size(shape));
  backend.write(storage, normal(7, name, size(shape), 0.5));
  return new Parameter(runtime, name, role, shape, storage, backend.allocate('f64', size(shape)));
}

export function randomTensor(runtime: Runtime, name: string, shape: number[]): Tensor {
  return runtime.from(normal(11, name, size(shape), 1), shape);
}

/** The values as doubles. */
export async function read(x: Tensor): Promise<Float64Array> {
  return Float64Array.from(await x.read());
}

/**
 * Checks the gradients of Σ seed ⊙ op() by every element of the given tensors against central differences, and that no
 * buffer is left over.
 */
export async function checkGradients(
  runtime: Runtime,
  inputs: Record<string, Tensor>,
  op: () => Tensor,
  tolerance = 1e-7,
): Promise<void> {
  const { backend, pool } = runtime;
  const before = pool.live;
  const value = async () => {
    using out = op();
    const seed = normal(13, 'seed', out.size, 1);
    return (await read(out)).reduce((sum, y, i) => sum + y * seed[i], 0);
  };

  for (const input of Object.values(inputs)) {
    if (input instanceof Parameter) backend.fill(input.gradient!, 0);
  }
  const tape = new Tape(runtime);
  {
    using out = runtime.recording(tape, op);
    using seed = runtime.from(normal(13, 'seed', out.size, 1), out.shape);
    tape.pass(out, seed.buffer);
  }
  tape.backward();

  for (const [name, input] of Object.entries(inputs)) {
    const gradient = input instanceof Parameter ? input.gradient! : input.grad!.storage;
    const analytic = await backend.read(gradient);
    const values = await read(input);
    const h = 1e-5;
    for (let i = 0; i < values.length; i++) {
      const at = async (x: number) => {
        const moved = values.slice();
        moved[i] = x;
        backend.write(input.storage, moved);
        return value();
      };
      const numeric = ((await at(values[i] + h)) - (await at(values[i] - h))) / (2 * h);
      backend.write(input.storage, values);
      assert.ok(
        Math.abs(analytic[i] - numeric) <= tolerance * Math.max(1, Math.abs(numeric)),
        `${name}[${i}]: gradient ${analytic[i]}, finite difference ${numeric}`,
      );
    }
    if (!(input instanceof Parameter)) {
      input.grad!.release();
      input.grad = null;
    }
  }
  assert.equal(pool.live, before, 'buffers left over');
}

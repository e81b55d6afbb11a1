/** Whole models' gradients against finite differences in double precision, and what they must have in common. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/nn/random.js';
import { Tape } from '../../src/tensor/tape.js';
import { doubleRuntime, read } from '../tensor/helpers.js';

const tiny = { vocabSize: 11, blockSize: 5, nLayer: 2, nHead: 2, nEmbd: 6 };
const tokens = Int32Array.of(1, 5, 3, 3, 0, 10, 2, 7, 9, 4);
const targets = Int32Array.of(5, 3, 3, 0, -1, 2, 7, 9, 4, 6);

const variants = {
  gpt2: {},
  'untied, no bias': { tiedHead: false, bias: false },
  'outer loops': { depth: 'loop', nLoop: 3, loopForm: 'output' },
  'outer loops, correction': { depth: 'loop', nLoop: 3, loopForm: 'correction', gateInit: 0.5 },
  'inner loops': { depth: 'loop', nInnerLoop: 2, loopForm: 'output', gateInit: '1/n' },
  'both, scalar gates': {
    depth: 'loop',
    nLoop: 2,
    nInnerLoop: 2,
    loopForm: 'output',
    gate: 'scalar',
    gateInit: 0.7,
  },
  'both, dropout': { depth: 'loop', nLoop: 2, nInnerLoop: 2, dropout: 0.2 },
};

for (const [name, variant] of Object.entries(variants)) {
  for (const checkpointed of [false, true]) {
    test(`${name}${checkpointed ? ', checkpointed' : ''}: gradients against finite differences`, async () => {
      const runtime = doubleRuntime();
      const { backend } = runtime;
      const model = new GPT(parseModelConfig({ ...tiny, ...variant }), runtime, { train: true });
      for (const p of model.parameters.all) backend.write(p.storage, perturbed(p.name, await read(p)));
      const options = { dropout: { seed: 1, step: 2, microStep: 3 }, checkpoint: () => checkpointed };
      const total = async () => {
        using losses = model.loss(tokens, targets, 2, 1, options);
        return (await read(losses)).reduce((sum, x) => sum + x, 0) / 9;
      };

      const tape = new Tape(runtime);
      runtime.recording(tape, () => model.loss(tokens, targets, 2, 1, options)).dispose();
      tape.backward();
      assert.equal(runtime.pool.live, 0, 'buffers left over');

      for (const p of model.parameters.all) {
        const gradient = await backend.read(p.gradient!);
        const values = await read(p);
        const direction = normal(5, p.name, p.size, 1);
        const slope = direction.reduce((sum, d, i) => sum + d * gradient[i], 0);
        const h = 1e-5;
        const at = async (t: number) => {
          backend.write(
            p.storage,
            values.map((v, i) => v + t * direction[i]),
          );
          return total();
        };
        const numeric = ((await at(h)) - (await at(-h))) / (2 * h);
        backend.write(p.storage, values);
        assert.ok(
          Math.abs(slope - numeric) < 1e-7 * Math.max(1, Math.abs(numeric)),
          `${p.name}: ${slope} against ${numeric}`,
        );
      }
    });
  }
}

/** Values away from zeros and ones, so that every path carries a gradient. */
function perturbed(name: string, values: ArrayLike<number>): Float64Array {
  const noise = normal(3, name, values.length, 0.3);
  return noise.map((x, i) => x + values[i]);
}

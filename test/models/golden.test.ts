/** Whole models against golden values from an independent PyTorch program (`test/golden/make_golden.py`). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Backend } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { onEngine, webgpu } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { parseModelConfig } from '../../src/models/config.js';
import type { ScorePass, TrainPass } from '../../src/models/exits/pass.js';
import { parseFields } from '../../src/fields.js';
import { GPT } from '../../src/models/gpt.js';
import { Tape } from '../../src/tensor/tape.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { parseRunConfig, trainFields } from '../../src/train/config.js';
import { UpdateGradient } from '../../src/train/gradient.js';
import { createOptimizer } from '../../src/train/optimizer.js';
import { ALONE } from '../../src/train/peers.js';
import { microStepLoss } from '../../src/train/trainer.js';
import { UpdateSums } from '../../src/train/update-sums.js';
import { parseSafetensors, type SafeTensor, safetensorsMetadata } from '../formats/safetensors-bytes.js';

const FOLDER = new URL('../../../test/golden/', import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith('.safetensors'));
const backends: Backend[] = [onEngine(new ReferenceBackend()), onEngine(new NativeBackend('f32'))];

test('there are golden files for every system', () => {
  for (const name of [
    'gpt2',
    'loop-outer',
    'loop-inner',
    'loop-both',
    'loop-outer-correction',
    'loop-outer-scalar',
    'muon',
    'loop-layout',
    'loop-injection',
    'loop-truncated',
    'loop-stable',
    'loop-stable-exact',
    'loop-scalars',
    'loop-streams',
    'loop-streams-dynamic',
    'loop-first-keys',
    'loop-first-keys-mod',
    'loop-exits',
    'loop-act',
    'loop-confidence',
    'universal-post',
    'universal-pre',
    'universal-act',
    'adaptive-exits',
    'adaptive-mixed',
    'adaptive-mixed-separate',
    'adaptive-geometric',
    'adaptive-multinomial',
    'adaptive-sequence',
    'gpt2-gelu',
    'gpt2-relu',
    'gpt2-silu',
    'loop-quick-gelu',
    'gpt2-rotary',
    'gpt2-rotary-norm',
    'gpt2-grouped',
    'loop-heads',
    'gpt2-rmsnorm',
    'gpt2-relu2',
    'gpt2-swiglu',
    'loop-parts',
    'sharing-sequence',
    'sharing-cycle',
    'sharing-cycle-rev',
    'sharing-cycle-rev-even',
  ]) {
    assert.ok(files.includes(`${name}.safetensors`), name);
  }
});

for (const file of files) {
  for (const backend of backends) {
    test(`${file} on ${backend.name}: logits, loss, gradients and ten updates' losses`, async () => {
      const bytes = readFileSync(new URL(file, FOLDER));
      const golden = parseSafetensors(bytes, file);
      const config = parseModelConfig(JSON.parse(safetensorsMetadata(bytes, file).config));
      const runtime = new Runtime(backend);
      const model = new GPT(config, runtime, { train: true });
      const { all } = model.parameters;
      const names = [...golden.keys()]
        .filter((name) => name.startsWith('param.'))
        .map((name) => name.slice(6));
      assert.deepEqual(all.map((p) => p.name).sort(), names.sort(), 'parameter names');
      for (const p of all) {
        assert.deepEqual(p.shape, [...golden.get(`param.${p.name}`)!.shape], p.name);
        backend.write(p.storage, floats(golden, `param.${p.name}`));
      }

      const { tokens, targets, B } = batch(golden, 'tokens', 'targets');
      using logits = model.logits(tokens, B);
      closeTo(await logits.read(), floats(golden, 'logits'), 1e-5, 'logits');

      model.parameters.zeroGradients();
      const tape = new Tape(runtime);
      const options = trainOptions(bytes, file);
      using output = runtime.recording(tape, () => model.loss(tokens, targets, B, 1, options));
      tape.backward();
      const counted = targets.filter((t) => t >= 0).length;
      const loss = ((await output.losses.read()) as Float32Array).reduce((sum, x) => sum + x, 0) / counted;
      assert.ok(Math.abs(loss - floats(golden, 'loss')[0]) < 1e-6, `loss ${loss}`);
      if (golden.has('auxLoss')) {
        const values = Array.from(await output.auxLoss!.read());
        const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
        assert.ok(Math.abs(mean - floats(golden, 'auxLoss')[0]) < 1e-5, `auxLoss ${mean}`);
      }
      if (golden.has('steps')) {
        assert.deepEqual(await output.stepsPerRow!.read(), golden.get('steps')!.data, 'steps');
      }
      if (golden.has('eval.steps')) {
        using run = model.score(tokens, targets, B, scoreOptions(bytes, file));
        assert.deepEqual(await run.stepsPerRow!.read(), golden.get('eval.steps')!.data, 'eval.steps');
        closeTo(await run.losses.read(), floats(golden, 'eval.losses'), 1e-5, 'eval.losses');
      }
      for (const p of all)
        closeTo(await backend.read(p.gradient!), floats(golden, `grad.${p.name}`), 1e-5, p.name);

      const expected = floats(golden, 'losses');
      const norms = floats(golden, 'gradNorms');
      const adamw = { lr: 1e-3, weightDecay: 0.1, beta1: 0.9, beta2: 0.95, eps: 1e-8, gradClip: 1 };
      const train = { ...adamw, ...optimizerFields(bytes, file) };
      const gradient = new UpdateGradient(model.parameters, 1, ALONE);
      const optimizer = createOptimizer(model.parameters, parseRunConfig({ train }, 'test').train);
      const all10 = batches(golden);
      assert.equal(all10.length, 10);
      for (const [step, next] of all10.entries()) {
        model.parameters.zeroGradients();
        const { loss: found } = await microStepLoss(model, next, 1, options);
        assert.ok(
          Math.abs(found - expected[step]) < 1e-6,
          `loss ${step}: ${found} against ${expected[step]}`,
        );
        using sums = new UpdateSums(model.runtime, 1);
        await gradient.sumSquares(sums.squares, sums.nonFinite);
        optimizer.update(step + 1, 1e-3, sums.squares, sums.nonFinite);
        const { gradNorm: norm } = await sums.read();
        assert.ok(
          Math.abs(norm / norms[step] - 1) < 5e-6,
          `gradient norm ${step}: ${norm} against ${norms[step]}`,
        );
      }
      for (const p of all) {
        if (!golden.has(`trained.${p.name}`)) continue;
        closeTo(await p.read(), floats(golden, `trained.${p.name}`), 5e-6, `trained ${p.name}`);
      }
      model.dispose();
      gradient.dispose();
      optimizer.dispose();
    });
  }
}

/** How a file's model is trained and run, as its metadata say; drawn exits have the key (0, 0, 0). */
function trainOptions(bytes: Uint8Array, file: string): TrainPass {
  const {
    exitThreshold: _,
    loops,
    backpropLoops,
    ...fields
  } = JSON.parse(safetensorsMetadata(bytes, file).train ?? '{}');
  const { exitLoss, ponderCost, oracle, oracleLambda, oracleSigma } = parseFields(trainFields, fields, file);
  return {
    dropout: { seed: 0, step: 0, microStep: 0 },
    objective: { exitLoss, ponderCost, oracle, oracleLambda, oracleSigma },
    ...(loops === undefined ? {} : { loops }),
    ...(backpropLoops === undefined ? {} : { backpropLoops }),
  };
}

/** What a file's training says of its optimizer; AdamW by default. */
function optimizerFields(bytes: Uint8Array, file: string): Record<string, unknown> {
  const { optimizer, ...fields } = JSON.parse(safetensorsMetadata(bytes, file).train ?? '{}');
  return optimizer === undefined ? {} : { optimizer, ...fields };
}

/** How it is run afterwards. */
function scoreOptions(bytes: Uint8Array, file: string): ScorePass {
  const { exitThreshold: threshold, loops } = JSON.parse(safetensorsMetadata(bytes, file).train ?? '{}');
  return {
    ...(threshold === undefined ? {} : { exit: { threshold } }),
    ...(loops === undefined ? {} : { loops }),
  };
}

/** Relative errors of PyTorch's bf16 autocast on the same gradients (`make_autocast.py`). */
const autocast = JSON.parse(readFileSync(new URL('autocast.json', FOLDER), 'utf8')).gradientError as Record<
  string,
  number
>;

const noBf16 = webgpu ? 'GPUs have no bf16' : false;
for (const file of files.filter((name) => name.replace('.safetensors', '') in autocast)) {
  test(`${file} in bf16: gradients no further from the exact ones than 1.2 times PyTorch's autocast`, {
    skip: noBf16,
  }, async () => {
    const bytes = readFileSync(new URL(file, FOLDER));
    const golden = parseSafetensors(bytes, file);
    const runtime = new Runtime(onEngine(new NativeBackend('bf16')));
    const config = parseModelConfig(JSON.parse(safetensorsMetadata(bytes, file).config));
    const model = new GPT(config, runtime, { train: true });
    const { all } = model.parameters;
    for (const p of all) runtime.backend.write(p.storage, floats(golden, `param.${p.name}`));
    await microStepLoss(model, batch(golden, 'tokens', 'targets'), 1, trainOptions(bytes, file));
    let difference = 0;
    let norm = 0;
    for (const p of all) {
      const found = await runtime.backend.read(p.gradient!);
      floats(golden, `grad.${p.name}`).forEach((want, i) => {
        difference += (found[i] - want) ** 2;
        norm += want ** 2;
      });
    }
    const error = Math.sqrt(difference / norm);
    const theirs = autocast[file.replace('.safetensors', '')];
    assert.ok(error > 1e-5, `${error}: nothing was rounded`);
    assert.ok(error <= 1.2 * theirs, `${error}, PyTorch's is ${theirs}`);
    model.dispose();
  });
}

/** Norm of the difference relative to the norm of what is expected. */
function closeTo(found: ArrayLike<number>, expected: Float32Array, tolerance: number, what: string): void {
  assert.equal(found.length, expected.length, what);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (found[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  assert.ok(norm > 0, `${what}: expected values are all zero`);
  const error = Math.sqrt(difference / norm);
  assert.ok(error < tolerance, `${what}: relative error ${error}`);
}

function floats(golden: Map<string, SafeTensor>, name: string): Float32Array {
  const data = golden.get(name)?.data;
  assert.ok(data instanceof Float32Array, name);
  return data;
}

function ints(golden: Map<string, SafeTensor>, name: string): Int32Array {
  const data = golden.get(name)?.data;
  assert.ok(data instanceof Int32Array, name);
  return data;
}

function batch(golden: Map<string, SafeTensor>, tokens: string, targets: string) {
  const [B, T] = golden.get(tokens)!.shape.slice(-2);
  return { B, T, tokens: ints(golden, tokens), targets: ints(golden, targets) };
}

function batches(golden: Map<string, SafeTensor>) {
  const { B, T, tokens, targets } = batch(golden, 'train_tokens', 'train_targets');
  return Array.from({ length: tokens.length / (B * T) }, (_, i) => ({
    B,
    T,
    tokens: tokens.subarray(i * B * T, (i + 1) * B * T),
    targets: targets.subarray(i * B * T, (i + 1) * B * T),
  }));
}

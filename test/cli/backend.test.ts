/** `--backend` and `--precision f16`: the commands that take them, and what is refused in one line. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { writeRun } from '../data/helpers.js';
import { loopnn, refused, spawned, temporaryFolder } from './helpers.js';

const folder = temporaryFolder();
const run = join(folder, 'run');
before(() => writeRun(run));

/** Without any driver, so that there is no adapter, whatever the machine has. */
const NO_GPU = { VK_DRIVER_FILES: '/nowhere.json', LOOPNN_WEBGPU_FLAGS: 'backend=vulkan' };
const NO_ADAPTER =
  /^loopnn: webgpu: needs (a WebGPU adapter, got 'none'; it takes|the package 'webgpu', which)/m;

test('every command that computes takes --backend', async () => {
  for (const command of ['train', 'eval', 'generate', 'serve', 'inspect', 'exits', 'compare', 'bench']) {
    assert.match((await loopnn([command, '--help'])).stdout, /--backend <name>/, command);
  }
  const text = ['generate', '--model', run, '--prompt', 'a', '--tokens', '2'];
  const result = await loopnn([...text, '--backend', 'reference', '--json'], { LOOPNN_BACKEND: 'nonsense' });
  assert.equal(result.code, 0, result.stderr);
  const facts = ['inspect', '--model', run, '--prompt', 'ab', '--backend'];
  assert.equal((await loopnn([...facts, 'wasm', '--json'])).code, 0);
  await refused([...facts, 'cuda'], /--backend <name>' argument 'cuda' is invalid/, 2);
});

test('f16 is refused where a processor computes', async () => {
  const text = ['generate', '--model', run, '--prompt', 'a', '--precision', 'f16'];
  await refused(text, /^loopnn: precision: must be f32 or bf16 on a processor, got 'f16'; f16 is for GPUs/m);
});

test('no adapter is an error like any other, and doctor says so without failing', async () => {
  const { stderr, code } = await spawned(['generate', '--model', run, '--backend', 'webgpu'], NO_GPU);
  assert.equal(code, 1);
  assert.match(stderr, NO_ADAPTER);
  if (!stderr.includes('the package')) {
    const { stderr: wrong } = await spawned(['generate', '--model', run, '--backend', 'webgpu'], {
      LOOPNN_WEBGPU_FLAGS: 'fast',
    });
    assert.match(wrong, /^loopnn: LOOPNN_WEBGPU_FLAGS: must be options of Dawn, .*, got 'fast'$/m);
  }
  const doctor = await spawned(['doctor', '--json'], NO_GPU);
  assert.equal(doctor.code, 0);
  assert.match(JSON.parse(doctor.stdout).gpu.error, /^webgpu: needs /);
  assert.match((await spawned(['doctor'], NO_GPU)).stdout, /^GPU {15}none: webgpu: needs /m);
});

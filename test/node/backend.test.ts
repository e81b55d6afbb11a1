/** Which engine has which precision, and what becomes of a run that was trained in another. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hasPrecision } from '../../src/node/backend.js';
import { createBackend, loadModel } from '../../src/index.js';
import { writeRun } from '../data/helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('a precision that an engine lacks is refused, with the ones that it has', async () => {
  const cases = [
    ['auto', 'f16', "must be f32 or bf16 on a processor, got 'f16'; f16 is for GPUs, by the webgpu backend"],
    ['native', 'f16', "must be f32 or bf16 on the native backend, got 'f16'; f16 is for GPUs"],
    ['wasm', 'f16', "must be f32 or bf16 on the wasm backend, got 'f16'"],
    ['reference', 'bf16', "must be f32 on the reference backend, got 'bf16'"],
    ['webgpu', 'bf16', "must be f32 or f16 on the webgpu backend, got 'bf16'"],
  ] as const;
  for (const [name, precision, text] of cases) {
    assert.equal(hasPrecision(name, precision), false);
    await assert.rejects(createBackend({ name, precision }), (error: Error) => {
      assert.ok(error.name === 'ConfigError' && error.message.startsWith(`precision: ${text}`), `${error}`);
      return true;
    });
  }
  await assert.rejects(
    createBackend({ name: 'webgpu', weights: 'int8' }),
    /^ConfigError: weights: must be float/,
  );
  await assert.rejects(
    createBackend({ name: 'cuda' }),
    /must be auto, native, wasm, webgpu or reference, got 'cuda'/,
  );
});

test('a run that was trained in f16 is read in f32 by a processor, unless f16 is asked for', async () => {
  const run = join(folder, 'run');
  await writeRun(run);
  const file = join(run, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...config, train: { ...config.train, precision: 'f16' } }));
  for (const backend of ['auto', 'native', 'reference']) {
    const warnings: string[] = [];
    await using model = await loadModel(run, { backend, onWarning: (line) => warnings.push(line) });
    assert.equal(model.config.depth, 'loop');
    assert.match(warnings[0], /run was trained in f16, which is not to be had here: in f32$/);
    await assert.rejects(
      loadModel(run, { backend, precision: 'f16' }),
      /^ConfigError: precision: must be f32/,
    );
  }
});

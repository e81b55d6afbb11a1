/** Where the optional package `webgpu` is looked for, and what is said where it is not. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-webgpu-'));
after(() => rmSync(folder, { recursive: true }));

/** The module from a loopnn that has no packages beside it, as one that was installed for the whole machine. */
cpSync(fileURLToPath(new URL('../../src', import.meta.url)), join(folder, 'loopnn/src'), { recursive: true });
writeFileSync(join(folder, 'loopnn/package.json'), '{ "type": "module" }');
const url = pathToFileURL(join(folder, 'loopnn/src/node/webgpu.js')).href;
const { loadDawn } = (await import(url)) as typeof import('../../src/node/webgpu.js');

/** A project with a package `webgpu` of this code. */
function project(name: string, code: string): string {
  const packaged = join(folder, name, 'node_modules/webgpu');
  mkdirSync(packaged, { recursive: true });
  writeFileSync(join(packaged, 'package.json'), '{ "type": "module", "main": "index.js" }');
  writeFileSync(join(packaged, 'index.js'), code);
  return join(folder, name);
}

test('the package is taken from the project that one is in', async () => {
  const dawn = await loadDawn(project('mine', 'export const create = (flags) => flags;'));
  assert.deepEqual(dawn.create(['some=flag']), ['some=flag']);
});

test('a package that is not there is told with what to install', async () => {
  mkdirSync(join(folder, 'empty'));
  await assert.rejects(loadDawn(join(folder, 'empty')), {
    name: 'BackendError',
    message:
      /^webgpu: needs the package 'webgpu', which is not installed; npm install webgpu \(Dawn, 137 MB\)/,
  });
});

test('a package that does not load says why', async () => {
  const code =
    "throw Object.assign(new Error('glibc 2.34 is missing\\nhere'), { code: 'ERR_DLOPEN_FAILED' });";
  await assert.rejects(loadDawn(project('broken', code)), {
    name: 'BackendError',
    message: /^webgpu: must load the package 'webgpu', got 'glibc 2\.34 is missing'; it has Linux with glibc/,
  });
});

/**
 * Long: the package as a stranger meets it. Zig (from PyPI) compiles the addon for this system, npm packs, and an empty
 * project installs the tarball with no compiler in its path and no script allowed to run. Then the kernel tests run on
 * that addon.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemName } from '../../src/backend/native/find.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'loopnn-package-'));
after(() => rmSync(folder, { recursive: true }));
const name = systemName();
/** Of the test runner nothing, of a forced engine nothing. */
const environment = {
  ...process.env,
  NODE_TEST_CONTEXT: undefined,
  LOOPNN_NATIVE_PATH: undefined,
  LOOPNN_BACKEND: undefined,
};

test('an empty project installs the package and computes natively, without a compiler', () => {
  execFileSync(process.execPath, ['scripts/prebuilt.mjs', name], { cwd: ROOT, stdio: 'inherit' });
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: ROOT,
    encoding: 'utf8',
    env: environment,
  });
  const [{ filename, files }] = JSON.parse(packed) as { filename: string; files: { path: string }[] }[];
  const paths = files.map(({ path }) => path);
  assert.ok(paths.includes(`prebuilds/${name}/loopnn.node`));
  assert.ok(paths.every((path) => !/^(native\/(?!mpi\/)|scripts\/|test\/|dist\/(native|test)\/)/.test(path)));

  const bin = join(folder, 'bin');
  const project = join(folder, 'project');
  for (const path of [bin, project]) mkdirSync(path);
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  const shell = execFileSync('sh', ['-c', 'command -v sh'], { encoding: 'utf8' }).trim();
  symlinkSync(process.execPath, join(bin, 'node'));
  symlinkSync(realpathSync(shell), join(bin, 'sh'));
  const npm = (process.env.PATH ?? '')
    .split(delimiter)
    .map((path) => join(path, 'npm'))
    .find((path) => {
      try {
        return realpathSync(path);
      } catch {
        return false;
      }
    })!;
  const npmCli = realpathSync(npm);
  const run = (program: string, args: string[]) =>
    execFileSync(process.execPath, [program, ...args], {
      cwd: project,
      encoding: 'utf8',
      env: { ...environment, PATH: bin, XDG_CACHE_HOME: join(folder, 'cache') },
    });
  run(npmCli, [
    'install',
    join(folder, filename),
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--omit=optional',
  ]);
  const doctor = () =>
    JSON.parse(run(join(npmCli, '../npx-cli.js'), ['--no-install', 'loopnn', 'doctor', '--json']));
  const { native, backend, warnings } = doctor();
  assert.deepEqual([native.origin, native.refused], [`prebuilt for ${name}`, []]);
  assert.deepEqual([backend.name, warnings], ['native', []]);

  rmSync(join(project, 'node_modules/loopnn/prebuilds'), { recursive: true });
  const without = doctor();
  assert.notEqual(without.backend.name, 'native');
  assert.match(without.native.error, /there is none for /);
});

test('every addon in prebuilds/ is for its system and needs nothing that the oldest one lacks', () => {
  execFileSync(process.execPath, ['scripts/prebuilt.mjs', '--check'], { cwd: ROOT, stdio: 'inherit' });
});

test('the kernel tests pass on the prebuilt addon', () => {
  const tests = join(ROOT, 'dist/test/backend');
  const files = readdirSync(tests).filter((file) => file.endsWith('.test.js'));
  assert.ok(files.length >= 5);
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--test', '--test-reporter=spec', ...files.map((file) => join(tests, file))],
    {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...environment, LOOPNN_NATIVE_PATH: join(ROOT, 'prebuilds', name, 'loopnn.node') },
    },
  );
  assert.equal(status, 0, (stdout + stderr).slice(-5000));
  assert.match(stdout, /pass [1-9]\d+/);
});

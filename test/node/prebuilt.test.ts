/** Which addon is loaded, in a package that carries one for this system: it is tried in a process of its own first. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { showsMusl, systemName } from '../../src/backend/native/find.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'loopnn-prebuilt-'));
after(() => rmSync(folder, { recursive: true }));

// A package as npm installs it, but for the addon.
const home = join(folder, 'package');
cpSync(join(ROOT, 'dist/src'), join(home, 'dist/src'), {
  recursive: true,
  filter: (path) => !/\.(d\.ts|map)$/.test(path),
});
cpSync(join(ROOT, 'package.json'), join(home, 'package.json'));
symlinkSync(join(ROOT, 'node_modules'), join(home, 'node_modules'));
const cache = join(folder, 'cache');
const own = join(home, 'dist/native/loopnn.node');
const prebuilt = join(home, 'prebuilds', systemName(), 'loopnn.node');

/** Puts an addon where one is looked for: this checkout's, or other bytes. */
function put(path: string, bytes?: string): void {
  mkdirSync(dirname(path), { recursive: true });
  if (bytes === undefined) cpSync(join(ROOT, 'dist/native/loopnn.node'), path);
  else writeFileSync(path, bytes);
}

interface Doctor {
  native: { origin: string; refused: string[]; error?: string };
  backend: { name: string };
  warnings: string[];
}

async function doctor(): Promise<Doctor> {
  const env = { ...process.env, XDG_CACHE_HOME: cache, LOOPNN_NATIVE_PATH: '', LOOPNN_BACKEND: '' };
  const program = join(home, 'dist/src/cli/main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [program, 'doctor', '--json'], {
    env,
    timeout: 100_000,
  });
  return JSON.parse(stdout);
}

beforeEach(() => {
  for (const path of [own, prebuilt, cache]) rmSync(path, { recursive: true, force: true });
});

test('a prebuilt addon is tried once, and what has passed is remembered', async (t) => {
  put(prebuilt);
  const { native, backend, warnings } = await doctor();
  assert.deepEqual([native.origin, native.refused], [`prebuilt for ${systemName()}`, []]);
  assert.deepEqual([backend.name, warnings], ['native', []]);
  const marks = join(cache, 'loopnn/tried-addons');
  assert.equal(readdirSync(marks).length, 1);

  // Without the program that tries, only what has been tried loads.
  const program = join(home, 'dist/src/backend/native/try-addon.js');
  t.after(() => cpSync(join(ROOT, 'dist/src/backend/native/try-addon.js'), program));
  rmSync(program);
  assert.equal((await doctor()).backend.name, 'native');
  utimesSync(prebuilt, 1, 1);
  assert.match((await doctor()).native.error!, /prebuilt for /);
  assert.equal(readdirSync(marks).length, 1);
});

test('a prebuilt addon that crashes costs a warning, not the process', async () => {
  const source = join(folder, 'crash.cc');
  writeFileSync(source, '__attribute__((constructor)) static void crash() { __builtin_trap(); }');
  mkdirSync(dirname(prebuilt), { recursive: true });
  execFileSync(process.env.CXX ?? 'c++', ['-shared', '-fPIC', source, '-o', prebuilt]);
  const { native, backend, warnings } = await doctor();
  assert.match(
    native.error!,
    /^native addon: prebuilt for .*: crashed when it was tried \(SIG[A-Z]+\); a checkout /,
  );
  assert.notEqual(backend.name, 'native');
  assert.equal(warnings.length, 1);
});

test('a prebuilt addon that does not load is refused with the reason', async () => {
  put(prebuilt, 'not a library');
  const { native } = await doctor();
  assert.match(native.error!, /prebuilt for .*did not load \(.+\)/);
});

test('an own build comes first; where it does not load, the prebuilt one is taken and the reason told', async () => {
  put(prebuilt);
  put(own);
  assert.deepEqual((await doctor()).native.origin, 'own build');
  put(own, 'built on another machine');
  const { native, backend } = await doctor();
  assert.deepEqual([native.origin, backend.name], [`prebuilt for ${systemName()}`, 'native']);
  assert.equal(native.refused.length, 1);
  assert.match(native.refused[0], /^own build: must fit this machine .*did not load/);
});

test('a package without an addon for this system says so', async () => {
  const { native } = await doctor();
  const message = `must have been built, but there is none for ${systemName()}; a checkout builds one`;
  assert.ok(native.error!.includes(message), native.error);
});

test('musl is known by each name that distributions give its file', () => {
  const mapped = (path: string) =>
    `7ff000-7ff100 r-xp 0000 fe:00 42   /usr/bin/node\n7ff200-7ff300 r--p 0000 fe:00 7   ${path}\n`;
  for (const path of ['/lib/ld-musl-x86_64.so.1', '/usr/lib/x86_64-linux-musl/libc.so', '/usr/lib/libc.so'])
    assert.ok(showsMusl(mapped(path)), path);
  for (const path of ['/usr/lib/x86_64-linux-gnu/libc.so.6', '/lib64/libc-2.28.so', '/opt/libc.sound'])
    assert.ok(!showsMusl(mapped(path)), path);
});

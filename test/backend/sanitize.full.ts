/**
 * Long: the kernel tests on an addon built with AddressSanitizer and UndefinedBehaviorSanitizer, in which every
 * instruction set runs, emulated where the machine lacks it (native/emulated.h).
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Where the compiler keeps a sanitizer's library; null where it has none. */
function library(name: string): string | null {
  const compiler = process.env.CXX ?? 'c++';
  const path = execFileSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  return isAbsolute(path) ? path : null;
}

test('the kernel tests pass under AddressSanitizer and UndefinedBehaviorSanitizer', (t) => {
  const libraries = ['libasan.so', 'libubsan.so'].map(library);
  if (process.platform !== 'linux' || libraries.includes(null)) {
    t.skip('needs Linux and a compiler with libasan and libubsan');
    return;
  }
  const run = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } });
  const built = run(['scripts/build-native.mjs', '--sanitize', 'address,undefined']);
  assert.equal(built.status, 0, built.stderr);
  const folder = join(ROOT, 'dist/test/backend');
  const files = readdirSync(folder).filter((name) => name.endsWith('.test.js'));
  assert.ok(files.length >= 5);
  const sanitized = {
    LOOPNN_NATIVE_PATH: join(ROOT, 'dist/native-asan/loopnn.node'),
    LD_PRELOAD: libraries.join(' '),
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    NODE_TEST_CONTEXT: undefined,
  };
  if (process.arch === 'x64') {
    const { stdout } = run([join(ROOT, 'dist/src/cli/main.js'), 'doctor'], sanitized);
    assert.match(stdout, /amx, avx512bf16, avx512, avx2, portable/);
  }
  const tested = run(
    ['--test', '--test-reporter=spec', ...files.map((name) => join(folder, name))],
    sanitized,
  );
  const printed = tested.stdout + tested.stderr;
  assert.doesNotMatch(printed, /AddressSanitizer|runtime error:/);
  assert.equal(tested.status, 0, printed.slice(-5000));
  assert.match(printed, /pass [1-9]\d+/);
});

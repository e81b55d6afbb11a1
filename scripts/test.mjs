/**
 * Runs the compiled tests: those named *.test, or with --full the long ones, named *.full. With --again, if a test
 * failed in a few files only, these files run once more, one at a time: a file that then passes is reported as
 * unsteady, and does not fail the run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const ending = process.argv.includes('--full') ? '.full.js' : '.test.js';
const only = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const files = readdirSync(join(ROOT, 'dist/test'), { recursive: true })
  .map((name) => join('dist/test', String(name)))
  .filter((path) => path.endsWith(ending) && (only.length === 0 || only.some((word) => path.includes(word))))
  .sort();
if (files.length === 0) {
  console.error(`test: no compiled test ends in ${ending}${only.length > 0 ? ` and matches ${only}` : ''}`);
  process.exit(1);
}
/** With this many failed files, chance is no longer the likely cause. */
const MANY = 3;
// glibc returns freed pieces of at least this size to the system, and keeps smaller ones: tests of the resident memory
// then measure what is held, and not what once was.
const env = { ...process.env, MALLOC_MMAP_THRESHOLD_: String(1 << 16) };
// Node's own default leaves one processor free, which is half of a machine with two. Long tests measure memory and
// time, so they run one at a time.
const concurrency = ending === '.full.js' ? 1 : availableParallelism();
// If files run side by side, threads that wait for each other take processors from other files.
if (concurrency > 1) env.LOOPNN_NUM_THREADS ??= '1';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Runs files; returns the exit code, and the files in which a test failed. */
function run(files, concurrency) {
  const list = join(folder, 'failed');
  const reporters = [
    ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ...['--test-reporter=./scripts/failed-files.mjs', `--test-reporter-destination=${list}`],
  ];
  const options = ['--test', `--test-concurrency=${concurrency}`, ...reporters];
  const { status } = spawnSync(process.execPath, [...options, ...files], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
  });
  const failed = status === 0 ? [] : readFileSync(list, 'utf8').split('\n').filter(Boolean);
  return { status: status ?? 1, failed };
}

const first = run(files, concurrency);
const { failed } = first;
if (!process.argv.includes('--again') || failed.length === 0 || failed.length >= MANY)
  process.exit(first.status);
console.log(`test: once more, alone: ${failed.join(', ')}`);
const second = run(failed, 1);
for (const file of failed.filter((file) => !second.failed.includes(file))) {
  console.log(`test: unsteady, failed once and then passed: ${file}`);
}
process.exit(second.status);

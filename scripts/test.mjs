/**
 * Runs the compiled tests: those named *.test, or with --full the long ones, named *.full. With --again the files in
 * which a test failed, where they are few, run once more, alone: what passes then is named as unsteady, and does not
 * fail the run.
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
/** Failed files from which on the fault is not in the moment. */
const MANY = 3;
// glibc gives pieces from this size on back to the system when they are freed, and keeps smaller ones: tests of the
// resident memory then see what is held, and not what once was.
const env = { ...process.env, MALLOC_MMAP_THRESHOLD_: String(1 << 16) };
// Node's own default leaves one processor free, which on two of them is half of the machine. Long tests measure memory
// and time.
const concurrency = ending === '.full.js' ? 1 : availableParallelism();
// Where files run side by side, threads that wait for each other take processors from other files.
if (concurrency > 1) env.LOOPNN_NUM_THREADS ??= '1';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Runs files; returns the exit code, and those in which a test failed. */
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

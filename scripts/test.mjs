/** Runs the compiled tests: those named *.test, or with --full the long ones, named *.full. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
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
// glibc gives pieces from this size on back to the system when they are freed, and keeps smaller ones: tests of the resident
// memory then see what is held, and not what once was.
const env = { ...process.env, MALLOC_MMAP_THRESHOLD_: String(1 << 16) };
// Node's own default leaves one processor free, which on two of them is half of the machine. Long tests measure memory and time.
const concurrency = ending === '.full.js' ? 1 : availableParallelism();
// Where files run side by side, threads that wait for each other take processors from other files.
if (concurrency > 1) env.LOOPNN_NUM_THREADS ??= '1';
const options = ['--test', `--test-concurrency=${concurrency}`, '--test-reporter=spec'];
const { status } = spawnSync(process.execPath, [...options, ...files], { cwd: ROOT, env, stdio: 'inherit' });
process.exit(status ?? 1);

/**
 * Brings a checkout up to date: installs the dependencies, compiles TypeScript, builds the pages and the addon, each
 * only if it is missing or stale. Needs nothing but Node, since it runs before anything is installed.
 *
 *   node scripts/setup.mjs [--force] [--installed]
 *
 * With --installed, npm has installed the dependencies, and without a compiler the package gets no addon.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative } from './build-native.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const force = process.argv.includes('--force');
const installed = process.argv.includes('--installed');

/** Runs `make`, unless the stamp shows that the existing outputs were made from these inputs. */
async function step(name, stamp, inputs, outputs, make, rebuild = false) {
  const hash = hashFiles(inputs);
  const path = join(ROOT, stamp);
  const fresh = outputs.every((output) => existsSync(join(ROOT, output)));
  if (!rebuild && fresh && existsSync(path) && readFileSync(path, 'utf8') === hash) return;
  console.error(`setup: ${name}`);
  await make();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, hash);
}

function hashFiles(paths) {
  const hash = createHash('sha256').update(process.version);
  for (const path of paths) hash.update(path).update(readFileSync(join(ROOT, path)));
  return hash.digest('hex');
}

/** Files below a folder that have an ending, as paths from the root. */
function filesBelow(folder, ending) {
  return readdirSync(join(ROOT, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((path) => path.endsWith(ending) && statSync(join(ROOT, path)).isFile())
    .sort();
}

function run(command, args) {
  const shell = process.platform === 'win32';
  // What npm and the compilers print goes to stderr, so that stdout has only a command's own output.
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2], shell });
  if (error) fail(`could not run ${command}: ${error.message}`);
  if (status !== 0) fail(`${command} ${args.join(' ')} failed`);
}

/** Counts compiled files: on a terminal in one line, elsewhere at every quarter. */
function onCompiled(done, of) {
  const line = `setup: native: ${done} of ${of} files compiled`;
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${line}${done === of ? '\n' : ''}`);
  else if (Math.floor((4 * done) / of) > Math.floor((4 * (done - 1)) / of)) console.error(line);
}

function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 10))
  fail(`Node 20.10 or newer is needed, this is ${process.version}`);

if (!installed) {
  await step(
    'installing dependencies',
    'node_modules/.loopnn-setup',
    ['package-lock.json'],
    ['node_modules'],
    () =>
      run('npm', [
        'ci',
        '--include=dev',
        '--include=optional',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
      ]),
  );
}

const sources = ['src', 'test', 'studies', 'examples'].flatMap((folder) => filesBelow(folder, '.ts'));
await step(
  'compiling TypeScript',
  'dist/.loopnn-setup',
  ['tsconfig.json', 'package-lock.json', ...sources],
  ['dist/src'],
  () => {
    for (const output of ['src', 'test', 'studies', 'examples', 'tsconfig.tsbuildinfo']) {
      rmSync(join(ROOT, 'dist', output), { recursive: true, force: true });
    }
    run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc')]);
    chmodSync(join(ROOT, 'dist/src/cli/main.js'), 0o755);
  },
  force,
);

const pageSources = ['.ts', '.tsx', '.css', '.html', '.svg', '.txt'].flatMap((ending) =>
  filesBelow('src', ending),
);
const besides = ['wasm', 'models'].flatMap((folder) => filesBelow(folder, ''));
await step(
  'building the pages',
  'dist/.loopnn-pages',
  ['scripts/build-pages.mjs', 'tsconfig.pages.json', 'package-lock.json', ...pageSources, ...besides],
  ['dist/pages'],
  () => run(process.execPath, [join(ROOT, 'scripts/build-pages.mjs')]),
  force,
);

if (process.env.LOOPNN_BACKEND === 'reference') {
  console.error('setup: LOOPNN_BACKEND=reference, so the addon is not built');
} else {
  try {
    await buildNative({ force, log: (line) => console.error(`setup: ${line}`), onCompiled });
  } catch (error) {
    if (installed || process.env.LOOPNN_BACKEND === 'wasm')
      console.error(`setup: no addon: ${error.message}`);
    else
      fail(
        `${error.message}\nsetup: without a C++17 compiler, LOOPNN_BACKEND=wasm works, at half the speed or less`,
      );
  }
}

/**
 * Compiles `native/` into `dist/native/loopnn.node` with the machine's C++ compiler and nothing else: the headers of
 * Node-API come from the `node-api-headers` package. The boundary is made from the kernel table in the compiled
 * TypeScript. Rebuilds only objects whose inputs changed. scripts/prebuilt.mjs compiles for other machines.
 *
 *   node scripts/build-native.mjs [--force] [--sanitize address,undefined]
 *
 * With --sanitize the addon is for tests: AVX-512 is emulated, so that the same code is checked on every machine.
 *
 * This file has the compiler's flags for each instruction set; native/dispatch.cc chooses the set that runs.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const sourceDir = path.join(root, 'native');

/** Flags that emulate AVX-512, to test its code on any machine that has AVX2: see native/emulated.h. */
const EMULATED = ['-mavx2', '-mfma', '-DLOOPNN_EMULATED', '-include', path.join(sourceDir, 'emulated.h')];
const AVX512 = ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx2', '-mfma'];
const BF16 = [...AVX512, '-mavx512bf16', '-mavx512vnni'];
const EMULATED_BF16 = [...EMULATED, '-D__AVX512BF16__'];
/**
 * Instruction sets by architecture; `width` is the number of floats in a vector. A set with a `base` has the families
 * of matrix products, and that set's kernels for the rest.
 */
const ISAS = {
  x64: [
    {
      name: 'amx',
      width: 16,
      base: 'avx512bf16',
      flags: [...BF16, '-mamx-tile', '-mamx-bf16'],
      emulated: [...EMULATED_BF16, '-D__AMX_BF16__'],
    },
    {
      name: 'avx512bf16',
      width: 16,
      flags: BF16,
      emulated: EMULATED_BF16,
    },
    { name: 'avx512', width: 16, flags: AVX512, emulated: EMULATED },
    { name: 'avx2', width: 8, flags: ['-mavx2', '-mfma'] },
    { name: 'portable', width: 4, flags: [] },
  ],
  other: [{ name: 'portable', width: 4, flags: [] }],
};
/** Files compiled once for each instruction set; all others are compiled once. */
export const FAMILIES = [
  'gemm',
  'small',
  'attention',
  'cache',
  'head',
  'elementwise',
  'activation',
  'rows',
  'exits',
  'residual',
  'injection',
  'streams',
  'embedding',
  'norm',
  'heads',
  'linear',
  'int8',
  'optimizer',
  'peaks',
  'table',
];

/** Those with matrix products, and what these call. */
const PRODUCTS = ['gemm', 'small', 'head', 'linear', 'int8', 'peaks', 'table'];

// Multiply-adds are written out in the kernels; contraction by the compiler could fuse a vector loop and its tail
// differently, and equal rows would then differ in their last bit.
const FLAGS = [
  '-std=c++17',
  '-O3',
  '-fPIC',
  '-fvisibility=hidden',
  '-ffp-contract=off',
  '-Wall',
  '-Wextra',
  '-Wno-psabi',
  '-Wno-maybe-uninitialized',
  '-DNAPI_VERSION=8',
  '-pthread',
];

/**
 * The machine that an addon is compiled for, and the compiler.
 *
 * @typedef {object} Target
 * @property {string} command the compiler
 * @property {string[]} args the first arguments of every call
 * @property {string} version a text that tells this compiler from others
 * @property {string} platform as process.platform
 * @property {string} arch as process.arch
 * @property {string[]} linkFlags besides those of the platform
 */

/** This machine and its compiler. Throws if it has none. @returns {Target} */
function thisMachine() {
  const candidates = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
  for (const command of candidates) {
    try {
      const version = execFileSync(command, ['--version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const { platform, arch } = process;
      return { command, args: [], version: version.split('\n')[0], platform, arch, linkFlags: [] };
    } catch {
      // Not installed: try the next one.
    }
  }
  throw new Error(
    `build-native: needs a C++17 compiler, tried ${candidates.join(', ')}; install g++ or clang++, or set CXX`,
  );
}

/** Runs jobs, at most `limit` at a time; stops at the first failure. */
export async function runAll(jobs, limit) {
  const queue = [...jobs];
  await Promise.all(
    Array.from({ length: Math.min(limit, queue.length) }, async () => {
      for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job();
    }),
  );
}

async function compile(command, args, what) {
  try {
    await run(command, args, { maxBuffer: 1 << 26 });
  } catch (error) {
    throw new Error(`build-native: ${what} does not compile\n${error.stderr || error.message}`);
  }
}

/** Writes those files made from the kernel table that differ from the existing ones; returns the paths of all. */
async function generateBoundary(outDir) {
  const compiled = (file) => import(pathToFileURL(path.join(root, 'dist', 'src', 'backend', file)).href);
  const { generateHeader } = await compiled('compiled/header.js');
  const { generateBindings } = await compiled('native/bindings.js');
  const texts = { 'kernels.generated.h': generateHeader(), 'bindings.generated.cc': generateBindings() };
  return Promise.all(
    Object.entries(texts).map(async ([name, text]) => {
      const file = path.join(outDir, name);
      if ((await readFile(file, 'utf8').catch(() => '')) !== text) await writeFile(file, text);
      return file;
    }),
  );
}

const hash = (...parts) => createHash('sha256').update(parts.join('\0')).digest('hex');

/**
 * Builds the addon of a checkout if it is missing or stale; resolves to { output, rebuilt }.
 *
 * @param {{ force?: boolean, sanitize?: string, log?: (line: string) => void, onCompiled?: (done: number, of:
 * number) => void }} [options]
 *   `sanitize` (for example 'address,undefined') builds into dist/native-asan instead.
 */
export function buildNative({ force, sanitize, log, onCompiled } = {}) {
  const outDir = path.join(root, 'dist', sanitize ? 'native-asan' : 'native');
  return buildAddon(thisMachine(), outDir, { force, sanitize, log, onCompiled });
}

/** Builds an addon into a folder, loopnn.node beside its objects, if it is missing or stale. @param {Target} target */
export async function buildAddon(
  target,
  outDir,
  { force = false, sanitize = '', log = () => {}, onCompiled = () => {} } = {},
) {
  const objectDir = path.join(outDir, 'objects');
  await mkdir(objectDir, { recursive: true });
  const output = path.join(outDir, 'loopnn.node');

  const include = path.join(
    path.dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')),
    'include',
  );
  const sanitizeFlags = sanitize ? [`-fsanitize=${sanitize}`, '-fno-omit-frame-pointer', '-g', '-O1'] : [];
  const generated = await generateBoundary(outDir);
  const names = await readdir(sourceDir);
  const files = new Map([
    ...names.filter((name) => /\.(h|cc)$/.test(name)).map((name) => [name, path.join(sourceDir, name)]),
    ...generated.map((file) => [path.basename(file), file]),
  ]);
  const contents = new Map(
    await Promise.all([...files].map(async ([name, file]) => [name, await readFile(file, 'utf8')])),
  );
  const headers = [...contents].filter(([name]) => name.endsWith('.h')).join('\0');
  const sources = new Map(
    [...contents].filter(([name]) => name.endsWith('.cc')).map(([name, text]) => [name.slice(0, -3), text]),
  );

  const units = [];
  for (const name of sources.keys()) {
    if (!FAMILIES.includes(name))
      units.push({ name, object: `${name}.o`, flags: sanitize ? ['-DLOOPNN_EMULATED'] : [] });
  }
  for (const isa of ISAS[target.arch] ?? ISAS.other) {
    for (const name of isa.base ? PRODUCTS : FAMILIES) {
      const flags = [
        ...((sanitize && isa.emulated) || isa.flags),
        ...(isa.base ? [`-DLOOPNN_BASE=${isa.base}`] : []),
        `-DLOOPNN_ISA=${isa.name}`,
        `-DLOOPNN_WIDTH=${isa.width}`,
      ];
      units.push({ name, object: `${name}.${isa.name}.o`, flags });
    }
  }

  const stampFile = path.join(outDir, 'stamps.json');
  let stamps = {};
  if (!force) {
    try {
      stamps = JSON.parse(await readFile(stampFile, 'utf8'));
    } catch {
      // First build, or an unreadable record: everything is stale.
    }
  }
  const present = new Set(await readdir(objectDir));
  const next = {};
  const stale = [];
  for (const unit of units) {
    const flags = [...target.args, ...FLAGS, ...sanitizeFlags, ...unit.flags];
    const stamp = hash(target.command, target.version, flags.join(' '), headers, sources.get(unit.name));
    next[unit.object] = stamp;
    if (stamps[unit.object] !== stamp || !present.has(unit.object)) stale.push({ ...unit, flags });
  }
  const platformFlags =
    target.platform === 'darwin'
      ? ['-undefined', 'dynamic_lookup']
      : target.platform === 'linux'
        ? ['-Wl,-z,nodelete']
        : [];
  const linkFlags = [
    ...target.args,
    '-shared',
    '-pthread',
    ...platformFlags,
    ...target.linkFlags,
    ...sanitizeFlags,
  ];
  const linked = hash(...linkFlags, ...Object.values(next));
  const outputPresent = (await readdir(outDir)).includes('loopnn.node');
  if (stale.length === 0 && stamps.output === linked && outputPresent) return { output, rebuilt: false };

  log(`native: compiling ${stale.length} of ${units.length} files with ${target.version}`);
  const started = Date.now();
  // The slowest first, so that the last to finish is a short one.
  const weight = (unit) => (FAMILIES.includes(unit.name) ? FAMILIES.indexOf(unit.name) : FAMILIES.length);
  stale.sort((a, b) => weight(a) - weight(b));
  let compiled = 0;
  await runAll(
    stale.map((unit) => async () => {
      const source = files.get(`${unit.name}.cc`);
      const args = [...unit.flags, '-I', include, '-I', sourceDir, '-I', outDir, '-c', source];
      await compile(
        target.command,
        [...args, '-o', path.join(objectDir, unit.object)],
        path.relative(root, source),
      );
      onCompiled(++compiled, stale.length);
    }),
    availableParallelism(),
  );
  // A folder for this build alone, so that the file has its final name: linkers for Windows and macOS write it into
  // the file.
  const temporary = path.join(outDir, `link.${process.pid}.tmp`);
  await mkdir(temporary, { recursive: true });
  try {
    const linkedFile = path.join(temporary, 'loopnn.node');
    const objects = units.map((unit) => path.join(objectDir, unit.object));
    await compile(target.command, [...linkFlags, ...objects, '-o', linkedFile], 'the addon');
    await rename(linkedFile, output);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  await writeFile(stampFile, JSON.stringify({ ...next, output: linked }, null, 1));
  log(`native: built ${path.relative(root, output)} in ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return { output, rebuilt: true };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--sanitize');
  try {
    await buildNative({
      force: process.argv.includes('--force'),
      sanitize: at > 0 ? (process.argv[at + 1] ?? 'address,undefined') : '',
      log: console.log,
    });
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}

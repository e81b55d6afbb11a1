/**
 * Compiles `native/` to WebAssembly: `wasm/simd128.wasm`, and `wasm/relaxed-simd.wasm`, whose multiply-add is one
 * instruction. Both are in the repository, so that running them needs no toolchain.
 *
 *   npm run build:wasm                    writes them
 *   node scripts/build-wasm.mjs --check   compares them with a build of the sources, bit for bit
 *
 * zig.mjs installs the compiler. The boundary is made from the kernel table in the compiled TypeScript.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { FAMILIES, runAll } from './build-native.mjs';
import { findZig } from './zig.mjs';

const run = promisify(execFile);
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const native = path.join(root, 'native');

/** Features of every runtime with SIMD. Atomics are for threads; without shared memory they are plain instructions. */
const FEATURES = 'generic+simd128+atomics+bulk_memory+nontrapping_fptoint+sign_ext+mutable_globals';
const SETS = [
  { file: 'simd128.wasm', name: 'simd128', features: FEATURES },
  { file: 'relaxed-simd.wasm', name: 'relaxed_simd', features: `${FEATURES}+relaxed_simd` },
];
// As in build-native.mjs; nothing unwinds, and statics are initialised by one thread.
const FLAGS = [
  '-std=c++17',
  '-O3',
  '-ffp-contract=off',
  '-fno-exceptions',
  '-fno-rtti',
  '-fno-threadsafe-statics',
  '-Wall',
  '-Wextra',
  '-Wno-unused-function',
  '-g0',
];
// The host creates the memory: src/backend/wasm/module.ts has its limits, in pages of 64 KiB.
const LINK_FLAGS = [
  '-mexec-model=reactor',
  '-Wl,--no-entry',
  '-Wl,--import-memory',
  '-Wl,--shared-memory',
  `-Wl,--initial-memory=${16 * 65536}`,
  `-Wl,--max-memory=${65535 * 65536}`,
  `-Wl,-z,stack-size=${256 * 1024}`,
  '-Wl,--export=__stack_pointer',
  '-s',
];

/** Builds one set in a folder of its own; resolves to the module's bytes. */
async function build(zig, { name, features, file }, folder) {
  const objects = path.join(folder, name);
  await mkdir(objects);
  const sources = [
    ...FAMILIES.map((family) => path.join(native, `${family}.cc`)),
    ...['pool.cc', 'system.cc', 'exports.cc'].map((source) => path.join(native, 'wasm', source)),
    path.join(folder, 'exports.generated.cc'),
  ];
  const target = ['-target', 'wasm32-wasi', `-mcpu=${features}`];
  const includes = [native, path.join(native, 'wasm'), folder].flatMap((place) => ['-I', place]);
  const defines = [`-DLOOPNN_ISA=${name}`, '-DLOOPNN_WIDTH=4'];
  const outputs = sources.map((source) => path.join(objects, `${path.basename(source, '.cc')}.o`));
  await runAll(
    sources.map((source, i) => async () => {
      const args = ['c++', ...target, ...FLAGS, ...defines, ...includes, '-c', source, '-o', outputs[i]];
      const { stderr } = await run(zig, args, { maxBuffer: 1 << 26 });
      if (stderr) console.error(stderr);
    }),
    availableParallelism(),
  );
  const output = path.join(folder, file);
  // The C library has all that is needed at run time, and Zig builds it much faster than the C++ library. It does not
  // use relaxed SIMD.
  await run(zig, [
    'cc',
    '-target',
    'wasm32-wasi',
    `-mcpu=${FEATURES}`,
    ...outputs,
    ...LINK_FLAGS,
    '-o',
    output,
  ]);
  return readFile(output);
}

async function main() {
  const check = process.argv.includes('--check');
  const zig = findZig(console.log).command;
  const compiled = (file) => import(pathToFileURL(path.join(root, 'dist', 'src', 'backend', file)).href);
  const { generateHeader } = await compiled('compiled/header.js');
  const { generateExports } = await compiled('wasm/exports.js');
  await mkdir(path.join(root, 'dist'), { recursive: true });
  const folder = await mkdtemp(path.join(root, 'dist', 'wasm-'));
  try {
    await writeFile(path.join(folder, 'kernels.generated.h'), generateHeader());
    await writeFile(path.join(folder, 'exports.generated.cc'), generateExports());
    for (const set of SETS) {
      const started = Date.now();
      const bytes = await build(zig, set, folder);
      const place = path.join(root, 'wasm', set.file);
      const seconds = ((Date.now() - started) / 1000).toFixed(0);
      if (!check) await writeFile(place, bytes);
      else if (!bytes.equals(await readFile(place))) {
        throw new Error(
          `build-wasm: wasm/${set.file} must be what the sources give, but differs; run npm run build:wasm`,
        );
      }
      console.log(
        `wasm: ${check ? 'checked' : 'built'} wasm/${set.file}, ${bytes.length} bytes, in ${seconds} s`,
      );
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

try {
  await main();
} catch (error) {
  console.error(error.stderr || error.message);
  process.exit(1);
}

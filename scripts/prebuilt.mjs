/**
 * Compiles `native/` into `prebuilds/NAME/loopnn.node` for the machines on which the package must run without a
 * compiler: all of them, or those named. Then checks the addons there: each must be for its system and need nothing
 * that the system's oldest release lacks; the addon for this system is also loaded. With --check nothing is compiled.
 * Needs the compiled TypeScript.
 *
 *   node scripts/prebuilt.mjs [--check] [NAME …]
 *
 * Each addon contains its C++ library and exports nothing of it: Node has another one, and the two must not mix. This
 * file lists the systems; src/backend/native/find.ts finds the name of the running one.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAddon } from './build-native.mjs';
import { inspectAddon } from './inspect-addon.mjs';
import { findZig } from './zig.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
/** Targets by name; glibc 2.28 and macOS 11 are the oldest on which Node 20 runs. */
const TRIPLES = {
  'linux-x64': 'x86_64-linux-gnu.2.28',
  'linux-x64-musl': 'x86_64-linux-musl',
  'linux-arm64': 'aarch64-linux-gnu.2.28',
  'linux-arm64-musl': 'aarch64-linux-musl',
  'darwin-x64': 'x86_64-macos.11.0',
  'darwin-arm64': 'aarch64-macos.11.0',
  'win32-x64': 'x86_64-windows-gnu',
};

/** Additional flags for the linker of each system. */
const LINK = {
  linux: () => [`-Wl,--version-script=${path.join(root, 'native', 'addon.map')}`],
  /** Without this name the file would contain the path of its build. */
  darwin: () => ['-Wl,-install_name,loopnn.node'],
  /** For Windows, names are resolved when the addon is linked, against a list of what node.exe exports. */
  win32: (zig, outDir) => {
    const library = path.join(outDir, 'node_api.lib');
    const { node_api_def: definition } = createRequire(import.meta.url)('node-api-headers').def_paths;
    execFileSync(zig.command, ['dlltool', '-m', 'i386:x86-64', '-d', definition, '-l', library]);
    return [library];
  },
};

/** The libraries that an addon may need of each system. */
const LIBRARIES = {
  linux: /^(lib(c|m|dl|pthread)|ld-linux-[a-z0-9-]+)\.so\.\d$/,
  musl: /^libc\.so$/,
  darwin: /^\/usr\/lib\/libSystem\.B\.dylib$/,
  win32: /^(node\.exe|kernel32\.dll|ntdll\.dll|api-ms-win-crt-[a-z0-9-]+\.dll)$/i,
};
const NEWEST_GLIBC = 28;
const MACOS = '11.0';
const ENTRIES = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
/**
 * Names that Zig also exports on macOS, where it ignores lists of exports: the file's header, and C++'s new and delete,
 * of which macOS uses one pair for the whole process.
 */
const SHOWN_BY_ZIG = /^(__dso_handle|_mh_dylib_header|_Z(n[wa]m|d[la]Pvm?)(St11align_val_t)?)$/;
const OF_NODE = /^(napi|node_api)_/;
/** Names of a C++ library, which must lie in the addon itself. */
const OF_CPP = /^(_Z|__gxx_|_Unwind_|__cxa_(?!atexit|finalize))/;

const fileOf = (name) => path.join(root, 'prebuilds', name, 'loopnn.node');

/** The rules that an addon breaks on its system, in words; none if it may be shipped. */
function faultsOf(name, addon) {
  const [platform, arch, libc = platform] = name.split('-');
  const faults = addon.fault ? [addon.fault] : [];
  const expect = (good, rule, got) => good || faults.push(`${rule}, got ${got}`);
  expect(
    addon.platform === platform && addon.arch === arch,
    `must be for ${platform}-${arch}`,
    `${addon.platform}-${addon.arch}`,
  );
  for (const library of addon.libraries)
    expect(LIBRARIES[libc].test(library), "must need no library but the system's", library);
  const shown = addon.exports.filter((symbol) => platform !== 'darwin' || !SHOWN_BY_ZIG.test(symbol)).sort();
  expect(`${shown}` === `${ENTRIES}`, `must export ${ENTRIES.join(', ')}`, shown.join(', '));
  for (const { name: symbol, from } of addon.imports) {
    const [, minor] = /^GLIBC_2\.(\d+)/.exec(from) ?? [];
    expect(!(minor > NEWEST_GLIBC), `must need glibc 2.${NEWEST_GLIBC} at most`, `${symbol} of ${from}`);
    // Names without a library are Node's. But musl has no versions of names, so that musl's have no library either.
    if (libc === 'musl') expect(!OF_CPP.test(symbol), 'must have its C++ library inside', symbol);
    else if (from === '' || /^node\.exe$/i.test(from))
      expect(OF_NODE.test(symbol), 'must need only Node-API of Node', symbol);
  }
  if (platform === 'darwin') expect(addon.minimum === MACOS, `must run on macOS ${MACOS}`, addon.minimum);
  return faults;
}

/** Checks an addon and prints a line about it; throws if it breaks a rule. */
async function check(name) {
  const file = fileOf(name);
  const bytes = readFileSync(file);
  let addon;
  try {
    addon = inspectAddon(bytes);
  } catch (error) {
    throw new Error(`prebuilt: ${name}: ${error.message}`);
  }
  const faults = faultsOf(name, addon);
  const { systemName } = await import('../dist/src/backend/native/find.js');
  const { refusalOf } = await import('../dist/src/backend/native/trial.js');
  const here = name === systemName();
  const refusal = faults.length === 0 && here ? refusalOf(file) : null;
  if (refusal) faults.push(refusal);
  if (faults.length > 0) throw new Error(`prebuilt: ${name}: ${faults.slice(0, 5).join('; ')}`);
  const size = `${(bytes.length / 1e6).toFixed(2)} MB`;
  console.error(
    `${name}: ${size}, needs ${addon.libraries.join(' ')}; ${here ? 'multiplies here' : 'not run here'}`,
  );
}

async function build(name, zig) {
  const [platform, arch] = name.split('-');
  const outDir = path.join(root, 'dist', 'prebuilt', name);
  mkdirSync(outDir, { recursive: true });
  const target = {
    command: zig.command,
    args: ['c++', '-target', TRIPLES[name], '-Wno-unknown-warning-option'],
    version: `${zig.version} for ${name}`,
    platform,
    arch,
    linkFlags: ['-O3', '-s', ...LINK[platform](zig, outDir)],
  };
  const { output } = await buildAddon(target, outDir, { log: (line) => console.error(line) });
  mkdirSync(path.dirname(fileOf(name)), { recursive: true });
  const temporary = `${fileOf(name)}.${process.pid}.tmp`;
  copyFileSync(output, temporary);
  renameSync(temporary, fileOf(name));
}

try {
  const asked = process.argv.slice(2).filter((word) => word !== '--check');
  const unknown = asked.find((name) => !(name in TRIPLES));
  if (unknown)
    throw new Error(`prebuilt: must be one of ${Object.keys(TRIPLES).join(', ')}, got '${unknown}'`);
  const names = asked.length > 0 ? asked : Object.keys(TRIPLES);
  if (!process.argv.includes('--check')) {
    const zig = findZig((line) => console.error(line));
    for (const name of names) await build(name, zig);
  }
  const there = names.filter((name) => asked.length > 0 || existsSync(fileOf(name)));
  if (there.length === 0) throw new Error('prebuilt: prebuilds/ has no addon; run `npm run build:prebuilt`');
  for (const name of there) await check(name);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

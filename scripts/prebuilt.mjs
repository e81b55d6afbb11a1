/**
 * Compiles `native/` into `prebuilds/NAME/loopnn.node` for the machines that the package is to run on without a compiler: all of
 * them, or those named. Needs the compiled TypeScript.
 *
 *   node scripts/prebuilt.mjs [NAME …]
 *
 * Each addon has its C++ library inside and shows nothing of it: Node has another one, and the two must not meet. Knows for which
 * systems; src/backend/native/find.ts knows which of them this one is.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAddon } from './build-native.mjs';
import { findZig } from './zig.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
/** By name; glibc 2.28 and macOS 11 are the oldest that Node 20 runs on. */
const TRIPLES = {
  'linux-x64': 'x86_64-linux-gnu.2.28',
  'linux-x64-musl': 'x86_64-linux-musl',
  'linux-arm64': 'aarch64-linux-gnu.2.28',
  'linux-arm64-musl': 'aarch64-linux-musl',
  'darwin-x64': 'x86_64-macos.11.0',
  'darwin-arm64': 'aarch64-macos.11.0',
  'win32-x64': 'x86_64-windows-gnu',
};

/** What the linker of each system is told besides. */
const LINK = {
  linux: () => [`-Wl,--version-script=${path.join(root, 'native', 'addon.map')}`],
  darwin: () => [],
  /** Windows resolves names when it links: against a list of what node.exe has. */
  win32: (zig, outDir) => {
    const library = path.join(outDir, 'node_api.lib');
    const { node_api_def: definition } = createRequire(import.meta.url)('node-api-headers').def_paths;
    execFileSync(zig.command, ['dlltool', '-m', 'i386:x86-64', '-d', definition, '-l', library]);
    return [library];
  },
};

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
  const folder = path.join(root, 'prebuilds', name);
  mkdirSync(folder, { recursive: true });
  const temporary = path.join(folder, `loopnn.node.${process.pid}.tmp`);
  copyFileSync(output, temporary);
  renameSync(temporary, path.join(folder, 'loopnn.node'));
}

try {
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(TRIPLES);
  const unknown = names.find((name) => !(name in TRIPLES));
  if (unknown) throw new Error(`prebuilt: must be of ${Object.keys(TRIPLES).join(', ')}, got '${unknown}'`);
  const zig = findZig((line) => console.error(line));
  for (const name of names) await build(name, zig);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

/**
 * The compiler for other machines: Zig's clang, which includes the C and C++ libraries of every system. Its version is
 * fixed, so that equal sources give equal bits. `ZIG` names its program; without it, PyPI's package `ziglang` is
 * installed into dist/toolchain/.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSION = '0.17.1';
const toolchain = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'dist', 'toolchain');

/** The version of the Zig at a path; null if there is none. */
function versionOf(zig) {
  try {
    return execFileSync(zig, ['version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}

/**
 * { command, version }: its path, and a text with its version. Its cache is in dist/toolchain/. Throws if it cannot be
 * installed, or if `ZIG` has another version.
 */
export function findZig(log = () => {}) {
  process.env.ZIG_GLOBAL_CACHE_DIR ??= path.join(toolchain, 'cache');
  process.env.ZIG_LOCAL_CACHE_DIR ??= path.join(toolchain, 'cache');
  const folder = path.join(toolchain, `ziglang-${VERSION}`);
  const command = process.env.ZIG || path.join(folder, 'ziglang', 'zig');
  let version = versionOf(command);
  if (version === null && !process.env.ZIG) {
    log(`zig: installing ziglang ${VERSION} with pip`);
    const temporary = `${folder}.${process.pid}.tmp`;
    mkdirSync(toolchain, { recursive: true });
    try {
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps'];
      const what = ['--only-binary', ':all:', '--target', temporary, `ziglang==${VERSION}`];
      execFileSync(process.platform === 'win32' ? 'python' : 'python3', [...pip, ...what], {
        encoding: 'utf8',
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      throw new Error(
        `zig: needs Python 3 with pip, and PyPI, or ZIG; ${(error.stderr || error.message).trim()}`,
      );
    }
    rmSync(folder, { recursive: true, force: true });
    renameSync(temporary, folder);
    version = versionOf(command);
  }
  if (version !== VERSION) throw new Error(`zig: must be version ${VERSION}, got ${version} at ${command}`);
  return { command, version: `zig ${version}` };
}

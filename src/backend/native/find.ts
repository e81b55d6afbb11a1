/** Finds the addon files for this machine. It must not load them. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface AddonFile {
  readonly file: string;
  /** In words: `own build`, `prebuilt for linux-x64` or `LOOPNN_NATIVE_PATH`. */
  readonly origin: string;
  /** Whether it was compiled for many kinds of machines, and therefore must be tried on this one. */
  readonly prebuilt: boolean;
}

const inPackage = (path: string): string => fileURLToPath(new URL(`../../../../${path}`, import.meta.url));

/** The name of this system's addon: platform, architecture, and `musl` under Linux if that is the C library. */
export function systemName(): string {
  const musl = process.platform === 'linux' && runsOnMusl() ? '-musl' : '';
  return `${process.platform}-${process.arch}${musl}`;
}

function runsOnMusl(): boolean {
  try {
    return showsMusl(readFileSync('/proc/self/maps', 'utf8'));
  } catch {
    return false;
  }
}

/** Whether a process with these mapped files has musl as its C library, by any of its names; glibc's is libc.so.6. */
export function showsMusl(maps: string): boolean {
  return /\/(ld-musl-.*|libc\.musl-.*|libc\.so)$/m.test(maps);
}

/**
 * The existing addons, the best first: the one that LOOPNN_NATIVE_PATH names, or else the checkout's, then the
 * package's.
 */
export function addonFiles(): AddonFile[] {
  const named = process.env.LOOPNN_NATIVE_PATH;
  if (named) return [{ file: named, origin: 'LOOPNN_NATIVE_PATH', prebuilt: false }];
  const name = systemName();
  return [
    { file: inPackage('dist/native/loopnn.node'), origin: 'own build', prebuilt: false },
    { file: inPackage(`prebuilds/${name}/loopnn.node`), origin: `prebuilt for ${name}`, prebuilt: true },
  ].filter(({ file }) => existsSync(file));
}

/** Whether this is a checkout, which can build an addon. */
export function isCheckout(): boolean {
  return existsSync(inPackage('scripts/build-native.mjs'));
}

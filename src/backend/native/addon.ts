/** Loads the C++ addon and declares its exports; if it cannot be loaded, gives a reason and a remedy. */
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { ConfigError, BackendError, ShapeError } from '../../errors.js';
import type { HostArray } from '../backend.js';
import type { CompiledKernel } from '../compiled/kernels.js';
import { type AddonFile, addonFiles, isCheckout, systemName } from './find.js';
import { refusalOf } from './trial.js';

/** An addon's facts about itself and the machine. */
export interface NativeInfo {
  /** The instruction set in use. */
  readonly isa: string;
  /** The sets that this machine could use, best first. */
  readonly isas: readonly string[];
  /** Whether the set in use multiplies bfloat16 itself. */
  readonly bf16: boolean;
  /** Whether it multiplies bfloat16 faster than float32. */
  readonly fastBf16: boolean;
  readonly threads: number;
  /** The compiler that the addon was built with. */
  readonly compiler: string;
}

/** The arguments of a kernel of the addon: arrays, then dimensions, then options spread into numbers and flags. */
export type Argument = HostArray | number | boolean | null;

/** The addon's exports. */
export type NativeAddon = Record<CompiledKernel, (...args: Argument[]) => void> & {
  info(): NativeInfo;
  peakProducts(out: Float32Array, iterations: number, bf16: boolean): number;
  packedLength(K: number, N: number, bf16: boolean): number;
  packedInt8Length(K: number, N: number): number;
  cachePageLength(KV: number, HS: number, bf16: boolean): number;
  /** CRC-32C of bytes that follow bytes with the checksum `before`; 0 for none before. */
  crc32c(bytes: Uint8Array, before: number): number;
  setThreads(threads: number): void;
  setIsa(isa: string): void;
  setErrorFactory(factory: (kind: string, where: string, rule: string, got: unknown) => Error): void;
  allocate(bytes: number): ArrayBuffer;
  free(buffer: ArrayBufferLike): void;
};

/** The remedy for a missing or old addon. */
export const remedy = (): string =>
  isCheckout() ? 'run `npm run build`' : 'a checkout builds one with a C++17 compiler: `npm run build`';

let loaded: { readonly addon: NativeAddon; readonly origin: string; readonly refused: string[] } | undefined;
/** The instruction set in use. */
let isa = '';

/**
 * The addon, loaded at the first call: the first existing one that fits the machine. Throws BackendError with the
 * reason why each cannot be loaded, and the remedy; ConfigError if the addon rejects an environment variable.
 */
export function loadAddon(): NativeAddon {
  if (loaded) return loaded.addon;
  const refused: string[] = [];
  for (const found of addonFiles()) {
    const refusal = found.prebuilt ? refusalOf(found.file) : null;
    const addon = refusal ?? load(found);
    if (typeof addon !== 'string') {
      loaded = { addon, origin: found.origin, refused };
      return addon;
    }
    refused.push(`${found.origin}: ${addon}`);
  }
  const rule =
    refused.length > 0 ? refused.join('; ') : `must have been built, but there is none for ${systemName()}`;
  throw new BackendError('native addon', rule, undefined, remedy());
}

/** A loaded addon, or the reason why it cannot be loaded. */
function load({ file }: AddonFile): NativeAddon | string {
  try {
    const addon = createRequire(import.meta.url)(file) as NativeAddon;
    addon.setErrorFactory((kind, where, rule, got) =>
      kind === 'ShapeError' ? new ShapeError(where, rule, got) : new BackendError(where, rule, got),
    );
    isa = addon.info().isa; // chooses the instruction set: LOOPNN_ISA may be wrong
    return addon;
  } catch (error) {
    // An invalid environment variable is the user's error, not a reason to fall back.
    if (error instanceof BackendError) {
      const rule = error.message.replace(/^info: /, '');
      const [, threads] = /^LOOPNN_NUM_THREADS (.*)/.exec(rule) ?? [];
      throw threads ? new ConfigError('LOOPNN_NUM_THREADS', threads) : new ConfigError('LOOPNN_ISA', rule);
    }
    return reasonNotLoaded(file, error);
  }
}

/** The reason in one line, without the file's path, with which the loader's messages begin. */
function reasonNotLoaded(file: string, error: unknown): string {
  try {
    accessSync(file, constants.R_OK);
  } catch {
    return 'must have been built, but its file is missing or unreadable';
  }
  const message = error instanceof Error ? error.message : String(error);
  const reason = message
    .split(/\r?\n/)[0]
    .replaceAll(file, 'the file')
    .replace(/^the file: /, '');
  return `must fit this machine and Node ${process.versions.node}, but did not load (${reason.slice(0, 160)})`;
}

/** Uses another instruction set from now on. Throws BackendError if the machine does not have it. */
export function setIsa(name: string): void {
  loadAddon().setIsa(name);
  isa = name;
}

/**
 * Sets the number of threads for the whole process from now on. Throws ShapeError or BackendError for a wrong number.
 */
export function setThreads(threads: number): void {
  loadAddon().setThreads(threads);
}

/** The report of `loopnn doctor` on the addon: the machine as the addon sees it, and the addon's origin. */
export interface LoadedInfo extends NativeInfo {
  /** `own build`, `prebuilt for linux-x64` or `LOOPNN_NATIVE_PATH`. */
  readonly origin: string;
  /** Why the addons before it were rejected. */
  readonly refused: readonly string[];
}

/** The machine and the addon that is in use. Throws as `loadAddon`. */
export function nativeInfo(): LoadedInfo {
  const info = loadAddon().info();
  return { ...info, origin: loaded!.origin, refused: loaded!.refused };
}

/** The instruction set in use: packed weights have its layout. */
export function isaInUse(): string {
  return isa;
}

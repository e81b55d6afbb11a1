/**
 * Several files of a repository on the hub: how a source names it, what the disk will have to hold, and their download
 * one after the other. Knows no file's content; one file's way into the cache is `hub.ts`'s.
 */
import { DataError } from '../../errors.js';
import type { Hub, HubAccess, HubFile, HubListing } from './hub.js';

/** The options of a download, and its callbacks. */
export interface DownloadOptions extends HubAccess {
  /** Called with what the disk will have to hold, before it does. */
  readonly onPlan?: ((plan: DownloadPlan) => void) | undefined;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
}

/** The size of a download. */
export interface DownloadPlan {
  readonly files: number;
  readonly totalBytes: number;
  /** Bytes of these that the cache has not got. */
  readonly missingBytes: number;
  readonly cache: string;
  /** Free bytes on the cache's disk; undefined if unknown. */
  readonly freeBytes: number | undefined;
}

/**
 * Reads `hf:owner/name` or `hf:owner/name@revision`; the oldest repositories go by a name without owner. Throws
 * DataError.
 */
export function parseHubSpec(spec: string): { name: string; revision: string | undefined } {
  const match = /^hf:((?:\w[\w.-]*\/)?\w[\w.-]*)(?:@(\w[\w./-]*))?$/.exec(spec);
  if (match === null || /\.\.|\/$/.test(spec)) {
    throw new DataError('source', 'must be hf:owner/name, with @revision if you like', spec);
  }
  return { name: match[1], revision: match[2] };
}

/** Reports the needed disk space to `onPlan`. Throws DataError if the disk has not enough room. */
export async function announce(
  hub: Hub,
  { repo }: HubListing,
  files: readonly HubFile[],
  { onPlan }: DownloadOptions,
): Promise<void> {
  let totalBytes = 0;
  let missingBytes = 0;
  for (const file of files) {
    totalBytes += file.size;
    if (!(await hub.has(repo, file))) missingBytes += file.size;
  }
  const free = await hub.free();
  onPlan?.({ files: files.length, totalBytes, missingBytes, cache: hub.cache, freeBytes: free });
  if (free !== undefined && missingBytes > free) {
    const hint = 'name a larger disk with HF_HUB_CACHE';
    throw new DataError(hub.cache, `must have ${missingBytes} bytes free`, free, hint);
  }
}

/** Downloads files into the cache, as far as they are not there, and gives each one's path as soon as it is whole. */
export async function* downloadFiles(
  hub: Hub,
  listing: HubListing,
  files: readonly HubFile[],
  { onProgress }: DownloadOptions,
): AsyncGenerator<{ file: HubFile; path: string }> {
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  let before = 0;
  for (const file of files) {
    const path = await hub.fetchFile(listing, file, (bytes) => onProgress?.(before + bytes, totalBytes));
    before += file.size;
    yield { file, path };
  }
}

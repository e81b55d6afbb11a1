/**
 * Several files of a repository on the hub: how a source names the repository, what the disk will have to hold, and the
 * download of the files one after the other. It does not interpret files; `hub.ts` brings one file into the cache.
 */
import { DataError } from '../../errors.js';
import type { Hub, HubAccess, HubFile, HubListing } from './hub.js';

/** The options of a download, and its callbacks. */
export interface DownloadOptions extends HubAccess {
  /** Called before the download with what the disk will have to hold. */
  readonly onPlan?: ((plan: DownloadPlan) => void) | undefined;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
}

/** The size of a download. */
export interface DownloadPlan {
  readonly files: number;
  readonly totalBytes: number;
  /** Bytes of the files that are not in the cache yet. */
  readonly missingBytes: number;
  readonly cache: string;
  /** Free bytes on the cache's disk; undefined if unknown. */
  readonly freeBytes: number | undefined;
}

/**
 * Parses `hf:owner/name` or `hf:owner/name@revision`; the oldest repositories have a name without an owner. Throws
 * DataError.
 */
export function parseHubSpec(spec: string): { name: string; revision: string | undefined } {
  const match = /^hf:((?:\w[\w.-]*\/)?\w[\w.-]*)(?:@(\w[\w./-]*))?$/.exec(spec);
  if (match === null || /\.\.|\/$/.test(spec)) {
    throw new DataError('source', 'must be hf:owner/name, with @revision if you like', spec);
  }
  return { name: match[1], revision: match[2] };
}

/** Reports the needed disk space to `onPlan`. Throws DataError if the disk does not have enough room. */
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

/** Downloads the files that the cache lacks, and yields each file's path as soon as it is complete. */
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

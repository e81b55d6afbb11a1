/** A published run at a URL, and its copy in the browser's own file system. */
import { CheckpointError } from '../errors.js';
import type { FileContent, RandomAccessFile, Store } from '../platform.js';
import { CHECKSUMS_FILE, type FileSum, parseSums } from '../train/checksums.js';
import { blobFile } from './content.js';
import { messageOf } from './file-system.js';
import { ListedStore } from './listed-store.js';
import { OpfsStore } from './opfs-store.js';

/** The folder of copies, each in a folder named after its URL. */
const COPIES = 'loopnn-models';

/** The files of a published run, fetched on demand. */
export class UrlStore extends ListedStore {
  private constructor(
    private readonly url: URL,
    /** The fetched list of files. */
    readonly index: Uint8Array,
    private readonly sums: ReadonlyMap<string, FileSum>,
  ) {
    super(url.href, [...sums.keys(), CHECKSUMS_FILE]);
  }

  /** Throws CheckpointError if there is no list of files at the URL. */
  static async open(folder: URL): Promise<UrlStore> {
    const url = new URL(folder);
    if (!url.pathname.endsWith('/')) url.pathname += '/';
    const file = new URL(CHECKSUMS_FILE, url);
    const index = new Uint8Array(await (await fetched(file)).arrayBuffer());
    const sums = parseSums(index);
    if (sums) return new UrlStore(url, index, sums);
    const rule = 'must be the list of files of a published run';
    throw new CheckpointError(file.href, rule, undefined, 'loopnn export --format browser makes one');
  }

  /** A file, fetched whole. Throws CheckpointError if it cannot be fetched, or differs from the published file. */
  async open(path: string): Promise<RandomAccessFile> {
    const url = new URL(path, this.url);
    if (path === CHECKSUMS_FILE) return blobFile(url.href, new Blob([this.index.slice()]));
    const sum = this.sums.get(path);
    if (!sum) throw new CheckpointError(url.href, `must be listed in ${CHECKSUMS_FILE}`);
    const blob = await fetched(url);
    if (blob.size === sum.bytes) return blobFile(url.href, blob);
    throw damaged(url, `the ${sum.bytes} bytes`, blob.size);
  }

  override async read(path: string): Promise<Uint8Array> {
    const content = await super.read(path);
    const sum = this.sums.get(path);
    const found = this.crc32c(content).toString(16).padStart(8, '0');
    if (!sum || sum.crc32c === found) return content;
    throw damaged(new URL(path, this.url), `CRC-32C ${sum.crc32c}`, found);
  }

  /** All files with their contents. */
  *files(): Generator<[name: string, content: FileContent]> {
    for (const path of this.paths) yield [path, this.whole(path)];
  }

  private async *whole(path: string): AsyncGenerator<Uint8Array> {
    yield await this.read(path);
  }
}

/**
 * The run at a URL from its copy in OPFS, which is created, or replaced if the published run has changed. If the URL
 * cannot be fetched, the copy is used as it is. `onWarning` receives warnings about an old copy, or about a copy that
 * cannot be created.
 */
export async function copyOf(url: URL, onWarning: (message: string) => void): Promise<Store> {
  const name = new OpfsStore(COPIES).crc32c(new TextEncoder().encode(url.href)).toString(16);
  const copy = new OpfsStore(`${COPIES}/${name}`);
  const index = (await copy.has(CHECKSUMS_FILE)) ? await copy.read(CHECKSUMS_FILE) : null;
  let remote: UrlStore;
  try {
    remote = await UrlStore.open(url);
  } catch (error) {
    if (!index) throw error;
    onWarning(`using the copy of ${url.href}, which may be old: ${messageOf(error)}`);
    return copy;
  }
  if (index && index.length === remote.index.length && index.every((byte, i) => byte === remote.index[i])) {
    return copy;
  }
  const copies = new OpfsStore(COPIES);
  try {
    await using _lock = await copies.lock();
    await copies.createFolder(name, remote.files());
    return copy;
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    onWarning(`no copy of ${url.href} is kept: ${messageOf(error)}`);
    return remote;
  }
}

/** Makes the browser check whether its cached copy of a file is still current. */
const REVALIDATED: RequestInit & { readonly cache: 'no-cache' } = { cache: 'no-cache' };

async function fetched(url: URL): Promise<Blob> {
  const rule = 'must be served, but could not be fetched';
  let response: Response;
  try {
    response = await fetch(url, REVALIDATED);
    if (response.ok) return await response.blob();
  } catch (error) {
    throw new CheckpointError(url.href, `${rule} (${messageOf(error)})`);
  }
  throw new CheckpointError(url.href, `${rule} (status ${response.status})`);
}

function damaged(url: URL, expected: string, found: number | string): CheckpointError {
  const hint = 'it is damaged, or from another export: publish all files of one export';
  return new CheckpointError(url.href, `must hold ${expected} of ${CHECKSUMS_FILE}`, found, hint);
}

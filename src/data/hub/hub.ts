/**
 * Repositories on the Hugging Face hub: lists the files of a dataset or a model, and downloads them into the hub's own
 * cache on this machine. This file handles the hub's addresses, the cache's layout and failing downloads; it interprets
 * neither text nor tensors.
 *
 * A file lies in the cache under the hash that the hub gives it, and gets that name only once size and hash are right.
 * An interrupted download stays beside it as `.incomplete`, and is resumed from its last byte.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { datasetInfo, downloadFile, HubApiError, listFiles, modelInfo } from '@huggingface/hub';
import { ConfigError, DataError, FileError } from '../../errors.js';
import { parseJSON } from '../../formats/json.js';
import { fileError, writing } from '../../node/file-errors.js';
import { makeFolder } from '../../node/make-folder.js';
import { cacheFolder, checkedToken, fetchOfEnvironment, isOffline, userToken } from './environment.js';

/** How the hub is reached. */
export interface HubAccess {
  /** The hub's address; default: HF_ENDPOINT, else the public one. */
  readonly endpoint?: string | undefined;
  /** Default: HF_TOKEN, else what `hf auth login` has saved. */
  readonly token?: string | undefined;
  /** Default: HF_HUB_CACHE, else HF_HOME/hub, else where the hub's other clients keep theirs. */
  readonly cache?: string | undefined;
  /** Milliseconds before the first retry; each further retry waits twice as long. */
  readonly retryMs?: number | undefined;
  /** Milliseconds of silence after which `onNotice` receives the reason for the wait. 5000 by default. */
  readonly silenceMs?: number | undefined;
  /** Receives lines for the user: on waits, and on replacements of requested files. */
  readonly onNotice?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A repository: a dataset or a model. */
export interface HubRepo {
  readonly type: 'dataset' | 'model';
  /** `owner/name`, or a former name: `gpt2` is `openai-community/gpt2`. */
  readonly name: string;
}

/** A file of a repository. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** SHA-256 of a large file; git's SHA-1 of a small one, which includes git's own header. */
  readonly hash: { readonly kind: 'sha256' | 'git'; readonly hex: string };
}

/** A repository at one commit. */
export interface HubListing {
  /** With its current name on the hub, which is its name in the cache. */
  readonly repo: HubRepo;
  /** The requested branch, tag or commit. */
  readonly revision: string;
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/** Tries without progress before a download fails. */
const TRIES = 6;
/** Bytes that a try must add to a file to count as progress; fewer if fewer are missing. */
const LEAST_PROGRESS = 1 << 16;
/** Most requests for a repository's list of files; each returns a thousand files. */
const MOST_PAGES = 1000;
/** Most bytes and most time of an answer that is no file. */
const MOST_ANSWER_BYTES = 1 << 26;
const LONGEST_ANSWER_MS = 120_000;
/** Times that a whole file may arrive with the wrong hash before its download fails. */
const WRONG_FILES = 3;
const LONGEST_WAIT_MS = 60_000;
const PUBLIC_ENDPOINT = 'https://huggingface.co';
const MAIN = 'main';
/** Folder of a repository in the cache where its listings are kept; the hub's other clients ignore it. */
const LISTINGS = 'listings';

/** A connection to the hub. */
export class Hub {
  readonly cache: string;
  readonly #endpoint: string;
  readonly #token: string | undefined;
  readonly #retryMs: number;
  readonly #silenceMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #fetchOnce: Promise<typeof fetch>;
  readonly notice: (line: string) => void;

  /** Throws ConfigError for an invalid token, or an endpoint that is no URL. */
  constructor(access: HubAccess = {}) {
    this.#endpoint = (access.endpoint ?? (process.env.HF_ENDPOINT || PUBLIC_ENDPOINT)).replace(/\/+$/, '');
    this.#token = access.token === undefined ? userToken() : checkedToken('HF_TOKEN', access.token);
    if (!URL.canParse(this.#endpoint)) throw new ConfigError('HF_ENDPOINT', 'must be a URL', this.#endpoint);
    this.cache = access.cache ?? cacheFolder();
    this.#retryMs = access.retryMs ?? 1000;
    this.#silenceMs = access.silenceMs ?? 5000;
    this.notice = access.onNotice ?? (() => {});
    this.#fetchOnce = fetchOfEnvironment();
    this.#signal = access.signal;
  }

  /**
   * All files of a repository as the hub lists them. If the hub cannot be reached, or HF_HUB_OFFLINE forbids requests,
   * the files that the cache lists. Throws DataError if the repository is missing or not accessible, or neither hub nor
   * cache has it.
   */
  async list(repo: HubRepo, revision = MAIN): Promise<HubListing> {
    const where = revision === MAIN ? `hf:${repo.name}` : `hf:${repo.name}@${revision}`;
    const cached = await this.#cachedListing(repo, revision);
    if (isOffline()) {
      if (cached) return cached;
      const rule = `must be in the cache ${this.cache}, since HF_HUB_OFFLINE forbids requests to the hub`;
      throw new DataError(where, rule, 'no list of its files');
    }
    try {
      // Few tries suffice if the cache has a listing.
      return await this.#askedListing(repo, revision, where, cached ? 2 : TRIES);
    } catch (error) {
      if (cached === null || !(error instanceof Unreachable)) throw error;
      this.notice(
        `${where}: the hub cannot be reached (${error.reason}); continues with commit ${cached.commit.slice(0, 12)} in the cache`,
      );
      return cached;
    }
  }

  async #askedListing(repo: HubRepo, revision: string, where: string, tries: number): Promise<HubListing> {
    const { type, name } = repo;
    let requests = 0;
    const fetchPage: typeof fetch = (input, init) => {
      if (++requests <= MOST_PAGES) return this.#fetch(input, init, tries);
      throw new DataError(where, `must have a list of files of at most ${MOST_PAGES} pages`, 'more');
    };
    const common = { hubUrl: this.#endpoint, fetch: fetchPage };
    try {
      const asked = { ...common, name, revision };
      const info =
        type === 'model'
          ? await modelInfo({ ...asked, additionalFields: ['sha'] })
          : await datasetInfo({ ...asked, additionalFields: ['sha'] });
      const { sha } = info;
      if (!/^[0-9a-f]{40}$/.test(sha)) throw new Error(`the commit ${sha}`);
      if (!/^(\w[\w.-]*\/)?\w[\w.-]*$/.test(info.name)) throw new Error(`the name ${info.name}`);
      const known = { type, name: info.name };
      const files: HubFile[] = [];
      for await (const file of listFiles({ ...common, repo: known, recursive: true, revision: sha })) {
        if (file.type === 'file') files.push(hubFile(file, where));
      }
      const listing = { repo: known, revision, commit: sha, files };
      await this.#remember(listing);
      return listing;
    } catch (error) {
      throw this.#explain(error, where, type);
    }
  }

  /** Keeps a listing in the cache. */
  async #remember(listing: HubListing): Promise<void> {
    const file = join(this.#folder(listing.repo), LISTINGS, `${encodeURIComponent(listing.revision)}.json`);
    const known = await readFile(file, 'utf8').catch(() => '');
    if (known.includes(listing.commit)) return;
    // If the cache cannot be written, the download of a file reports it.
    await makeFolder(dirname(file))
      .then(() => writeFile(file, `${JSON.stringify(listing)}\n`))
      .catch(() => {});
  }

  /** A repository with its owner, if the cache has exactly one with this name; else as it was given. */
  async #cachedRepo({ type, name }: HubRepo): Promise<HubRepo> {
    if (name.includes('/')) return { type, name };
    const folders = await readdir(this.cache).catch(() => []);
    const found = folders.filter((folder) => folder.startsWith(`${type}s--`) && folder.endsWith(`--${name}`));
    return { type, name: found.length === 1 ? found[0].split('--').slice(1).join('/') : name };
  }

  /** The listing kept in the cache, else the files of a snapshot in the cache; null if there is neither. */
  async #cachedListing(asked: HubRepo, revision: string): Promise<HubListing | null> {
    const repo = await this.#cachedRepo(asked);
    const folder = this.#folder(repo);
    const kept = await readFile(join(folder, LISTINGS, `${encodeURIComponent(revision)}.json`), 'utf8').catch(
      () => null,
    );
    if (kept !== null) return parseJSON(kept) as HubListing;
    const named = await readFile(join(folder, 'refs', revision), 'utf8').catch(() => null);
    const commit = named?.trim() ?? (/^[0-9a-f]{40}$/.test(revision) ? revision : null);
    if (commit === null) return null;
    const snapshot = join(folder, 'snapshots', commit);
    const entries = await readdir(snapshot, { recursive: true }).catch(() => null);
    if (entries === null) return null;
    const files: HubFile[] = [];
    for (const entry of entries.toSorted()) {
      const link = await readlink(join(snapshot, entry)).catch(() => null);
      const size = link === null ? undefined : await sizeOf(join(snapshot, entry));
      if (link === null || size === undefined) continue;
      const hex = basename(link);
      const kind = hex.length === 64 ? 'sha256' : 'git';
      files.push({ path: entry.split(sep).join('/'), size, hash: { kind, hex } });
    }
    requireAllParts(`hf:${repo.name} in ${snapshot}`, files);
    return files.length === 0 ? null : { repo, revision, commit, files };
  }

  /** A file's path in the cache, whether it is downloaded or not. */
  blobPath(repo: HubRepo, file: HubFile): string {
    return join(this.#folder(repo), 'blobs', file.hash.hex);
  }

  /** Whether the cache has a whole file, by its size; `fetchFile` also checks its hash. */
  async has(repo: HubRepo, file: HubFile): Promise<boolean> {
    return (await sizeOf(this.blobPath(repo, file))) === file.size;
  }

  /** Free bytes on the cache's disk; undefined if unknown. */
  async free(): Promise<number | undefined> {
    await inCache(this.cache, () => makeFolder(this.cache));
    return freeBytes(this.cache);
  }

  /**
   * Makes sure that the cache has a whole file with the right hash, and returns its path.
   *
   * @param onBytes called with the number of the file's bytes that the cache has
   * @throws DataError if the file cannot be downloaded; the signal's reason if the signal is aborted
   */
  async fetchFile(listing: HubListing, file: HubFile, onBytes: (bytes: number) => void): Promise<string> {
    const { repo } = listing;
    const blob = this.blobPath(repo, file);
    if ((await sizeOf(blob)) !== undefined) {
      if (await isIntact(blob, file, this.#signal)) {
        await this.#link(listing, file);
        onBytes(file.size);
        return blob;
      }
      await inCache(blob, () => rm(blob));
    }
    if (isOffline()) {
      const rule = `must be in the cache ${this.cache}, since HF_HUB_OFFLINE forbids requests to the hub`;
      throw new DataError(`hf:${repo.name}/${file.path}`, rule, 'none');
    }
    await inCache(blob, () => makeFolder(dirname(blob)));
    const incomplete = `${blob}.incomplete`;
    let wrong = 0;
    for (let failures = 0; ; ) {
      const before = (await sizeOf(incomplete)) ?? 0;
      try {
        await this.#append(listing, file, incomplete, before, onBytes);
        if (await isIntact(incomplete, file, this.#signal)) break;
        await inCache(incomplete, () => rm(incomplete));
        wrong++;
        throw new Error('bytes that do not have the hash which the hub names');
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (error instanceof FileError) throw error;
        const now = (await sizeOf(incomplete)) ?? 0;
        failures = now - before >= Math.min(LEAST_PROGRESS, file.size - before) ? 0 : failures + 1;
        if (wrong >= WRONG_FILES || failures >= TRIES || !isPassing(error)) {
          throw this.#explain(error, `hf:${repo.name}/${file.path}`, repo.type);
        }
        await this.#wait(failures, reasonOf(error));
      }
    }
    await inCache(blob, () => rename(incomplete, blob));
    await this.#link(listing, file);
    return blob;
  }

  /** Appends what is missing of a file; throws if the connection breaks, or more bytes arrive than were listed. */
  async #append(
    listing: HubListing,
    file: HubFile,
    path: string,
    have: number,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const start = have > file.size ? 0 : have;
    const out = await inCache(path, () => open(path, start === 0 ? 'w' : 'a'));
    try {
      onBytes(start);
      if (start < file.size) {
        const { repo, commit: revision } = listing;
        const place = { repo, path: file.path, revision, hubUrl: this.#endpoint, xet: false };
        const blob = await downloadFile({ ...place, fetch: (input, init) => this.#fetch(input, init) });
        if (blob === null) throw new Error('no such file');
        if (blob.size !== file.size) throw new Error(`${blob.size} bytes where ${file.size} were listed`);
        let at = start;
        const stream = (start === 0 ? blob : blob.slice(start)).stream();
        using silence = this.#watch(`hf:${repo.name}/${file.path}`);
        for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
          silence.broken();
          this.#signal?.throwIfAborted();
          if (at + chunk.length > file.size) {
            await inCache(path, () => out.truncate(0));
            throw new Error(`more than its ${file.size} bytes`);
          }
          await inCache(path, () => out.appendFile(chunk));
          at += chunk.length;
          onBytes(at);
        }
        if (at < file.size) throw new Error(`${at} of ${file.size} bytes`);
      }
      await inCache(path, () => out.sync());
    } finally {
      await out.close();
    }
  }

  /** Links the file under its own name too, where the hub's other clients look for it. */
  async #link(listing: HubListing, file: HubFile): Promise<void> {
    const folder = this.#folder(listing.repo);
    const pointer = join(folder, 'snapshots', listing.commit, file.path);
    await inCache(pointer, () => makeFolder(dirname(pointer)));
    // Where links are not allowed, the blob alone is enough for loopnn.
    await symlink(relative(dirname(pointer), this.blobPath(listing.repo, file)), pointer).catch(() => {});
    if (listing.revision === listing.commit) return;
    const ref = join(folder, 'refs', listing.revision);
    await inCache(ref, async () => {
      await makeFolder(dirname(ref));
      await writeFile(ref, listing.commit);
    });
  }

  #folder({ type, name }: HubRepo): string {
    return join(this.cache, [`${type}s`, ...name.split('/')].join('--'));
  }

  /** `fetch` that retries if the hub is busy or unreachable, and rejects a whole file where a range was requested. */
  async #fetch(input: Parameters<typeof fetch>[0], init: RequestInit = {}, tries = TRIES): Promise<Response> {
    const headers = new Headers(init.headers);
    const range = headers.get('range');
    const url = new URL(input instanceof Request ? input.url : input);
    // Set here, since the hub's client accepts tokens of one form only. A redirect to another origin drops the token.
    if (this.#token !== undefined && url.origin === new URL(this.#endpoint).origin) {
      headers.set('authorization', `Bearer ${this.#token}`);
    }
    const fetchOnce = await this.#fetchOnce;
    for (let failures = 0; ; ) {
      try {
        // Each request has its own signal: listeners that it adds to the command's signal would stay there to the end.
        const signal = this.#signal ? AbortSignal.any([this.#signal]) : null;
        using _silence = this.#watch(url.host);
        const response = await fetchOnce(url, { ...init, headers, signal });
        if (isBusy(response.status) && failures + 1 < tries) {
          await response.body?.cancel();
          await this.#wait(
            ++failures,
            `status ${response.status}`,
            Number(response.headers.get('retry-after')),
          );
          continue;
        }
        if (range !== null && response.status === 200) {
          await response.body?.cancel();
          throw new Refusal('a whole file where a part was asked for');
        }
        // Answers that are no files are short. They are read here, so that an answer that breaks off is retried.
        if (!response.ok || (range === null ? isJson(response) : range === 'bytes=0-0')) {
          const { status, headers } = response;
          return new Response(await readAnswer(response), { status, headers: decoded(headers) });
        }
        return response;
      } catch (error) {
        this.#signal?.throwIfAborted();
        if (error instanceof Refusal || ++failures >= tries) throw error;
        await this.#wait(failures, reasonOf(error));
      }
    }
  }

  /** Waits before another try, and reports the wait, repeatedly while it is long. */
  async #wait(failures: number, why: string, retryAfter = 0): Promise<void> {
    const backoff = this.#retryMs * 2 ** Math.max(0, failures - 1);
    const asked = Number.isFinite(retryAfter) ? retryAfter * 1000 : 0;
    const signal = this.#signal;
    for (let left = Math.min(LONGEST_WAIT_MS, Math.max(backoff, asked)); left > 0; left -= this.#silenceMs) {
      this.notice(`the hub: ${why}; tries again in ${Math.ceil(left / 1000)} s`);
      await delay(Math.min(left, this.#silenceMs), undefined, signal ? { signal } : {});
    }
  }

  /** Reports whenever nothing has come from a place for `silenceMs`; `broken` is called when something comes. */
  #watch(place: string) {
    let since = performance.now();
    const timer = setInterval(() => {
      const seconds = (performance.now() - since) / 1000;
      if (seconds * 1000 >= this.#silenceMs)
        this.notice(`${place}: nothing has come for ${Math.round(seconds)} s`);
    }, this.#silenceMs);
    return {
      broken: () => {
        since = performance.now();
      },
      [Symbol.dispose]: () => clearInterval(timer),
    };
  }

  #explain(error: unknown, where: string, type: HubRepo['type']): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    if (error instanceof DataError || error instanceof FileError) return error;
    if (error instanceof HubApiError) {
      const { statusCode } = error;
      if (statusCode === 401 || statusCode === 403) {
        const hint = `if the ${type} is private or gated, accept its terms, and log in by hf auth login or set HF_TOKEN; else it may not exist`;
        return new DataError(where, 'must be open to you', `status ${statusCode}`, hint);
      }
      if (statusCode === 404) return new DataError(where, `must be a ${type} on the hub`, 'status 404');
      return new Unreachable(where, `status ${statusCode}`);
    }
    return new Unreachable(where, reasonOf(error));
  }
}

const AGAIN = 'run the same command again to resume where it stopped';

/** The hub sends nothing, or the connection breaks. */
class Unreachable extends DataError {
  override readonly name = 'DataError';

  constructor(
    where: string,
    readonly reason: string,
  ) {
    super(where, 'must be available from the hub', reason, AGAIN);
  }
}

/** The error in a few words. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  const message = error instanceof Error ? error.message : String(error);
  // While a body streams, the client's error is not of the client's own class.
  return `${message.replace(/^Api error with status (\d+)\..*$/s, 'status $1')}${cause}`;
}

/** Throws DataError if files that are numbered parts of one (`-00001-of-00004`) are not all there. */
function requireAllParts(where: string, files: readonly HubFile[]): void {
  const found = new Map<string, number>();
  for (const { path } of files) {
    const stem = /^(.*)-\d{5}-of-(\d{5})\b/.exec(path);
    if (stem)
      found.set(`${stem[1]} of ${Number(stem[2])}`, (found.get(`${stem[1]} of ${Number(stem[2])}`) ?? 0) + 1);
  }
  for (const [stem, count] of found) {
    const all = Number(/\d+$/.exec(stem)![0]);
    if (count < all)
      throw new DataError(where, `must have all ${all} parts of ${stem.replace(/ of \d+$/, '')}`, count);
  }
}

/** An answer that cannot be used, and would be no better after a retry. */
class Refusal extends Error {}

function isBusy(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

function isJson(response: Response): boolean {
  return response.headers.get('content-type')?.startsWith('application/json') === true;
}

/** The whole body of an answer that is no file. Throws Refusal if the body is too long, or takes too long. */
async function readAnswer({ body }: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const end = performance.now() + LONGEST_ANSWER_MS;
  let size = 0;
  for await (const part of (body ?? []) as AsyncIterable<Uint8Array>) {
    parts.push(part);
    size += part.length;
    if (size > MOST_ANSWER_BYTES) throw new Refusal(`an answer of more than ${MOST_ANSWER_BYTES} bytes`);
    if (performance.now() > end)
      throw new Refusal(`an answer that took more than ${LONGEST_ANSWER_MS / 1000} s`);
  }
  return Buffer.concat(parts);
}

/** The headers of a body that `fetch` has unpacked already. */
function decoded(headers: Headers): Headers {
  const copy = new Headers(headers);
  copy.delete('content-encoding');
  copy.delete('content-length');
  return copy;
}

/** Whether trying again may help. */
function isPassing(error: unknown): boolean {
  if (error instanceof Refusal) return false;
  return !(error instanceof HubApiError) || isBusy(error.statusCode);
}

/** Does `work`, which writes a file of the cache. Throws FileError if the file system fails. */
function inCache<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
  return writing(file, work, 'HF_HUB_CACHE names the folder');
}

function hubFile(
  file: { path: string; size: number; oid?: string; lfs?: { oid: string; size: number } },
  where: string,
): HubFile {
  const unsafe = file.path.startsWith('/') || /(^|[/\\])\.\.([/\\]|$)/.test(file.path);
  const hash = file.lfs
    ? ({ kind: 'sha256', hex: file.lfs.oid } as const)
    : ({ kind: 'git', hex: file.oid ?? '' } as const);
  const size = file.lfs?.size ?? file.size;
  const valid = hash.kind === 'sha256' ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/;
  if (unsafe || !valid.test(hash.hex) || !Number.isSafeInteger(size) || size < 0) {
    throw new DataError(`${where}/${file.path}`, 'must have a safe path, a size and a hash', hash.hex);
  }
  return { path: file.path, size, hash };
}

/** Whether a file on disk has the size and the hash that the hub names. */
async function isIntact(path: string, file: HubFile, signal?: AbortSignal): Promise<boolean> {
  if ((await sizeOf(path)) !== file.size) return false;
  const hash = createHash(file.hash.kind === 'sha256' ? 'sha256' : 'sha1');
  if (file.hash.kind === 'git') hash.update(`blob ${file.size}\0`);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      signal?.throwIfAborted();
      hash.update(chunk as Buffer);
    }
  } catch (error) {
    throw fileError(error);
  }
  return hash.digest('hex') === file.hash.hex;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

/** Free bytes below a folder; undefined if unknown. */
export async function freeBytes(folder: string): Promise<number | undefined> {
  const status = await statfs(folder).catch(() => undefined);
  return status === undefined ? undefined : status.bavail * status.bsize;
}

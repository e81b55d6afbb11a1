/** The files of a built page, for a server of static files. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '../errors.js';

const PAGES = fileURLToPath(new URL('../../pages', import.meta.url));

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};

/**
 * The headers of a page: it shares memory with its workers, loads nothing from other origins and cannot be framed by
 * another page.
 */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'content-security-policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; " +
    "img-src 'self' data: blob:; worker-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-cache',
};

export interface ServedFile {
  readonly content: ReadableStream<Uint8Array>;
  readonly headers: Readonly<Record<string, string>>;
}

/** A file's content. The file is opened at the first read: a HEAD request reads nothing, and closes nothing. */
export function openedWhenRead(file: string): ReadableStream<Uint8Array> {
  async function* content(): AsyncGenerator<Uint8Array> {
    yield* createReadStream(file);
  }
  return ReadableStream.from(content());
}

/** A page that is built, by its name below `src/pages`. */
export class PageFiles {
  readonly folder: string;

  /** Throws ConfigError if the page is not built. */
  constructor(name: string) {
    this.folder = join(PAGES, name);
    if (existsSync(join(this.folder, 'index.html'))) return;
    throw new ConfigError(this.folder, 'must hold the built page', undefined, 'npm run build:web');
  }

  /** The file at a URL's path, `/` for the page itself; null if there is none. */
  file(path: string): ServedFile | null {
    let name: string;
    try {
      name = decodeURIComponent(path);
    } catch {
      return null;
    }
    const file = normalize(join(this.folder, name === '/' ? 'index.html' : name));
    if (name.includes('\0') || !file.startsWith(this.folder + sep)) return null;
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found?.isFile()) return null;
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    return {
      content: openedWhenRead(file),
      headers: { ...PAGE_HEADERS, 'content-type': type, 'content-length': String(found.size) },
    };
  }
}

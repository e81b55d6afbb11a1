/** The playground on a server of this machine: `loopnn play`, with a run in place of the model that comes with the page. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { openedWhenRead, PAGE_HEADERS, PageFiles, type ServedFile } from '../node/page-files.js';
import { openRun } from '../node/run.js';
import { ApiError } from '../serve/api-error.js';
import { requireOwnHost } from '../serve/host.js';
import { publishedFiles } from '../train/published.js';

export interface PlayOptions {
  /** Folder of a run to look at; the model that comes with the page by default. */
  readonly model?: string | undefined;
  /** Address to listen on; 127.0.0.1, which only this machine reaches, by default. */
  readonly host?: string;
  /** Port to listen on; 0, the default, is any free one. */
  readonly port?: number;
}

/** A playground that is served. */
export interface Playground extends AsyncDisposable {
  readonly url: string;
  /** Update that the run's weights are from; null for the model that comes with the page. */
  readonly step: number | null;
}

/** Files of a run up to this size are kept in memory. */
const KEPT_BYTES = 2 ** 20;
/** Where the page looks for its model. */
const MODEL = '/model/';

/**
 * Serves the playground until it is disposed of.
 *
 * @throws ConfigError where the page is not built, CheckpointError for a run that is damaged or none, DataError where it has no
 * tokenizer; what Node says where the port is taken
 *
 * @example
 * await using playground = await servePlayground({ model: 'runs/mine' });
 * console.log(playground.url);
 */
export async function servePlayground(options: PlayOptions = {}): Promise<Playground> {
  const { model, host = '127.0.0.1', port = 0 } = options;
  const page = new PageFiles('playground');
  const run = model === undefined ? null : await PublishedRun.open(model);
  const app = new Hono();
  app.onError((error, c) => c.text(error.message, error instanceof ApiError ? 403 : 500));
  app.use(async (c, next) => {
    requireOwnHost(host, c.req.header('host'));
    await next();
  });
  app.get('*', (c) => {
    const { pathname } = new URL(c.req.url);
    const own = run && pathname.startsWith(MODEL);
    const file = own ? run.file(pathname.slice(MODEL.length)) : page.file(pathname);
    return file ? c.body(file.content, 200, file.headers) : c.notFound();
  });
  const http = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  http.listen(port, host);
  await once(http, 'listening');
  const { address, port: taken, family } = http.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`,
    step: run?.step ?? null,
    async [Symbol.asyncDispose]() {
      const closed = once(http, 'close');
      http.close();
      http.closeAllConnections();
      await closed;
    },
  };
}

/** A run as it is published, of which what is large stays in its folder. */
class PublishedRun {
  private constructor(
    private readonly folder: string,
    readonly step: number,
    /** Each file's size, and its content where that is small. */
    private readonly files: ReadonlyMap<string, { readonly bytes: number; readonly kept: Uint8Array | null }>,
  ) {}

  static async open(folder: string): Promise<PublishedRun> {
    const run = await openRun(folder);
    await run.tokenizer(); // pages turn texts into tokens
    const published = await publishedFiles(run.store);
    const files = new Map<string, { bytes: number; kept: Uint8Array | null }>();
    for (const [name, content] of published.files) {
      const pieces: Uint8Array[] = [];
      let bytes = 0;
      for await (const piece of content) {
        bytes += piece.length;
        if (bytes <= KEPT_BYTES) pieces.push(piece.slice());
      }
      files.set(name, { bytes, kept: bytes <= KEPT_BYTES ? Buffer.concat(pieces) : null });
    }
    return new PublishedRun(folder, published.step, files);
  }

  /** The file at a path; null where there is none. */
  file(path: string): ServedFile | null {
    const found = this.files.get(path);
    if (!found) return null;
    const { bytes, kept } = found;
    return {
      content: kept ? ReadableStream.from([kept]) : openedWhenRead(join(this.folder, path)),
      headers: {
        ...PAGE_HEADERS,
        'content-type': path.endsWith('.json') ? 'application/json' : 'application/octet-stream',
        'content-length': String(bytes),
      },
    };
  }
}

/** The routes of `loopnn watch`. It must not handle sockets or signals. */
import { Hono } from 'hono';
import { ApiError } from '../serve/api-error.js';
import { requireOwnHost } from '../serve/host.js';
import type { ApiKeys } from '../serve/keys.js';
import { errorResponse } from '../serve/options.js';
import { keptAlive } from '../serve/stream.js';
import type { PageFiles } from '../node/page-files.js';
import { feed } from './feed.js';
import { EVENTS_PATH, type Message } from './messages.js';
import type { Watcher } from './watcher.js';

export interface WatchAppOptions {
  readonly watcher: Watcher;
  readonly page: PageFiles;
  readonly keys: ApiKeys;
  /** The address that the server listens on. */
  readonly host: string;
}

/** Maximum of pages at a time. */
const MOST_PAGES = 64;
/** Milliseconds of silence after which a connection gets a keep-alive. */
const SILENCE_MS = 10_000;

export function createWatchApp({ watcher, page, keys, host }: WatchAppOptions): Hono {
  const app = new Hono();
  let open = 0;
  app.onError(errorResponse);
  app.use(async (c, next) => {
    requireOwnHost(host, c.req.header('host'));
    await next();
  });
  app.get(`/${EVENTS_PATH}`, (c) => {
    keys.check(c.req.header('authorization'));
    if (open >= MOST_PAGES) throw new ApiError(503, `must be at most ${MOST_PAGES} pages at once`);
    const told = async function* () {
      open++;
      try {
        for await (const message of feed(watcher)) yield serverSent(message);
      } finally {
        open--;
      }
    };
    return c.body(ReadableStream.from(keptAlive(told(), SILENCE_MS)), 200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
  });
  // The page itself is no secret: what it shows is.
  app.get('*', (c) => {
    const file = page.file(c.req.path);
    if (!file) throw new ApiError(404, `${c.req.path}: must be a path of this server`);
    return c.body(file.content, 200, { ...file.headers });
  });
  return app;
}

/** A message as an event of a stream. */
function serverSent(message: Message): Uint8Array {
  return Buffer.from(`data: ${JSON.stringify(message)}\n\n`);
}

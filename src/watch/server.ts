/** An HTTP server that shows runs while they are trained. It must not handle terminals or signals. */
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { closeNow, listen, urlOf } from '../node/listening.js';
import { PageFiles } from '../node/page-files.js';
import type { ApiKeys } from '../serve/keys.js';
import { createWatchApp } from './app.js';
import { Watcher } from './watcher.js';

export interface WatchServerOptions {
  /** Folders below which runs lie, or will lie. */
  readonly folders: readonly string[];
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Bearer tokens, one of which the page must send; none for no such check. */
  readonly keys: ApiKeys;
  /** How often logs are read on; a second by default. */
  readonly pollMs?: number;
}

export class WatchServer implements AsyncDisposable {
  private constructor(
    private readonly watcher: Watcher,
    /** How many runs there were at the first look. */
    readonly found: Promise<number>,
    private readonly http: Server,
  ) {}

  /** Listens. Throws ConfigError if the page is not built, and Node's error for an address that is taken. */
  static async start({ folders, host, port, keys, pollMs }: WatchServerOptions): Promise<WatchServer> {
    const watcher = new Watcher(folders);
    const app = createWatchApp({ watcher, page: new PageFiles('watch'), keys, host });
    const http = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
    await listen(http, port, host);
    const found = watcher.change.then(() => watcher.runs.size);
    watcher.start(pollMs);
    return new WatchServer(watcher, found, http);
  }

  get url(): string {
    return urlOf(this.http);
  }

  /** Ends at once. */
  async close(): Promise<void> {
    await Promise.all([closeNow(this.http), this.watcher.close()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** An HTTP server that shows runs while they are trained. Knows no terminal and no signals. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
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

export class WatchServer {
  private constructor(
    private readonly watcher: Watcher,
    /** How many runs there were at the first look. */
    readonly found: Promise<number>,
    private readonly http: Server,
  ) {}

  /** Listens. Throws ConfigError where the page is not built, and Node's error for an address that is taken. */
  static async start({ folders, host, port, keys, pollMs }: WatchServerOptions): Promise<WatchServer> {
    const watcher = new Watcher(folders);
    const app = createWatchApp({ watcher, page: new PageFiles('watch'), keys, host });
    const http = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
    http.listen(port, host);
    await once(http, 'listening');
    const found = watcher.change.then(() => watcher.runs.size);
    watcher.start(pollMs);
    return new WatchServer(watcher, found, http);
  }

  get url(): string {
    const { address, port, family } = this.http.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Ends at once. */
  async close(): Promise<void> {
    const closed = once(this.http, 'close');
    this.http.close();
    this.http.closeAllConnections();
    await Promise.all([closed, this.watcher.close()]);
  }
}

/**
 * The playground on a server of this machine: `loopnn play`, with a run, or the model that comes with the page.
 */
import { type OptionNames, requireOptionNames } from '../fields.js';
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { closeNow, listen, urlOf } from '../node/listening.js';
import { PageFiles } from '../node/page-files.js';
import { PublishedRun } from '../node/published-run.js';
import { requireOwnHost } from '../serve/host.js';
import { errorResponse } from '../serve/options.js';
import { CHECKSUMS_FILE } from '../train/checksums.js';

export interface PlayOptions {
  /** Folder of a run to look at; the model that comes with the page by default. */
  readonly model?: string | undefined;
  /** Address to listen on; 127.0.0.1, which only this machine reaches, by default. */
  readonly host?: string;
  /** Port to listen on; 0, the default, is any free one. */
  readonly port?: number;
}

const PLAY_OPTIONS: OptionNames<PlayOptions> = {
  model: true,
  host: true,
  port: true,
};

/** A playground that is served. */
export interface Playground extends AsyncDisposable {
  readonly url: string;
  /** Update that the run's weights are from; null for the model that comes with the page. */
  readonly step: number | null;
  /** Ends it at once. */
  close(): Promise<void>;
}

/** The path at which the page looks for its model. */
const MODEL = '/model/';

/**
 * Serves the playground until it is closed, or disposed of.
 *
 * @throws ConfigError if the page is not built, CheckpointError if there is no run or it is damaged, DataError if it
 * has no tokenizer; Node's error if the port is taken
 *
 * @example
 * const playground = await servePlayground({ model: 'runs/mine' });
 * console.log(await (await fetch(playground.url)).text());
 * await playground.close();
 */
export async function servePlayground(options: PlayOptions = {}): Promise<Playground> {
  requireOptionNames('servePlayground', options, PLAY_OPTIONS);
  const { model, host = '127.0.0.1', port = 0 } = options;
  const page = new PageFiles('playground');
  let run = model === undefined ? null : await PublishedRun.open(model);
  const app = new Hono();
  app.onError(errorResponse);
  app.use(async (c, next) => {
    requireOwnHost(host, c.req.header('host'));
    await next();
  });
  app.get('*', async (c) => {
    const { pathname } = new URL(c.req.url);
    // The page asks for the checksums first.
    if (run && pathname === MODEL + CHECKSUMS_FILE && (await run.isReplaced())) {
      run = await PublishedRun.open(model!);
    }
    const file =
      run && pathname.startsWith(MODEL) ? run.file(pathname.slice(MODEL.length)) : page.file(pathname);
    return file ? c.body(file.content, 200, file.headers) : c.notFound();
  });
  const http = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  await listen(http, port, host);
  const close = () => closeNow(http);
  return { url: urlOf(http), step: run?.step ?? null, close, [Symbol.asyncDispose]: close };
}

/**
 * An HTTP server around a run: starts its engine, limits slow and greedy clients, and stops without cutting off running
 * answers. It must not handle terminals or signals.
 */
import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { basename, resolve } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { ConfigError } from '../errors.js';
import { closeNow, listen, urlOf } from '../node/listening.js';
import { PageFiles } from '../node/page-files.js';
import { createApp } from './app.js';
import { EngineThread } from './engine-thread.js';
import type { Exchange } from './exchange.js';
import type { ServerState } from './gate.js';
import type { ApiKeys } from './keys.js';
import type { EngineOptions, ModelInfo } from './messages.js';
import { Metrics } from './metrics.js';
import { ROUTES } from './paths.js';

export interface Limits {
  /** Sequences that wait for a place in the running batch; further requests are rejected. */
  readonly maxQueue: number;
  /** Longest time from a request to the end of its answer. */
  readonly timeoutMs: number;
  /** Longest body. Parsing it blocks all clients for some milliseconds. */
  readonly bodyBytes: number;
  /** All headers of a request together. */
  readonly headerBytes: number;
  /** Longest time a client may take to send its headers. */
  readonly headersTimeoutMs: number;
  /** Longest time a client may take to send a whole request. */
  readonly requestTimeoutMs: number;
  /** Longest time for running answers after the server has been asked to end. */
  readonly drainTimeoutMs: number;
  /**
   * Longest time that a connection may wait for its next request: longer than the pools of clients and proxies keep
   * theirs.
   */
  readonly keepAliveMs: number;
  /** How long a stream waits for its first token before it sends its headers, and the longest silence after that. */
  readonly firstByteMs: number;
  readonly silenceMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxQueue: 64,
  timeoutMs: 600_000,
  bodyBytes: 2 ** 20,
  headerBytes: 16 * 2 ** 10,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  drainTimeoutMs: 30_000,
  keepAliveMs: 75_000,
  firstByteMs: 250,
  silenceMs: 10_000,
};

/** How often the timeouts of senders are checked. */
const CHECK_MS = 500;
/** A connection counts as dead after this idle time beyond an answer's time limit. */
const IDLE_MARGIN_MS = 10_000;

export interface ServeOptions extends EngineOptions {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Bearer tokens, one of which every request but `/health` must carry; none for no such check. */
  readonly keys: ApiKeys;
  /** The model's names in requests; the folder's name if there are none. */
  readonly modelNames: readonly string[];
  /** Origins whose pages may send requests, `*` for any; none for no page. */
  readonly cors: readonly string[];
  /** Whether `/` is a page to try the model on. */
  readonly page: boolean;
  readonly limits: Limits;
  /** Takes one line for each request. */
  readonly log: (line: string) => void;
  /** Takes lines that concern the whole server. */
  readonly notice: (line: string) => void;
}

/** A server that listens; it loads its model meanwhile. */
export class ModelServer implements AsyncDisposable {
  /** Resolves once the model answers; rejects with the error that prevented it. */
  readonly ready: Promise<ModelInfo>;
  /** Rejects when the model cannot be loaded, or the engine dies; never resolves. */
  readonly failed: Promise<never>;
  #state: ServerState = 'loading';
  readonly #engine: EngineThread;
  readonly #metrics = new Metrics();
  readonly #open = new Set<Exchange>();
  readonly #http: Server;

  private constructor(private readonly options: ServeOptions) {
    const { keys, limits, folder, maxSequences, notice, modelNames, host, cors, page } = options;
    this.#engine = new EngineThread(options, notice);
    this.ready = this.#engine.ready;
    this.failed = this.#engine.failed;
    this.ready.then(
      () => {
        if (this.#state === 'loading') this.#state = 'ok';
      },
      () => {},
    );
    const app = createApp({
      engine: this.#engine,
      metrics: this.#metrics,
      keys,
      modelIds: modelNames.length > 0 ? modelNames : [basename(resolve(folder))],
      host,
      cors,
      page: page ? builtPage(notice) : null,
      capacity: maxSequences + limits.maxQueue,
      bodyBytes: limits.bodyBytes,
      timeoutMs: limits.timeoutMs,
      firstByteMs: limits.firstByteMs,
      silenceMs: limits.silenceMs,
      state: () => this.#state,
      begun: (exchange) => this.#begun(exchange),
    });
    this.#http = createAdaptorServer({
      fetch: app.fetch,
      overrideGlobalObjects: false,
      serverOptions: {
        maxHeaderSize: limits.headerBytes,
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        keepAliveTimeout: limits.keepAliveMs,
        connectionsCheckingInterval: CHECK_MS,
      },
    }) as Server;
    this.#http.setTimeout(limits.timeoutMs + IDLE_MARGIN_MS);
    closeWaitingResponses(this.#http);
  }

  /** Listens. Throws Node's error for an address that is taken. */
  static async start(options: ServeOptions): Promise<ModelServer> {
    const server = new ModelServer(options);
    try {
      await listen(server.#http, options.port, options.host);
    } catch (error) {
      await server.#end();
      throw error;
    }
    return server;
  }

  get url(): string {
    return urlOf(this.#http);
  }

  /** Rejects new requests, waits for running answers, at most `drainTimeoutMs`, and ends. */
  async drain(): Promise<void> {
    this.#state = 'draining';
    const { limits, notice } = this.options;
    const timer = setTimeout(() => {
      notice(`${this.#open.size} answers are cut off: the time to finish them is over`);
      this.#http.closeAllConnections();
    }, limits.drainTimeoutMs);
    while (this.#open.size > 0) await Promise.all([...this.#open].map(({ ended }) => ended));
    clearTimeout(timer);
    await this.close();
  }

  /** Ends at once, and cuts off running answers. */
  async close(): Promise<void> {
    await closeNow(this.#http);
    await this.#end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #end(): Promise<void> {
    this.#metrics.dispose();
    await this.#engine.close();
  }

  #begun(exchange: Exchange): void {
    this.#open.add(exchange);
    exchange.ended.then((status) => {
      this.#open.delete(exchange);
      this.#metrics.requests.add(1, { route: routeOf(exchange.path), status });
      this.options.log(exchange.line(status));
    });
  }
}

/**
 * Closes the responses that wait behind another on a connection (pipelining) when the connection is closed: Node
 * informs only the response that is being sent, so the others would stay open forever.
 */
function closeWaitingResponses(http: Server): void {
  const open = new WeakMap<Socket, Set<ServerResponse>>();
  http.on('connection', (socket: Socket) => {
    const responses = new Set<ServerResponse>();
    open.set(socket, responses);
    socket.once('close', () => {
      for (const response of responses) {
        if (response.socket !== null) continue;
        response.destroy();
        response.emit('close');
      }
    });
  });
  http.on('request', ({ socket }, response) => {
    const responses = open.get(socket)!;
    responses.add(response);
    response.once('close', () => responses.delete(response));
  });
}

/** The server's page; null, with a notice, if it is not built: the API does not need it. */
function builtPage(notice: (line: string) => void): PageFiles | null {
  try {
    return new PageFiles('serve');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    notice(`no page at /: ${error.message}`);
    return null;
  }
}

/** The route of a path, so that unknown paths create no metric series. */
function routeOf(path: string): string {
  if (path.startsWith(`${ROUTES.models}/`)) return ROUTES.model;
  return Object.values(ROUTES).find((route) => route === path) ?? 'other';
}

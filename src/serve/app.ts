/** The routes and their answers. It must not handle sockets or signals. */
import { randomUUID } from 'node:crypto';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import { type Envelope, type Format, streamedAnswer, wholeAnswer } from './answer.js';
import { ApiError } from './api-error.js';
import { readJSON } from './body.js';
import { chatFormat, readChat } from './chat.js';
import { completionFormat, readCompletion } from './completions.js';
import { Deadline } from './deadline.js';
import { exitCount } from '../models/config.js';
import { exitCriteria } from '../models/exits/options.js';
import type { PageFiles } from '../node/page-files.js';
import type { EngineThread, RunEvent } from './engine-thread.js';
import { CLIENT_LEFT, Exchange } from './exchange.js';
import { Fields } from './fields.js';
import { Gate, type GateOptions } from './gate.js';
import { requireOwnHost } from './host.js';
import type { ApiKeys } from './keys.js';
import type { ModelInfo } from './messages.js';
import { metered } from './meter.js';
import { METRICS_TYPE, type Metrics } from './metrics.js';
import { errorResponse, mostLoops } from './options.js';
import { isPageFile, methodOf, nowhere, ROUTES, routed } from './paths.js';
import type { CompletionRequest } from './requests.js';
import { keptAlive, soonOrLater } from './stream.js';
import { detokenized, tokenized, tokenizerInfo } from './tokenizer-routes.js';

export interface AppOptions extends GateOptions {
  readonly engine: EngineThread;
  readonly metrics: Metrics;
  readonly keys: ApiKeys;
  readonly bodyBytes: number;
  /** Longest time from a request to the end of its answer. */
  readonly timeoutMs: number;
  /** The address that the server listens on. */
  readonly host: string;
  /** Origins whose pages may send requests, `*` for any; none for no page. */
  readonly cors: readonly string[];
  /** The page at `/`; null for none. */
  readonly page: PageFiles | null;
  /**
   * How long a stream waits for its first token before it sends a keep-alive comment, and the time between two of them.
   */
  readonly firstByteMs: number;
  readonly silenceMs: number;
  /** Receives each exchange as it begins. */
  readonly begun: (exchange: Exchange) => void;
}

type Env = { Bindings: HttpBindings; Variables: { exchange: Exchange } };
type Handler = (c: Context<Env>) => Promise<Response>;

/** The differences of the two kinds of completion: how a body is parsed, and how its answer is formatted. */
interface Kind {
  readonly read: (fields: Fields, info: ModelInfo) => CompletionRequest;
  readonly format: Format;
}

export function createApp(options: AppOptions): Hono<Env> {
  const { engine, metrics, keys, modelIds, state, host } = options;
  const gate = new Gate(options);
  const app = new Hono<Env>({ getPath: (request) => routed(new URL(request.url).pathname) });

  app.use(async (c, next) => {
    const exchange = new Exchange(c.req.method, c.req.path, c.req.header('x-request-id'));
    c.set('exchange', exchange);
    options.begun(exchange);
    const { outgoing } = c.env;
    outgoing.once('close', () => exchange.end(outgoing.writableFinished ? outgoing.statusCode : CLIENT_LEFT));
    await next();
    c.res.headers.set('x-request-id', exchange.id);
    if (state() === 'draining') c.res.headers.set('connection', 'close');
  });
  app.onError((error, c) => {
    c.get('exchange').failed(error);
    return errorResponse(error);
  });
  app.notFound((c) => {
    throw nowhere(c.req.method, c.req.path);
  });
  app.use(async (c, next) => {
    requireOwnHost(host, c.req.header('host'));
    await next();
  });
  // Before the check of keys: a browser's preflight request carries none.
  if (options.cors.length > 0) {
    const origin = options.cors.includes('*') ? '*' : [...options.cors];
    app.use(cors({ origin, allowMethods: ['GET', 'POST'], exposeHeaders: ['x-request-id'], maxAge: 600 }));
  }

  // The page asks for a key itself, and reports that the model is being loaded.
  const { page } = options;
  if (page) {
    app.get('*', async (c, next) => {
      const file = isPageFile(c.req.path) ? page.file(c.req.path) : null;
      return file ? c.body(file.content, 200, { ...file.headers }) : next();
    });
  }
  app.get(ROUTES.health, (c) => c.json({ status: state() }, state() === 'ok' ? 200 : 503));
  app.use(async (c, next) => {
    keys.check(c.req.header('authorization'));
    await next();
  });
  app.get(ROUTES.metrics, (c) => c.body(metrics.render(engine.load), 200, { 'content-type': METRICS_TYPE }));
  for (const path of ['/v1/*', ROUTES.tokenizerInfo, ROUTES.tokenize, ROUTES.detokenize]) {
    app.use(path, async (_, next) => {
      gate.requireOpen();
      await next();
    });
  }

  const created = secondsNow();
  const modelOf = (id: string, { config, loops }: ModelInfo) => ({
    id,
    object: 'model',
    created,
    owned_by: 'loopnn',
    max_model_len: config.blockSize,
    loops: { default: loops ?? exitCount(config), most: mostLoops(config) },
    exit_criteria: exitCriteria(config),
  });
  app.get(ROUTES.models, async (c) => {
    const info = await engine.ready;
    return c.json({ object: 'list', data: modelIds.map((id) => modelOf(id, info)) });
  });
  app.get(ROUTES.model, async (c) => {
    const id = c.req.param('id');
    gate.requireModel(id);
    return c.json(modelOf(id, await engine.ready));
  });
  const fieldsOf = async (c: Context<Env>) => new Fields(await readJSON(c.env.incoming, options.bodyBytes));
  app.get(ROUTES.tokenizerInfo, async (c) => c.json(tokenizerInfo(await engine.ready)));
  app.post(ROUTES.tokenize, async (c) => c.json(await tokenized(await fieldsOf(c), engine)));
  app.post(ROUTES.detokenize, async (c) => c.json(await detokenized(await fieldsOf(c), engine)));
  const completion: Kind = { read: readCompletion, format: completionFormat };
  const chat: Kind = { read: readChat, format: chatFormat };
  app.post(ROUTES.completions, completing(completion, gate, options));
  app.post(ROUTES.chat, completing(chat, gate, options));
  for (const [name, path] of Object.entries(ROUTES)) {
    const allow = methodOf(name as keyof typeof ROUTES);
    app.all(path, (c) => {
      throw new ApiError(405, `${c.req.method}: must be ${allow} here`, { headers: { allow } });
    });
  }
  return app;
}

/** Answers completions of a kind, whole or as a stream. */
function completing({ read, format }: Kind, gate: Gate, options: AppOptions): Handler {
  const { engine, metrics, bodyBytes, firstByteMs, silenceMs } = options;
  return async (c) => {
    const info = await engine.ready;
    const exchange = c.get('exchange');
    const fields = new Fields(await readJSON(c.env.incoming, bodyBytes));
    const model = fields.requiredText('model');
    gate.requireModel(model);
    const request = read(fields, info);
    gate.requireRoom(request, engine.inFlight, metrics.answers.mean);
    const envelope: Envelope = {
      id: `${format.idPrefix}-${randomUUID()}`,
      created: secondsNow(),
      model,
      system_fingerprint: info.fingerprint,
    };
    const events = generate(c, request, options);
    if (!request.stream) return c.json(await wholeAnswer(events, request, format, envelope));
    // An error before the first token, or before the first keep-alive, has its own status.
    const rest = await soonOrLater(events, firstByteMs);
    const chunks = streamedAnswer(rest, request, format, envelope, (error) => exchange.failed(error));
    return c.body(ReadableStream.from(keptAlive(chunks, silenceMs)), 200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    });
  };
}

/** The events of a request, counted; ends with an error when the time is over or the client has disconnected. */
async function* generate(
  c: Context<Env>,
  request: CompletionRequest,
  { engine, metrics, timeoutMs }: AppOptions,
): AsyncGenerator<RunEvent, void> {
  using deadline = new Deadline(timeoutMs, c.req.raw.signal);
  yield* metered(engine.run(request.tasks, deadline.signal), request, c.get('exchange'), metrics);
}

/** Seconds since 1970. */
function secondsNow(): number {
  return Math.floor(Date.now() / 1000);
}

/** The routes, and how each is answered. Knows no sockets and no signals. */
import { randomUUID } from 'node:crypto';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { type Envelope, type Format, streamedAnswer, wholeAnswer } from './answer.js';
import { ApiError } from './api-error.js';
import { readJSON } from './body.js';
import { chatFormat, readChat } from './chat.js';
import { completionFormat, readCompletion } from './completions.js';
import { Deadline } from './deadline.js';
import type { EngineThread, RunEvent } from './engine-thread.js';
import { CLIENT_LEFT, Exchange } from './exchange.js';
import { Fields } from './fields.js';
import { Gate, type GateOptions } from './gate.js';
import type { ApiKeys } from './keys.js';
import type { ModelInfo } from './messages.js';
import { metered } from './meter.js';
import { METRICS_TYPE, type Metrics } from './metrics.js';
import { apiError } from './options.js';
import type { CompletionRequest } from './requests.js';

export interface AppOptions extends GateOptions {
  readonly engine: EngineThread;
  readonly metrics: Metrics;
  readonly keys: ApiKeys;
  readonly bodyBytes: number;
  /** Longest time from a request to the end of its answer. */
  readonly timeoutMs: number;
  /** Hears of each exchange as it begins. */
  readonly begun: (exchange: Exchange) => void;
}

type Env = { Bindings: HttpBindings; Variables: { exchange: Exchange } };
type Handler = (c: Context<Env>) => Promise<Response>;

/** What differs between the two kinds of completion: what a body asks for, and how its answer looks. */
interface Kind {
  readonly read: (fields: Fields, info: ModelInfo) => CompletionRequest;
  readonly format: Format;
}

export const ROUTES = {
  models: '/v1/models',
  model: '/v1/models/:id',
  completions: '/v1/completions',
  chat: '/v1/chat/completions',
  health: '/health',
  metrics: '/metrics',
} as const;

export function createApp(options: AppOptions): Hono<Env> {
  const { engine, metrics, keys, modelId, state } = options;
  const gate = new Gate(options);
  const app = new Hono<Env>();

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
    const { status, body, details } = apiError(error);
    c.get('exchange').failed(error);
    return new Response(JSON.stringify(body), {
      status,
      headers: { 'content-type': 'application/json', ...details.headers },
    });
  });
  app.notFound((c) => {
    throw new ApiError(404, `${c.req.method} ${c.req.path.slice(0, 100)}: no such path`, {
      code: 'unknown_url',
    });
  });

  app.get(ROUTES.health, (c) => c.json({ status: state() }, state() === 'ok' ? 200 : 503));
  app.use(async (c, next) => {
    keys.check(c.req.header('authorization'));
    await next();
  });
  app.get(ROUTES.metrics, (c) => c.body(metrics.render(engine.load), 200, { 'content-type': METRICS_TYPE }));
  app.use('/v1/*', async (_, next) => {
    gate.requireOpen();
    await next();
  });

  const model = { id: modelId, object: 'model', created: secondsNow(), owned_by: 'loopnn' };
  app.get(ROUTES.models, (c) => c.json({ object: 'list', data: [model] }));
  app.get(ROUTES.model, (c) => {
    gate.requireModel(c.req.param('id'));
    return c.json(model);
  });
  const completion: Kind = { read: readCompletion, format: completionFormat };
  const chat: Kind = { read: readChat, format: chatFormat };
  app.post(ROUTES.completions, completing(completion, gate, options));
  app.post(ROUTES.chat, completing(chat, gate, options));
  for (const [name, path] of Object.entries(ROUTES)) {
    const allow = name === 'completions' || name === 'chat' ? 'POST' : 'GET';
    app.all(path, (c) => {
      throw new ApiError(405, `${c.req.method}: must be ${allow} here`, { headers: { allow } });
    });
  }
  return app;
}

/** Answers completions of a kind, whole or as a stream. */
function completing({ read, format }: Kind, gate: Gate, options: AppOptions): Handler {
  const { engine, metrics, modelId, bodyBytes } = options;
  return async (c) => {
    const info = await engine.ready;
    const exchange = c.get('exchange');
    const fields = new Fields(await readJSON(c.env.incoming, bodyBytes));
    gate.requireModel(fields.requiredText('model'));
    const request = read(fields, info);
    gate.requireRoom(request, engine.inFlight, metrics.answers.mean);
    const envelope: Envelope = {
      id: `${format.idPrefix}-${randomUUID()}`,
      created: secondsNow(),
      model: modelId,
      system_fingerprint: info.fingerprint,
    };
    const events = generate(c, request, options);
    if (!request.stream) return c.json(await wholeAnswer(events, request, format, envelope));
    // What fails before the first token has a status of its own.
    const first = await events.next();
    const rest = resumed(first, events);
    const chunks = streamedAnswer(rest, request, format, envelope, (error) => exchange.failed(error));
    return c.body(ReadableStream.from(chunks), 200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    });
  };
}

/** The events of a request, counted; ends with an error when the time is over or the client has left. */
async function* generate(
  c: Context<Env>,
  request: CompletionRequest,
  { engine, metrics, timeoutMs }: AppOptions,
): AsyncGenerator<RunEvent, void> {
  using deadline = new Deadline(timeoutMs, c.req.raw.signal);
  yield* metered(engine.run(request.tasks, deadline.signal), request, c.get('exchange'), metrics);
}

/** An iterator of which one value has been taken already. */
async function* resumed(
  first: IteratorResult<RunEvent, void>,
  rest: AsyncGenerator<RunEvent, void>,
): AsyncGenerator<RunEvent, void> {
  try {
    if (!first.done) yield first.value;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** Seconds since 1970. */
function secondsNow(): number {
  return Math.floor(Date.now() / 1000);
}

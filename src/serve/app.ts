/** The routes: who may ask, what is refused, who answers. Knows no sockets and no signals. */
import { randomUUID } from 'node:crypto';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { type Envelope, type Format, streamedAnswer, wholeAnswer } from './answer.js';
import { ApiError, wrongField } from './api-error.js';
import { readJSON } from './body.js';
import { chatFormat, readChat } from './chat.js';
import { completionFormat, readCompletion } from './completions.js';
import type { EngineThread, RunEvent } from './engine-thread.js';
import { Exchange } from './exchange.js';
import { Fields } from './fields.js';
import type { ApiKeys } from './keys.js';
import type { ModelInfo } from './messages.js';
import { METRICS_TYPE, type Metrics } from './metrics.js';
import { apiError } from './options.js';
import type { CompletionRequest } from './requests.js';

export type ServerState = 'loading' | 'ok' | 'draining';

export interface AppOptions {
  readonly engine: EngineThread;
  readonly metrics: Metrics;
  readonly keys: ApiKeys;
  /** The model's name in requests. */
  readonly modelId: string;
  /** Sequences that may run or wait. */
  readonly capacity: number;
  readonly bodyBytes: number;
  /** Longest time from a request to the end of its answer. */
  readonly timeoutMs: number;
  readonly state: () => ServerState;
  /** Hears of each exchange as it begins. */
  readonly begun: (exchange: Exchange) => void;
}

type Env = { Bindings: HttpBindings; Variables: { exchange: Exchange } };
type Read = (fields: Fields, info: ModelInfo) => CompletionRequest;

export const ROUTES = {
  models: '/v1/models',
  model: '/v1/models/:id',
  completions: '/v1/completions',
  chat: '/v1/chat/completions',
  health: '/health',
  metrics: '/metrics',
} as const;

/** Seconds after which a server that loads is worth another look. */
const LOADING_SECONDS = 5;
/** Longest `retry-after`, in seconds. */
const LONGEST_RETRY = 60;
/** What nginx logs for a client that left before its answer. */
const CLIENT_LEFT = 499;

export function createApp(options: AppOptions): Hono<Env> {
  const { engine, metrics, keys, modelId, capacity, state } = options;
  const started = Math.floor(Date.now() / 1000);
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
    if (state() === 'draining') throw new ApiError(503, 'the server is shutting down');
    if (state() === 'loading') {
      const headers = { 'retry-after': String(LOADING_SECONDS) };
      throw new ApiError(503, 'the model is being loaded', { headers });
    }
    await next();
  });

  const model = { id: modelId, object: 'model', created: started, owned_by: 'loopnn' };
  const requireModel = (id: string) => {
    if (id === modelId) return;
    const message = `model: must be '${modelId}', got '${id.slice(0, 100)}'`;
    throw new ApiError(404, message, { param: 'model', code: 'model_not_found' });
  };
  app.get(ROUTES.models, (c) => c.json({ object: 'list', data: [model] }));
  app.get(ROUTES.model, (c) => {
    requireModel(c.req.param('id'));
    return c.json(model);
  });

  const complete = (read: Read, format: Format) => async (c: Context<Env>) => {
    const info = await engine.ready;
    const exchange = c.get('exchange');
    const fields = new Fields(await readJSON(c.env.incoming, options.bodyBytes));
    requireModel(fields.requiredText('model'));
    const request = read(fields, info);
    const { length } = request.tasks;
    if (length > capacity)
      throw wrongField(
        request.n > 1 ? 'n' : 'prompt',
        `asks for more sequences than the ${capacity} served`,
        length,
      );
    if (engine.inFlight + length > capacity) {
      const seconds = Math.min(LONGEST_RETRY, Math.max(1, Math.ceil(metrics.answers.mean)));
      const headers = { 'retry-after': String(seconds) };
      throw new ApiError(429, 'too many requests are waiting', { code: 'rate_limit_exceeded', headers });
    }
    const envelope: Envelope = {
      id: `${format.idPrefix}-${randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: modelId,
      system_fingerprint: info.fingerprint,
    };
    const events = generate(c, request);
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

  /** The events of a request, counted; ends with an error when the time is over or the client has left. */
  async function* generate(c: Context<Env>, { tasks, n }: CompletionRequest): AsyncGenerator<RunEvent, void> {
    const exchange = c.get('exchange');
    const controller = new AbortController();
    const timer = setTimeout(() => {
      const headers = { 'x-should-retry': 'false' };
      const message = `the answer took longer than ${options.timeoutMs / 1000} seconds`;
      controller.abort(new ApiError(504, message, { code: 'timeout', headers }));
    }, options.timeoutMs);
    const leave = () => controller.abort(new ApiError(CLIENT_LEFT, 'the client has left'));
    const { signal } = c.req.raw;
    if (signal.aborted) leave();
    else signal.addEventListener('abort', leave);
    const last = tasks.map(() => exchange.startedAt);
    try {
      for await (const event of engine.run(tasks, controller.signal)) {
        const { index, at, token, end } = event;
        if (token) {
          const times = last[index] === exchange.startedAt ? metrics.firstToken : metrics.betweenTokens;
          times.observe((at - last[index]) / 1000);
          last[index] = at;
          exchange.tokens++;
          metrics.tokens.add(1);
          metrics.loops.add(token.steps);
        } else if (index % n === 0) {
          exchange.promptTokens += end.promptTokens;
          metrics.promptTokens.add(end.promptTokens);
        }
        yield event;
      }
      metrics.answers.observe((performance.now() - exchange.startedAt) / 1000);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    }
  }

  app.post(ROUTES.completions, complete(readCompletion, completionFormat));
  app.post(ROUTES.chat, complete(readChat, chatFormat));
  for (const [name, path] of Object.entries(ROUTES)) {
    const allow = name === 'completions' || name === 'chat' ? 'POST' : 'GET';
    app.all(path, (c) => {
      throw new ApiError(405, `${c.req.method}: must be ${allow} here`, { headers: { allow } });
    });
  }
  return app;
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

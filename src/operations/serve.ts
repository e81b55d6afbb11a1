/** An OpenAI-compatible server for a run: `loopnn serve`, and `serveModel` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { ApiKeys } from '../serve/keys.js';
import { DEFAULT_LIMITS, type Limits, ModelServer } from '../serve/server.js';
import { type OpenOptions, openOptions } from './open.js';

export interface ServeModelOptions extends OpenOptions {
  /** Folder of a trained run. */
  readonly model: string;
  /** Address to listen on; 127.0.0.1, which only this machine reaches, by default. */
  readonly host?: string;
  /** Port to listen on; 0, the default, is any free one. */
  readonly port?: number;
  /** Keys, one of which clients must send; without keys the server is open. */
  readonly apiKeys?: readonly string[] | ApiKeys;
  /** The model's names in requests; the folder's name by default. */
  readonly modelNames?: readonly string[] | undefined;
  /** Origins whose pages may send requests, `*` for any; none by default. */
  readonly cors?: readonly string[] | undefined;
  /** Whether `/` is a page to try the model on; true by default. */
  readonly page?: boolean;
  /** A chat template in Jinja, instead of the model's own. */
  readonly chatTemplate?: string | undefined;
  /** Loops, steps or layers for each token of requests without the field; all by default. */
  readonly loops?: number | undefined;
  /** Sequences that run at once; 8 by default. */
  readonly maxConcurrency?: number;
  /** Limits that replace those of `DEFAULT_LIMITS`. */
  readonly limits?: Partial<Limits>;
  /** Takes one line for each request. */
  readonly log?: (line: string) => void;
  /** Takes lines that concern the whole server. */
  readonly onNotice?: (line: string) => void;
}

const SERVE_OPTIONS: OptionNames<ServeModelOptions> = {
  backend: true,
  precision: true,
  weights: true,
  kvSharing: true,
  kvLoops: true,
  model: true,
  host: true,
  port: true,
  apiKeys: true,
  modelNames: true,
  cors: true,
  page: true,
  chatTemplate: true,
  loops: true,
  maxConcurrency: true,
  limits: true,
  log: true,
  onNotice: true,
};

/**
 * Serves a run's model by OpenAI's API. The server listens when this resolves; `ready` resolves when its model answers,
 * `drain` ends it in order and `close` at once.
 *
 * @throws ConfigError for keys that no header can carry; Node's error if the port is taken
 *
 * @example
 * const server = await serveModel({ model: 'runs/mine' });
 * await server.ready;
 * console.log(await (await fetch(`${server.url}/v1/models`)).json());
 * await server.close();
 */
export async function serveModel(options: ServeModelOptions): Promise<ModelServer> {
  requireOptionNames('serveModel', options, SERVE_OPTIONS);
  if (options.limits) requireOptionNames('limits', options.limits, DEFAULT_LIMITS);
  const { model, host = '127.0.0.1', port = 0, apiKeys = [], maxConcurrency = 8, limits } = options;
  const { log = () => {}, onNotice = () => {}, chatTemplate = null, loops = null } = options;
  return ModelServer.start({
    folder: model,
    run: openOptions(options),
    chatTemplate,
    loops,
    maxSequences: maxConcurrency,
    host,
    port,
    keys: apiKeys instanceof ApiKeys ? apiKeys : new ApiKeys(apiKeys, 'apiKeys'),
    modelNames: options.modelNames ?? [],
    cors: options.cors ?? [],
    page: options.page ?? true,
    limits: { ...DEFAULT_LIMITS, ...limits },
    log,
    notice: onNotice,
  });
}

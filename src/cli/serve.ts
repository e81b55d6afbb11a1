/** `loopnn serve`: an OpenAI-compatible server for a trained run. */
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { ConfigError } from '../errors.js';
import { isLoopback } from '../serve/host.js';
import { DEFAULT_LIMITS, type ModelServer } from '../serve/server.js';
import { serveModel } from '../operations/serve.js';
import { keysFrom } from './api-keys.js';
import { several, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { onSignal } from './interrupt.js';
import { addKeyFlag, addListenFlags } from './listening.js';
import { notice } from './output.js';
import { addOpenFlags, type OpenFlags } from './runtime.js';

interface ServeFlags extends OpenFlags {
  readonly model: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly modelName?: readonly string[];
  readonly cors?: readonly string[];
  readonly page: boolean;
  readonly chatTemplate?: string;
  readonly loops?: number;
  readonly maxConcurrency: number;
  readonly maxQueue: number;
  readonly timeout: number;
  readonly drainTimeout: number;
}

/** A day, in seconds. */
const LONGEST_TIMEOUT = 86_400;

export function serveCommand(program: Command): void {
  const command = program
    .command('serve')
    .description('serve a trained model through OpenAI’s API')
    .requiredOption('--model <run>', 'folder of a trained run');
  addKeyFlag(addListenFlags(command, 8080))
    .option(
      '--model-name <name>',
      'name of the model in requests, by default the folder’s; may be repeated',
      several,
    )
    .option(
      '--cors <origin>',
      'let pages of this origin send requests, such as http://localhost:3000, or * for all pages; may be repeated',
      origins,
    )
    .option('--no-page', 'serve the API alone, without the page at / to try the model on')
    .option(
      '--chat-template <file>',
      'a chat template in Jinja, as Hugging Face’s; by default the model’s own, or a plain dialogue if it has none',
    )
    .option(
      '--loops <n>',
      'loops, steps or layers for each token where a request does not set them; all by default',
      wholeNumber(1),
    )
    .option('--max-concurrency <n>', 'sequences that run at once', wholeNumber(1), 8)
    .option(
      '--max-queue <n>',
      'sequences that may wait; further requests are refused',
      wholeNumber(0),
      DEFAULT_LIMITS.maxQueue,
    )
    .option(
      '--timeout <seconds>',
      'longest time for an answer',
      wholeNumber(1, LONGEST_TIMEOUT),
      DEFAULT_LIMITS.timeoutMs / 1000,
    )
    .option(
      '--drain-timeout <seconds>',
      'longest time that unfinished answers may take after SIGTERM or Ctrl-C',
      wholeNumber(0, LONGEST_TIMEOUT),
      DEFAULT_LIMITS.drainTimeoutMs / 1000,
    )
    .addHelpText(
      'after',
      examples(
        'npx loopnn serve --model models/playground',
        'npx loopnn serve --model models/playground --loops 2 --port 8081',
      ),
    );
  addOpenFlags(command).action(serve);
}

async function serve(flags: ServeFlags): Promise<void> {
  const {
    model: folder,
    maxQueue,
    timeout,
    drainTimeout,
    apiKey,
    modelName,
    chatTemplate,
    ...options
  } = flags;
  const { host } = flags;
  const keys = keysFrom(apiKey);
  const server = await serveModel({
    ...options,
    model: folder,
    apiKeys: keys,
    modelNames: modelName,
    chatTemplate: chatTemplate === undefined ? undefined : readTemplate(chatTemplate),
    limits: { maxQueue, timeoutMs: timeout * 1000, drainTimeoutMs: drainTimeout * 1000 },
    log: notice,
    onNotice: notice,
  });
  const stopped = stopOnSignal(server);
  if (keys.open && !isLoopback(host)) {
    notice(`--host ${host}: anyone who reaches it can use the model; --api-key restricts who can`);
  }
  notice(`listening on ${server.url}`);
  server.ready.then(
    ({ backend, step }) => notice(`${folder} is loaded, step ${step}: ${backend}`),
    () => {},
  );
  try {
    await Promise.race([stopped, server.failed]);
  } finally {
    await server.close();
  }
}

/** Resolves when a signal has ended the server in order. */
function stopOnSignal(server: ModelServer): Promise<void> {
  return new Promise((resolve, reject) => {
    onSignal((name) => {
      notice(`${name}: finishing the running requests (again to quit at once)`);
      server.drain().then(resolve, reject);
    });
  });
}

/** Adds an origin, as a browser names it: a scheme, a host and a port. */
function origins(value: string, before: readonly string[] = []): string[] {
  if (value === '*') return [...before, value];
  const origin = URL.canParse(value) ? new URL(value).origin : 'null';
  if (origin === 'null' || !/^https?:/.test(origin)) {
    throw new InvalidArgumentError('It must be an origin, such as http://localhost:3000, or *.');
  }
  return [...before, origin];
}

function readTemplate(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new ConfigError('--chat-template', `must be a readable file (${reason})`, file);
  }
}

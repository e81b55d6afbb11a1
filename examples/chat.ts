/**
 * A chat in the terminal with a model that `loopnn serve` serves, through OpenAI's API and nothing but `fetch`.
 *
 *     npx loopnn serve --model runs/mine
 *     node dist/examples/chat.js [URL] [--loops N] [--temperature T] [--tokens N]
 *
 * The URL is http://127.0.0.1:8080 by default; a key is taken from LOOPNN_API_KEY. An empty line or Ctrl-D ends the chat,
 * Ctrl-C the answer that is being written, or the chat. Where the model cannot take in the whole chat, its oldest turns go.
 * After a refusal the chat goes on without what was refused; the exit code is then 1, as where there is no server.
 */
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';

interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

interface Chunk {
  readonly choices: readonly {
    readonly delta: { readonly content?: string };
    readonly finish_reason: string | null;
  }[];
  readonly usage?: {
    readonly completion_tokens: number;
    readonly loops: { readonly mean: number | null };
  } | null;
  readonly error?: { readonly message: string };
}

process.on('uncaughtException', (error) => {
  tell(error);
  process.exit(1);
});

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    loops: { type: 'string' },
    temperature: { type: 'string', default: '0.8' },
    tokens: { type: 'string', default: '200' },
  },
});
const url = positionals[0] ?? 'http://127.0.0.1:8080';
const headers = {
  'content-type': 'application/json',
  ...(process.env.LOOPNN_API_KEY ? { authorization: `Bearer ${process.env.LOOPNN_API_KEY}` } : {}),
};

interface RefusalBody {
  readonly error: { readonly message: string; readonly code: string | null };
}

/** What the server says is wrong. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly code: string | null,
  ) {
    super(message);
  }
}

/** Prints on one line what went wrong; a connection's errors have their reason in a cause. */
function tell({ message, cause }: Error): void {
  console.error(`chat: ${cause instanceof Error ? `${url}: ${message} (${cause.message})` : message}`);
}

/** A good response. Throws a Refusal for any other. */
async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(new URL(path, url), { headers, ...init });
  if (response.ok) return response;
  const unknown = { error: { message: response.statusText, code: null } };
  const { error } = (await response.json().catch(() => unknown)) as RefusalBody;
  throw new Refusal(`${response.status}: ${error.message}`, error.code);
}

/** Server-sent events: the JSON after each `data:`, up to `[DONE]`. */
async function* events(response: Response): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of response.body!) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split('\n\n');
    text = lines.pop()!;
    for (const line of lines) if (line !== 'data: [DONE]') yield JSON.parse(line.slice('data: '.length));
  }
}

/** The answer to a chat, which loses as many of its oldest turns as the model cannot take in. */
async function answerToMost(model: string, messages: Message[], signal: AbortSignal): Promise<string> {
  for (let first = 0; ; first += 2) {
    try {
      const content = await answer(model, messages.slice(first), signal);
      messages.splice(0, first);
      return content;
    } catch (error) {
      const tooLong = error instanceof Refusal && error.code === 'context_length_exceeded';
      if (!tooLong || first === messages.length - 1) throw error;
    }
  }
}

/** Prints an answer while it is written, and returns it. */
async function answer(model: string, messages: readonly Message[], signal: AbortSignal): Promise<string> {
  const body = {
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    temperature: Number(values.temperature),
    max_tokens: Number(values.tokens),
    ...(values.loops === undefined ? {} : { loops: Number(values.loops) }),
  };
  let content = '';
  let cut = false;
  try {
    const response = await ask('/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify(body),
      signal,
    });
    for await (const { choices, usage, error } of events(response)) {
      if (error) throw new Refusal(error.message, null);
      const piece = choices[0]?.delta.content ?? '';
      process.stdout.write(piece);
      content += piece;
      cut ||= choices[0]?.finish_reason === 'length';
      if (!usage) continue;
      const { completion_tokens: tokens, loops } = usage;
      const limit = tokens < body.max_tokens ? 'the end of the model’s block' : '--tokens';
      const note = cut ? `; cut off by ${limit}` : '';
      process.stdout.write(`\n(${tokens} tokens, ${loops.mean ?? 0} loops each${note})`);
    }
  } catch (error) {
    if (!signal.aborted) {
      if (content !== '') process.stdout.write('\n');
      throw error;
    }
  }
  process.stdout.write('\n');
  return content;
}

const { data } = (await (await ask('/v1/models')).json()) as { data: { id: string }[] };
const model = data[0].id;
const terminal = createInterface({ input: process.stdin, output: process.stdout });
let controller: AbortController | null = null;
terminal.on('SIGINT', () => (controller ? controller.abort() : terminal.close()));
// Input that ends while an answer is written (a pipe, Ctrl-D) leaves lines to be read, and nothing to prompt for.
let ended = false;
terminal.once('close', () => {
  ended = true;
});
console.log(`${model} at ${url}`);
terminal.setPrompt('> ');
terminal.prompt();
const messages: Message[] = [];
for await (const line of terminal) {
  if (line.trim() === '') break;
  controller = new AbortController();
  messages.push({ role: 'user', content: line });
  try {
    messages.push({ role: 'assistant', content: await answerToMost(model, messages, controller.signal) });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    tell(error);
    process.exitCode = 1;
    messages.pop();
  }
  controller = null;
  if (!ended) terminal.prompt();
}
terminal.close();

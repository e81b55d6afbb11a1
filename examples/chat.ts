/**
 * A chat in the terminal with a model that `loopnn serve` serves, through OpenAI's API and nothing but `fetch`.
 *
 *     npx loopnn serve --model runs/mine
 *     node dist/examples/chat.js [URL] [--loops N] [--temperature T] [--tokens N]
 *
 * The URL is http://127.0.0.1:8080 by default; a key is taken from LOOPNN_API_KEY. An empty line or Ctrl-D ends the chat,
 * Ctrl-C the answer that is being written, or the chat. Where the model cannot take in the whole chat, its oldest turns go.
 */
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';

interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string } }[];
  readonly usage?: {
    readonly completion_tokens: number;
    readonly loops: { readonly mean: number | null };
  } | null;
  readonly error?: { readonly message: string };
}

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

/** What the server says is wrong. */
class Refusal extends Error {
  constructor(
    message: string,
    readonly code: string | null,
  ) {
    super(message);
  }
}

/** A good response. Throws a Refusal for any other. */
async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(new URL(path, url), { headers, ...init });
  if (response.ok) return response;
  const { error } = (await response.json()) as { error: { message: string; code: string | null } };
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

/** The answer to a chat, without as many of its oldest turns as the model cannot take in. */
async function answerToMost(model: string, messages: Message[], signal: AbortSignal): Promise<string> {
  for (;;) {
    try {
      return await answer(model, messages, signal);
    } catch (error) {
      const tooLong = error instanceof Refusal && error.code === 'context_length_exceeded';
      if (!tooLong || messages.length === 1) throw error;
      messages.splice(0, 2);
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
  try {
    const response = await ask('/v1/chat/completions', {
      method: 'POST',
      body: JSON.stringify(body),
      signal,
    });
    for await (const { choices, usage, error } of events(response)) {
      if (error) throw new Error(error.message);
      const piece = choices[0]?.delta.content ?? '';
      process.stdout.write(piece);
      content += piece;
      if (usage)
        process.stdout.write(`\n(${usage.completion_tokens} tokens, ${usage.loops.mean ?? 0} loops each)`);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  process.stdout.write('\n');
  return content;
}

const { data } = (await (await ask('/v1/models')).json()) as { data: { id: string }[] };
const model = data[0].id;
const terminal = createInterface({ input: process.stdin, output: process.stdout });
let controller: AbortController | null = null;
terminal.on('SIGINT', () => (controller ? controller.abort() : terminal.close()));
console.log(`${model} at ${url}`);
terminal.setPrompt('> ');
terminal.prompt();
const messages: Message[] = [];
for await (const line of terminal) {
  if (line.trim() === '') break;
  controller = new AbortController();
  messages.push({ role: 'user', content: line });
  messages.push({ role: 'assistant', content: await answerToMost(model, messages, controller.signal) });
  controller = null;
  terminal.prompt();
}
terminal.close();

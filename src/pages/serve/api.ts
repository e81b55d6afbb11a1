/** What the page asks of its server: the model, and answers token by token; what goes wrong comes in words. */
import { canTravel } from '../shared/key.js';
import { serverSentData } from '../shared/server-sent.js';
import { type Candidate, type Piece, probabilityOf } from './pieces.js';

export interface Model {
  readonly id: string;
  readonly max_model_len: number;
  readonly loops: { readonly default: number; readonly most: number };
  readonly exit_criteria: readonly string[];
}

/** A message of a dialogue. */
export interface Message {
  readonly role: 'user' | 'assistant';
  readonly content: string;
}

/** A text to continue, or a dialogue to answer. */
export type Prompt = { readonly text: string } | { readonly messages: readonly Message[] };

/** What happens in an answer: what was made since the last event, and how it ended. */
export interface AnswerEvent {
  readonly pieces: readonly Piece[];
  readonly end: string | null;
}

/**
 * `gone`: nobody answers, or another server does; `key`: a key is missing or wrong; `waiting`: it does not answer yet,
 * or no longer.
 */
export type Trouble = 'gone' | 'key' | 'waiting' | 'refused';

/** A failed request; its message is for the user. */
export class RequestError extends Error {
  constructor(
    readonly trouble: Trouble,
    message: string,
  ) {
    super(message);
  }
}

const GONE = 'The server does not answer. Is it still running? The page tries again by itself.';
const OTHER_MODEL = 'The server has another model by now: the page looks which, then generate again.';
const WRONG_KEY = 'The server does not know this key.';
const BROKEN_OFF = 'The answer broke off: the server has stopped, or the connection is lost.';

/** Whether the server answers requests: `loading`, `ok` or `draining`. Asks for no key. */
export async function health(): Promise<string> {
  const response = await reached(fetch('health'));
  try {
    return ((await response.json()) as { status: string }).status;
  } catch {
    throw new RequestError('gone', GONE); // something else answers in its place
  }
}

/** The model that is served; throws RequestError. */
export async function servedModel(key: string): Promise<Model> {
  const { data } = (await (await asked('v1/models', key)).json()) as { data: readonly Model[] };
  return data[0];
}

/** Whether the model has a chat template of its own; throws RequestError. */
export async function chats(key: string): Promise<boolean> {
  return 'chat_template' in ((await (await asked('tokenizer_info', key)).json()) as object);
}

/** An answer as it is made; throws RequestError, and ends quietly where `signal` ends it. */
export async function* answer(
  prompt: Prompt,
  options: Readonly<Record<string, unknown>>,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<AnswerEvent, void> {
  const chat = 'messages' in prompt;
  const [path, own] = chat
    ? ['v1/chat/completions', { messages: prompt.messages, logprobs: true, top_logprobs: TOP }]
    : ['v1/completions', { prompt: prompt.text, logprobs: TOP }];
  const body = JSON.stringify({ ...options, ...own, stream: true });
  try {
    const response = await asked(path, key, { method: 'POST', body, signal });
    let over = false;
    for await (const documents of serverSentData(response.body!)) {
      const events = documents.filter((text) => text !== '[DONE]').map((text) => eventOf(text, chat));
      over ||= documents.includes('[DONE]');
      yield {
        pieces: events.flatMap(({ pieces }) => pieces),
        end: events.find(({ end }) => end !== null)?.end ?? null,
      };
    }
    if (!over) throw new RequestError('gone', BROKEN_OFF);
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof RequestError ? error : new RequestError('gone', BROKEN_OFF);
  }
}

/** Probable tokens to list beside each. */
const TOP = 4;

async function reached(response: Promise<Response>): Promise<Response> {
  try {
    return await response;
  } catch {
    throw new RequestError('gone', GONE);
  }
}

/** A request with a key where there is one. Addresses are relative: the page may stand below any path. */
async function asked(path: string, key: string, init: RequestInit = {}): Promise<Response> {
  if (!canTravel(key)) throw new RequestError('key', WRONG_KEY);
  const headers = {
    'content-type': 'application/json',
    ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
  };
  const response = await reached(fetch(path, { ...init, headers }));
  if (response.ok) return response;
  const { message, code } = await refusal(response);
  if (response.status === 401) {
    throw new RequestError('key', key === '' ? 'This server needs an API key.' : WRONG_KEY);
  }
  if (response.status === 503) throw new RequestError('waiting', `Not now: ${message}.`);
  if (response.status === 429)
    throw new RequestError('refused', `The server is busy: ${message}. Try again soon.`);
  if (code === 'model_not_found') throw new RequestError('gone', OTHER_MODEL);
  if (code === 'context_length_exceeded')
    throw new RequestError('refused', `The prompt is too long. ${message}`);
  throw new RequestError('refused', `The server refuses this: ${message}`);
}

/** Why, as the server says it; its status where something else answers in its place. */
async function refusal(response: Response): Promise<{ message: string; code: string | null }> {
  try {
    return ((await response.json()) as { error: { message: string; code: string | null } }).error;
  } catch {
    return { message: `status ${response.status}`, code: null };
  }
}

interface Chunk {
  readonly error?: { readonly message: string };
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string };
    readonly finish_reason: 'stop' | 'length' | null;
    readonly logprobs?: CompletionLogprobs & ChatLogprobs;
  }[];
}

interface CompletionLogprobs {
  readonly tokens?: readonly string[];
  readonly token_logprobs?: readonly (number | null)[];
  readonly top_logprobs?: readonly Readonly<Record<string, number>>[];
  readonly loops?: readonly number[];
}

interface ChatLogprobs {
  readonly content?: readonly {
    readonly token: string;
    readonly logprob: number;
    readonly loops: number;
    readonly top_logprobs: readonly { readonly token: string; readonly logprob: number }[];
  }[];
}

function eventOf(text: string, chat: boolean): AnswerEvent {
  const { error, choices } = JSON.parse(text) as Chunk;
  if (error) throw new RequestError('refused', `The server failed: ${error.message}`);
  const choice = choices?.[0];
  if (!choice) return { pieces: [], end: null };
  const { finish_reason: reason, logprobs } = choice;
  const said = (chat ? choice.delta?.content : choice.text) ?? '';
  const tokens = logprobs ? (chat ? chatTokens(logprobs) : completionTokens(logprobs)) : [];
  const pieces = said === '' && tokens.length === 0 ? [] : [{ text: said, tokens }];
  return { pieces, end: reason };
}

function completionTokens({ tokens = [], token_logprobs, top_logprobs, loops }: CompletionLogprobs) {
  return tokens.map((name, i) => ({
    name,
    probability: probabilityOf(token_logprobs?.[i] ?? 0),
    loops: loops?.[i] ?? 0,
    top: Object.entries(top_logprobs?.[i] ?? {})
      .map(([other, logprob]): Candidate => ({ name: other, probability: probabilityOf(logprob) }))
      .sort((a, b) => b.probability - a.probability),
  }));
}

function chatTokens({ content = [] }: ChatLogprobs) {
  return content.map(({ token, logprob, loops, top_logprobs }) => ({
    name: token,
    probability: probabilityOf(logprob),
    loops,
    top: top_logprobs.map(
      (other): Candidate => ({ name: other.token, probability: probabilityOf(other.logprob) }),
    ),
  }));
}

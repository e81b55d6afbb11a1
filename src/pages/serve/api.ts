/** The page's requests to its server: the model, and answers token by token. Errors have a message for the user. */
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

/** A part of an answer: the pieces since the last event, and how the answer ended, or null. */
export interface AnswerEvent {
  readonly pieces: readonly Piece[];
  readonly end: string | null;
}

/**
 * `gone`: no server answers, or another one does; `key`: a key is missing or wrong; `waiting`: the server does not
 * accept requests yet, or no longer; `refused`: it refuses the request.
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
const OTHER_MODEL = 'The server now has another model: the page loads its name, then generate again.';
const WRONG_KEY = 'The server does not know this key.';
const BROKEN_OFF = 'The answer broke off: the server has stopped, or the connection is lost.';

/** The server's state: `loading`, `ok` or `draining`. Needs no key. */
export async function health(): Promise<string> {
  const response = await reached(fetch('health'));
  try {
    return ((await response.json()) as { status: string }).status;
  } catch {
    throw new RequestError('gone', GONE); // another program answers in its place
  }
}

/** The served model; throws RequestError. */
export async function servedModel(key: string): Promise<Model> {
  const { data } = (await (await asked('v1/models', key)).json()) as { data: readonly Model[] };
  return data[0];
}

/** Whether the model has a chat template of its own; throws RequestError. */
export async function chats(key: string): Promise<boolean> {
  return 'chat_template' in ((await (await asked('tokenizer_info', key)).json()) as object);
}

/** An answer as it is made. Throws RequestError; ends without an error if `signal` is aborted. */
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

/** Number of the most probable tokens that are listed for each token. */
const TOP = 4;

async function reached(response: Promise<Response>): Promise<Response> {
  try {
    return await response;
  } catch {
    throw new RequestError('gone', GONE);
  }
}

/** A request, with the key if there is one. Addresses are relative, since the page may lie below any path. */
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

/** The reason of a refusal, as the server gives it; the status if another program answers in its place. */
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

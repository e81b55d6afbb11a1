/**
 * Answers a request from the engine's events: whole, or as a stream of server-sent events. It builds the answers of
 * both kinds; a `Format` has their differences.
 */
import type { GenerationEnd } from '../generate/request.js';
import type { RunEvent } from './engine-thread.js';
import type { ServedToken } from './messages.js';
import { apiError } from './options.js';
import type { CompletionRequest } from './requests.js';

/** A piece of a streamed choice. */
export interface ChoicePart {
  readonly text: string;
  /** Its token; null for the last piece. */
  readonly token: ServedToken | null;
}

/** How answers of one kind look. */
export interface Format {
  /** Ids begin with it. */
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** The fields of a whole choice. */
  whole(text: string, tokens: readonly ServedToken[]): object;
  /** The fields of a streamed choice that come before all others. */
  readonly opening?: object;
  /** The fields of a piece of a streamed choice. */
  part(part: ChoicePart): object;
}

/** The common first fields of all answers to a request. */
export interface Envelope {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

/** Loops, steps or layers spent on the generated tokens; no mean without tokens. */
export interface LoopsSpent {
  readonly total: number;
  readonly mean: number | null;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly loops: LoopsSpent;
}

/** Answers in one document. */
export async function wholeAnswer(
  events: AsyncIterable<RunEvent>,
  request: CompletionRequest,
  format: Format,
  envelope: Envelope,
): Promise<object> {
  const choices = request.tasks.map(() => ({ text: '', tokens: [] as ServedToken[] }));
  const ends = new Map<number, GenerationEnd>();
  for await (const { index, token, end } of events) {
    choices[index].text += (token ?? end).text;
    if (token) choices[index].tokens.push(token);
    else ends.set(index, end);
  }
  return {
    ...envelope,
    object: format.object,
    choices: choices.map(({ text, tokens }, index) => ({
      index,
      ...format.whole(text, tokens),
      ...closing(ends.get(index)!),
    })),
    usage: usageOf(ends, request.n),
  };
}

/**
 * Answers piece by piece. Never throws: an error in the middle is the last event, as OpenAI's clients expect, and is
 * passed to `failed`.
 */
export async function* streamedAnswer(
  events: AsyncIterable<RunEvent>,
  { tasks, n, includeUsage }: CompletionRequest,
  format: Format,
  envelope: Envelope,
  failed: (error: unknown) => void,
): AsyncGenerator<Uint8Array, void> {
  const ends = new Map<number, GenerationEnd>();
  const chunk = (choices: readonly object[], usage: Usage | null = null) =>
    event(
      JSON.stringify({
        ...envelope,
        object: format.chunkObject,
        choices,
        ...(includeUsage ? { usage } : {}),
      }),
    );
  const open = { finish_reason: null };
  try {
    const { opening } = format;
    if (opening) for (const index of tasks.keys()) yield chunk([{ index, ...opening, ...open }]);
    for await (const { index, token, end } of events) {
      const { text } = token ?? end;
      // Inside a character or a possible stop text there is nothing to send yet.
      if (token && (text !== '' || token.logprobs)) {
        yield chunk([{ index, ...format.part({ text, token }), ...open }]);
      }
      if (end) {
        ends.set(index, end);
        yield chunk([{ index, ...format.part({ text, token: null }), ...closing(end) }]);
      }
    }
    if (includeUsage) yield chunk([], usageOf(ends, n));
    yield event('[DONE]');
  } catch (error) {
    failed(error);
    yield event(JSON.stringify(apiError(error).body));
  }
}

function event(data: string): Uint8Array {
  return Buffer.from(`data: ${data}\n\n`);
}

/** The end of a choice, and its cost. */
function closing({ reason, tokens, steps }: GenerationEnd): object {
  const stopped = reason === 'end of text' || reason === 'stop text';
  return { finish_reason: stopped ? 'stop' : 'length', loops: spent(steps, tokens) };
}

function spent(steps: number, tokens: number): LoopsSpent {
  return { total: steps, mean: tokens === 0 ? null : steps / tokens };
}

/** A prompt counts once, however many choices it has. */
function usageOf(ends: ReadonlyMap<number, GenerationEnd>, n: number): Usage {
  let [prompt, completion, steps] = [0, 0, 0];
  for (const [index, end] of ends) {
    if (index % n === 0) prompt += end.promptTokens;
    completion += end.tokens;
    steps += end.steps;
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    loops: spent(steps, completion),
  };
}

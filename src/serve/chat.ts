/** `/v1/chat/completions`: its request fields, and the format of its answers. */
import { wrongField } from './api-error.js';
import type { Format } from './answer.js';
import { Fields } from './fields.js';
import type { BytesLogprob, ChatMessage, ModelInfo, ServedToken } from './messages.js';
import { readMaxTokens } from './options.js';
import { type CompletionRequest, readRequest } from './requests.js';
import { escaped, textOf } from './token-names.js';

const ROLES: readonly string[] = [
  'system',
  'developer',
  'user',
  'assistant',
  'tool',
] satisfies ChatMessage['role'][];
/** OpenAI's maximum. */
const MOST_LOGPROBS = 20;

export function readChat(fields: Fields, info: ModelInfo): CompletionRequest {
  requireNoTools(fields);
  const format = fields.object('response_format')?.text('type') ?? 'text';
  if (format !== 'text') throw wrongField('response_format.type', "must be 'text'", format);
  const wanted = fields.boolean('logprobs') ?? false;
  const top = fields.whole('top_logprobs', { min: 0, max: MOST_LOGPROBS });
  if (top !== undefined && !wanted)
    throw wrongField('top_logprobs', 'must be absent where logprobs is not true');
  const maxTokens =
    readMaxTokens(fields, 'max_completion_tokens', info) ?? readMaxTokens(fields, 'max_tokens', info);
  return readRequest(
    fields,
    {
      prompts: [{ kind: 'chat', messages: readMessages(fields) }],
      maxTokens: maxTokens ?? info.config.blockSize,
      topLogprobs: wanted ? (top ?? 0) : undefined,
    },
    info,
  );
}

/** Throws if tools are to be used, in words from which clients know to retry without; unused tools are accepted. */
function requireNoTools(fields: Fields): void {
  const rule = 'must be absent: this model does not support tools';
  for (const [field, choice] of [
    ['tools', 'tool_choice'],
    ['functions', 'function_call'],
  ]) {
    const chosen = fields.raw(choice);
    if (chosen === 'none') continue;
    const value = fields.raw(field);
    const empty = Array.isArray(value) && value.length === 0;
    if (value !== undefined && !empty) throw wrongField(field, rule);
    if (chosen !== undefined && chosen !== 'auto') throw wrongField(choice, rule);
  }
}

/** The dialogue of a request. */
export function readMessages(fields: Fields): ChatMessage[] {
  const messages = fields.raw('messages');
  if (!Array.isArray(messages) || messages.length === 0) {
    throw wrongField('messages', 'must be a list of at least one message', messages);
  }
  return messages.map((value: unknown, i): ChatMessage => {
    const message = new Fields(value, `messages[${i}]`);
    const given = message.requiredText('role');
    // OpenAI's former name of a tool's answer.
    const role = given === 'function' ? 'tool' : given;
    if (!isRole(role)) throw wrongField(message.name('role'), `must be one of ${ROLES.join(', ')}`, role);
    return { role, content: readContent(message) };
  });
}

function isRole(role: string): role is ChatMessage['role'] {
  return ROLES.includes(role);
}

/** A text, or parts that are texts; of an assistant that called tools, the calls, as text too. */
function readContent(message: Fields): string {
  const calls = readCalls(message);
  const content = message.raw('content') ?? (calls.length > 0 ? '' : undefined);
  const text = contentText(message, content);
  return [...(text === '' && calls.length > 0 ? [] : [text]), ...calls].join('\n');
}

/** The calls of a message, each as `name(arguments)`. */
function readCalls(message: Fields): string[] {
  const calls = message.raw('tool_calls') ?? [];
  if (!Array.isArray(calls)) throw wrongField(message.name('tool_calls'), 'must be a list of calls', calls);
  const functions = calls.map((value: unknown, i) => {
    const call = new Fields(value, `${message.name('tool_calls')}[${i}]`);
    return call.object('function');
  });
  return [...functions, message.object('function_call')].flatMap((call) =>
    call ? [`${call.requiredText('name')}(${call.text('arguments') ?? ''})`] : [],
  );
}

function contentText(message: Fields, content: unknown): string {
  const where = message.name('content');
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw wrongField(where, 'must be a text or a list of text parts', content);
  const texts = content.map((value: unknown, i) => {
    const part = new Fields(value, `${where}[${i}]`);
    const type = part.requiredText('type');
    if (type !== 'text') throw wrongField(part.name('type'), "must be 'text'", type);
    return part.requiredText('text');
  });
  return texts.join('');
}

export const chatFormat: Format = {
  idPrefix: 'chatcmpl',
  object: 'chat.completion',
  chunkObject: 'chat.completion.chunk',
  whole: (content, tokens) => ({
    message: { role: 'assistant', content, refusal: null },
    logprobs: logprobs(tokens),
  }),
  opening: { delta: { role: 'assistant', content: '' }, logprobs: null },
  part: ({ text, token }) => ({
    delta: text === '' && !token ? {} : { content: text },
    logprobs: token ? logprobs([token]) : null,
  }),
};

/** A record for each token; null unless requested. */
function logprobs(tokens: readonly ServedToken[]): object | null {
  const asked = tokens.flatMap((token) => token.logprobs ?? []);
  if (asked.length === 0) return null;
  const content = asked.map(({ top, bytes, logprob, loops }) => ({
    ...record({ bytes, logprob: logprob ?? 0 }),
    top_logprobs: top.map(record),
    loops,
  }));
  return { content, refusal: null };
}

function record({ bytes, logprob }: BytesLogprob): object {
  return { token: textOf(bytes) ?? escaped(bytes), logprob, bytes };
}

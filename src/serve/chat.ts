/** `/v1/chat/completions`: what it takes, and how its answers look. */
import { wrongField } from './api-error.js';
import type { Format } from './answer.js';
import { Fields } from './fields.js';
import type { BytesLogprob, ChatMessage, ModelInfo, ServedToken } from './messages.js';
import { type CompletionRequest, readRequest } from './requests.js';
import { escaped, textOf } from './token-names.js';

const ROLES: readonly string[] = ['system', 'developer', 'user', 'assistant'] satisfies ChatMessage['role'][];
const ANY_COUNT = { min: 1, max: Number.MAX_SAFE_INTEGER };
/** What OpenAI gives at most. */
const MOST_LOGPROBS = 20;

export function readChat(fields: Fields, info: ModelInfo): CompletionRequest {
  for (const field of ['tools', 'functions']) {
    const value = fields.raw(field);
    const empty = Array.isArray(value) && value.length === 0;
    if (value !== undefined && !empty) throw wrongField(field, 'must be absent: the model knows no tools');
  }
  const format = fields.object('response_format')?.text('type') ?? 'text';
  if (format !== 'text') throw wrongField('response_format.type', "must be 'text'", format);
  const wanted = fields.boolean('logprobs') ?? false;
  const top = fields.whole('top_logprobs', { min: 0, max: MOST_LOGPROBS });
  if (top !== undefined && !wanted)
    throw wrongField('top_logprobs', 'must be absent where logprobs is not true');
  const maxTokens = fields.whole('max_completion_tokens', ANY_COUNT) ?? fields.whole('max_tokens', ANY_COUNT);
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

function readMessages(fields: Fields): ChatMessage[] {
  const messages = fields.raw('messages');
  if (!Array.isArray(messages) || messages.length === 0) {
    throw wrongField('messages', 'must be a list of at least one message', messages);
  }
  return messages.map((value: unknown, i): ChatMessage => {
    const message = new Fields(value, `messages[${i}]`);
    const role = message.requiredText('role');
    if (!isRole(role)) throw wrongField(message.name('role'), `must be one of ${ROLES.join(', ')}`, role);
    return { role, content: readContent(message) };
  });
}

function isRole(role: string): role is ChatMessage['role'] {
  return ROLES.includes(role);
}

/** A text, or parts that are texts. */
function readContent(message: Fields): string {
  const content = message.raw('content');
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

/** A record for each token; null where nobody asked. */
function logprobs(tokens: readonly ServedToken[]): object | null {
  const asked = tokens.flatMap((token) => token.logprobs ?? []);
  if (asked.length === 0) return null;
  const content = asked.map(({ top, ...own }) => ({ ...record(own), top_logprobs: top.map(record) }));
  return { content, refusal: null };
}

function record({ bytes, logprob }: BytesLogprob): object {
  return { token: textOf(bytes) ?? escaped(bytes), logprob, bytes };
}

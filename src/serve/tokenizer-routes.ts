/** The tokenizer's routes, compatible with vLLM's server, so that clients need no tokenizer of their own. */
import { wrongField } from './api-error.js';
import { readMessages } from './chat.js';
import type { EngineThread } from './engine-thread.js';
import type { Fields } from './fields.js';
import type { ModelInfo } from './messages.js';

/** `GET /tokenizer_info`: the fields of a tokenizer_config.json. */
export function tokenizerInfo({ tokens, chatTemplate, config }: ModelInfo): object {
  const template = chatTemplate === null ? {} : { chat_template: chatTemplate };
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...tokens,
    model_max_length: config.blockSize,
    clean_up_tokenization_spaces: false,
    ...template,
  };
}

/**
 * `POST /tokenize`: the ids of `prompt`, or of `messages` by the chat template; special tokens that a text spells out
 * are tokens.
 */
export async function tokenized(fields: Fields, engine: EngineThread): Promise<object> {
  const text = fields.text('prompt');
  if (text === undefined && fields.raw('messages') === undefined) {
    throw wrongField('prompt', 'must be given, or else messages');
  }
  const { config } = await engine.ready;
  const { ids, texts } = await engine.encode(
    text === undefined ? { kind: 'chat', messages: readMessages(fields) } : { kind: 'text', text },
  );
  const named = fields.boolean('return_token_strs') ?? false;
  return {
    count: ids.length,
    max_model_len: config.blockSize,
    tokens: ids,
    token_strs: named ? texts : null,
  };
}

/** `POST /detokenize`: the text of `tokens`. */
export async function detokenized(fields: Fields, engine: EngineThread): Promise<object> {
  const { vocabSize } = await engine.ready;
  const tokens = fields.raw('tokens');
  const isId = (id: unknown) => Number.isInteger(id) && Number(id) >= 0 && Number(id) < vocabSize;
  if (!Array.isArray(tokens) || !tokens.every(isId)) {
    throw wrongField('tokens', `must be a list of token ids below ${vocabSize}`, tokens);
  }
  return { prompt: await engine.decode(Int32Array.from(tokens as number[])) };
}

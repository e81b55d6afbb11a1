/**
 * Turns prompts into token ids, chats by a template. Templates are Hugging Face's: Jinja over `messages` (role, content),
 * `add_generation_prompt` (true), `bos_token` and `eos_token`, both being the end-of-text token.
 */
import { randomUUID } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { ConfigError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { ChatMessage, Prompt } from './messages.js';
import { within } from './time-limit.js';

/** For models that have seen no chat but plain text: a dialogue as a book prints it. */
const PLAIN_TEMPLATE =
  "{% for message in messages %}{% if message.role in ['system', 'developer'] %}{{ message.content }}" +
  "{% elif message.role == 'assistant' %}Assistant: {{ message.content | trim }}" +
  '{% else %}User: {{ message.content }}{% endif %}' +
  "{{ '\\n\\n' }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";
/** Where a plain dialogue goes on to the next speaker, the answer is over. */
const PLAIN_STOP = ['\n\nUser:', '\nUser:'];

/** Longest time for a template: answers under way wait for it. */
const RENDER_MS = 250;
/** Characters of GPT-2's longest token: a longer text has too many tokens, and need not be encoded to know it. */
const LONGEST_TOKEN = 128;

export class Prompts {
  /** Texts at which the template's answers end. */
  readonly chatStop: readonly string[];
  readonly #template: Template;
  /** Stands for the end-of-text token in a rendered template. Nobody can guess it, so no message can spell it. */
  readonly #eot = `<${randomUUID()}>`;

  /** Throws ConfigError for a template that is not Jinja. */
  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly blockSize: number,
    chatTemplate: string | null,
  ) {
    try {
      this.#template = new Template(chatTemplate ?? PLAIN_TEMPLATE);
    } catch (error) {
      throw new ConfigError('chat template', `must be Jinja (${reason(error)})`);
    }
    this.chatStop = chatTemplate === null ? PLAIN_STOP : [];
  }

  /** The ids of a prompt, an empty one being a new document. Throws ConfigError for one that is too long, or no chat. */
  encode(prompt: Prompt): ArrayLike<number> {
    const ids = prompt.kind === 'ids' ? prompt.ids : this.#encodeText(prompt);
    if (ids.length > this.blockSize) throw this.#tooLong(prompt, ids.length);
    return ids.length === 0 ? [this.tokenizer.eot] : ids;
  }

  #encodeText(prompt: Exclude<Prompt, { kind: 'ids' }>): ArrayLike<number> {
    // Each message takes a token at least.
    if (prompt.kind === 'chat') this.#requireLeast(prompt, prompt.messages.length);
    const text = prompt.kind === 'text' ? prompt.text : this.#render(prompt.messages);
    this.#requireLeast(prompt, Math.ceil(text.length / LONGEST_TOKEN));
    if (prompt.kind === 'text') return this.tokenizer.encode(text);
    const parts = text.split(this.#eot).map((part) => Array.from(this.tokenizer.encode(part)));
    return parts.flatMap((ids, i) => (i === 0 ? ids : [this.tokenizer.eot, ...ids]));
  }

  #render(messages: readonly ChatMessage[]): string {
    const tokens = { bos_token: this.#eot, eos_token: this.#eot };
    try {
      return within(RENDER_MS, () =>
        this.#template.render({ messages, add_generation_prompt: true, ...tokens }),
      );
    } catch (error) {
      throw new ConfigError('messages', `must suit the chat template (${reason(error)})`);
    }
  }

  #requireLeast(prompt: Prompt, tokens: number): void {
    if (tokens > this.blockSize) throw this.#tooLong(prompt, `at least ${tokens}`);
  }

  /** Named after the field that it came in. */
  #tooLong({ kind }: Prompt, length: number | string): ConfigError {
    const rule = `must have at most the model's blockSize = ${this.blockSize} tokens`;
    return kind === 'chat'
      ? new ConfigError('messages', rule, length, 'shorten them')
      : new ConfigError('prompt', rule, length, 'shorten it');
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

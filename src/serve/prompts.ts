/** Turns prompts into token ids, chats by a template. */
import { ConfigError } from '../errors.js';
import { startedWith } from '../generate/text-ids.js';
import { encodeSpans, type Span } from '../tokenizer/spans.js';
import type { TokenNames } from '../tokenizer/special-tokens.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { ChatTemplate, type TemplateSource } from './chat-template.js';
import type { ChatMessage, Prompt } from './messages.js';
import { TimeOver, within } from './time-limit.js';

/** For models trained on plain text only: a dialogue as in a book. */
const PLAIN_TEMPLATE =
  "{% for message in messages %}{% if message.role in ['system', 'developer'] %}{{ message.content }}" +
  "{% elif message.role == 'assistant' %}Assistant: {{ message.content | trim }}" +
  "{% elif message.role == 'tool' %}Tool: {{ message.content }}" +
  '{% else %}User: {{ message.content }}{% endif %}' +
  "{{ '\\n\\n' }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";
/** When a plain dialogue continues with the next speaker, the answer is over. */
const PLAIN_STOP = ['\n\nUser:', '\nUser:'];

/** Longest time for a template: running answers wait for it. */
const RENDER_MS = 250;
/** Characters of GPT-2's longest token: a longer text has too many tokens, and need not be encoded to know it. */
const LONGEST_TOKEN = 128;

/** OpenAI's message for a context that is too long. */
export const CONTEXT_LENGTH = "This model's maximum context length is";

export interface PromptOptions {
  readonly tokenizer: Tokenizer;
  readonly blockSize: number;
  /** Begins a text. */
  readonly bos: number | null;
  /** Special tokens by their names in templates. */
  readonly names: TokenNames;
  /** Null for a plain dialogue. */
  readonly chatTemplate: TemplateSource | null;
}

export class Prompts {
  /** Texts at which the template's answers end. */
  readonly chatStop: readonly string[];
  readonly #template: ChatTemplate;

  /** Throws ConfigError for a template that is not Jinja. */
  constructor(private readonly options: PromptOptions) {
    const { tokenizer, names, chatTemplate } = options;
    const source = chatTemplate ?? { source: PLAIN_TEMPLATE, where: 'plain dialogue' };
    const { eot: id, eotToken: content } = tokenizer;
    // In some vocabularies the end of text is an ordinary token.
    const end =
      id === null || content === null || tokenizer.specials.some((token) => token.id === id)
        ? []
        : [{ id, content, lstrip: false, rstrip: false }];
    this.#template = new ChatTemplate(source, [...tokenizer.specials, ...end], names);
    this.chatStop = chatTemplate === null ? PLAIN_STOP : [];
  }

  /**
   * The ids of a prompt; an empty prompt is a new document. Throws ConfigError for a prompt that is too long, or an
   * invalid chat.
   */
  encode(prompt: Prompt): ArrayLike<number> {
    const { blockSize, bos } = this.options;
    const ids = prompt.kind === 'ids' ? prompt.ids : this.#encodeText(prompt);
    if (ids.length > blockSize) throw this.#tooLong(prompt, ids.length);
    return startedWith(bos, ids);
  }

  /**
   * The ids of a prompt of any length, in which special tokens that a text spells out are tokens. Throws ConfigError
   * for an invalid chat.
   */
  spelled(prompt: Prompt): number[] {
    const { tokenizer } = this.options;
    if (prompt.kind === 'ids') return Array.from(prompt.ids);
    if (prompt.kind === 'chat')
      return encodeSpans(
        tokenizer,
        this.#render(prompt.messages, () => {}),
      );
    return encodeSpans(tokenizer, this.#template.spansOf(prompt.text));
  }

  #encodeText(prompt: Exclude<Prompt, { kind: 'ids' }>): ArrayLike<number> {
    // Each message takes at least one token.
    if (prompt.kind === 'chat') this.#requireLeast(prompt, prompt.messages.length);
    const look = (text: string) => this.#requireLeast(prompt, Math.ceil(text.length / LONGEST_TOKEN));
    if (prompt.kind === 'chat')
      return encodeSpans(this.options.tokenizer, this.#render(prompt.messages, look));
    look(prompt.text);
    return this.options.tokenizer.encode(prompt.text);
  }

  #render(messages: readonly ChatMessage[], look: (text: string) => void): Span[] {
    try {
      return within(RENDER_MS, () => this.#template.render(messages, look));
    } catch (error) {
      if (!(error instanceof TimeOver)) throw error;
      throw new ConfigError('messages', `must suit the chat template (${error.message})`);
    }
  }

  #requireLeast(prompt: Prompt, tokens: number): void {
    if (tokens > this.options.blockSize) throw this.#tooLong(prompt, `at least ${tokens}`);
  }

  /** In OpenAI's words, which clients look for; named after the prompt's field. */
  #tooLong({ kind }: Prompt, length: number | string): ConfigError {
    const [param, what] = kind === 'chat' ? ['messages', 'messages'] : ['prompt', 'prompt'];
    return new ConfigError(
      param,
      `${CONTEXT_LENGTH} ${this.options.blockSize} tokens. However, your ${what} resulted in ${length} tokens. ` +
        `Please reduce the length of the ${what}.`,
    );
  }
}

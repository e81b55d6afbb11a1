/**
 * Chat templates of Hugging Face's models: Jinja over a dialogue. The special tokens that a template writes become
 * tokens; the content of a message stays text, even if it spells a special token. It must not handle ids or HTTP.
 *
 * How the two are distinguished, although templates trim, split, replace and join the content of messages: the
 * template's own texts are rendered with a mark in place of each special token. A mark is unguessable, so that no
 * message can contain it. With the marks replaced, the rendering must equal the one without marks. It does not if a
 * template compares texts, because a message's content has no mark. A second try therefore leaves unmarked the texts
 * that a template looks for but does not write. A token that is then spelled without a mark is from a message, or
 * joined from pieces: see `#own`.
 */
import { randomInt } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { ConfigError } from '../errors.js';
import type { Span } from '../tokenizer/spans.js';
import type { TokenNames } from '../tokenizer/special-tokens.js';
import type { SpecialToken } from '../tokenizer/tokenizer.js';
import type { ChatMessage } from './messages.js';
import { markTexts } from './template-marks.js';
import { STRIP_FUNCTIONS, useStrip } from './template-strip.js';

/** Replaces each character of a message, to find the template's own characters: a private one of one unit. */
const HIDDEN = '\ue000';
/** What cannot be hidden, since templates change it or the text's length: white space, what JSON escapes, two units. */
const NOT_HIDDEN = /[\s"\\\p{Cc}\p{Cs}\u{e000}\u{10000}-\u{10ffff}]/u;
const NONCE_DIGITS = 32;
/** Number of its digits in a row that cannot be chance. */
const NONCE_PART = 8;

/** A template's text. */
export interface TemplateSource {
  readonly source: string;
  /** Its source, for messages. */
  readonly where: string;
  /** The remedy if it is not Jinja. */
  readonly hint?: string;
}

export class ChatTemplate {
  readonly #plain: Template;
  /** With marks in all of the template's texts, and only in those that it writes. */
  readonly #marked: readonly Template[];
  /** In the order of their numbers in marks. */
  readonly #specials: readonly SpecialToken[];
  /** Spellings of special tokens, longest first. */
  readonly #spelled: RegExp;
  /** A mark, and a spelling of a special token. */
  readonly #found: RegExp;
  /** Only digits, so that no change of case, no escape and no trimming changes a mark. */
  readonly #nonce = Array.from({ length: NONCE_DIGITS }, () => randomInt(10)).join('');

  /**
   * @param names special tokens by the names that the template may call them by
   * @throws ConfigError, naming `where`, for a template that is not Jinja
   */
  constructor(
    { source, where, hint }: TemplateSource,
    specials: readonly SpecialToken[],
    private readonly names: TokenNames,
  ) {
    this.#specials = specials.filter(({ content }) => content !== '');
    const spellings = this.#specials.map(({ content }) => content).sort((a, b) => b.length - a.length);
    const escaped = spellings.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
    const pattern = escaped.join('|') || '(?!)';
    this.#spelled = new RegExp(pattern, 'g');
    this.#found = new RegExp(`~${this.#nonce}:(\\d+)~|${pattern}`, 'g');
    try {
      const parsed = (change?: (template: Template) => void) => {
        const template = new Template(source);
        change?.(template);
        useStrip(template.parsed);
        return template;
      };
      this.#plain = parsed();
      this.#marked = [false, true].map((spare) =>
        parsed((template) => markTexts(template.parsed, (text) => this.#mark(text), spare)),
      );
    } catch (error) {
      throw new ConfigError(where, `must be Jinja (${reason(error)})`, undefined, hint);
    }
  }

  /**
   * The prompt for an answer to a dialogue. Throws ConfigError for a dialogue that the template rejects.
   *
   * @param look is shown the whole text before it is taken apart, and may throw
   */
  render(messages: readonly ChatMessage[], look: (text: string) => void = () => {}): Span[] {
    let plain: string;
    try {
      plain = this.#fill(this.#plain, messages, this.names);
    } catch (error) {
      throw new ConfigError('messages', `must suit the chat template (${reason(error)})`);
    }
    look(plain);
    if (plain.search(this.#spelled) < 0) return [plain];
    let similar: Span[] | undefined;
    for (const template of this.#marked) {
      const text = this.#tryMarked(template, messages);
      if (text === null) continue;
      const unmarked = this.#unmarked(text);
      if (unmarked === plain) return this.#spans(text, template, messages);
      // Whole marks are still the template's tokens; a part of a mark must not be visible.
      if (!this.#hasPartOfMark(unmarked)) similar ??= this.#spans(text, template, messages);
    }
    return similar ?? [plain];
  }

  /** A user's text that may spell special tokens, as texts and tokens. */
  spansOf(text: string): Span[] {
    const spans: Span[] = [];
    let end = 0;
    for (const { 0: found, index: at } of text.matchAll(this.#spelled)) {
      if (at > end) spans.push(text.slice(end, at));
      spans.push(this.#specials[this.#indexOf(found)]);
      end = at + found.length;
    }
    if (end < text.length) spans.push(text.slice(end));
    return spans;
  }

  /** Cuts a marked rendering into texts and tokens. */
  #spans(text: string, template: Template, messages: readonly ChatMessage[]): Span[] {
    const spans: Span[] = [];
    let end = 0;
    let own: string | undefined;
    for (const { 0: found, 1: mark, index: at } of text.matchAll(this.#found)) {
      if (mark === undefined) {
        own ??= this.#own(text, template, messages);
        // A token of the template may be joined from pieces, such as '<|' + message.role + '|>'.
        if (!own.startsWith(found, at) || NOT_HIDDEN.test(found)) continue;
      }
      const token = this.#specials[mark === undefined ? this.#indexOf(found) : Number(mark)];
      if (at > end) spans.push(text.slice(end, at));
      spans.push(token);
      end = at + found.length;
    }
    if (end < text.length) spans.push(text.slice(end));
    return spans;
  }

  /**
   * The rendering with the content of messages hidden and every other character in its place; '' if the template
   * inspects messages, so that their characters cannot be distinguished from its own.
   */
  #own(text: string, template: Template, messages: readonly ChatMessage[]): string {
    const hide = (one: string) => (NOT_HIDDEN.test(one) ? one : HIDDEN);
    const hidden = messages.map(({ role, content }) => ({
      role,
      content: Array.from(content, hide).join(''),
    }));
    const own = this.#tryMarked(template, hidden) ?? '';
    if (own.length !== text.length) return '';
    for (let i = 0; i < own.length; i++) if (own[i] !== text[i] && own[i] !== HIDDEN) return '';
    return own;
  }

  /** Null if a template fails on its marked texts. */
  #tryMarked(template: Template, messages: readonly ChatMessage[]): string | null {
    const names = Object.entries(this.names).map(([name, content]) => [name, this.#mark(content)]);
    try {
      return this.#fill(template, messages, Object.fromEntries(names));
    } catch {
      return null;
    }
  }

  #fill(template: Template, messages: readonly ChatMessage[], names: TokenNames): string {
    const given = { messages, add_generation_prompt: true, tools: null, documents: null };
    return template.render({ ...names, ...STRIP_FUNCTIONS, ...given });
  }

  #mark(text: string): string {
    return text.replace(this.#spelled, (content) => `~${this.#nonce}:${this.#indexOf(content)}~`);
  }

  #unmarked(text: string): string {
    return text.replace(this.#found, (found, mark?: string) =>
      mark === undefined ? found : this.#specials[Number(mark)].content,
    );
  }

  #hasPartOfMark(text: string): boolean {
    const starts = Array.from({ length: NONCE_DIGITS - NONCE_PART + 1 }, (_, i) => i);
    return starts.some((start) => text.includes(this.#nonce.slice(start, start + NONCE_PART)));
  }

  #indexOf(content: string): number {
    return this.#specials.findIndex((token) => token.content === content);
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Decodes a stream of ids with a tokenizer that decodes only whole lists, in which a token's text can depend on the
 * tokens before it.
 */
import type { TokenDecoder } from './tokenizer.js';

/** Most ids of a context that are read. */
const MOST_CONTEXT = 64;

/** Each step decodes a short window with and without the new ids, and returns the difference. */
export class WindowDecoder implements TokenDecoder {
  readonly #decode: (ids: readonly number[]) => string;
  #window: number[];
  /** How many ids of the window have been returned as text. */
  #given: number;

  /** @param context the ids before the stream, whose text is not returned */
  constructor(decode: (ids: readonly number[]) => string, context: ArrayLike<number>) {
    this.#decode = decode;
    // The window begins at the last id that is a whole text on its own, so never inside a character.
    let start = context.length;
    for (let whole = false; !whole && start > 0 && context.length - start < MOST_CONTEXT; ) {
      const text = decode([context[--start]]);
      whole = text !== '' && !text.includes('\ufffd');
    }
    this.#window = Array.from({ length: context.length - start }, (_, i) => context[start + i]);
    this.#given = this.#window.length;
  }

  push(id: number): string {
    this.#window.push(id);
    const text = this.#pending();
    // A replacement character at the end may be the beginning of a character that the next id completes.
    if (text === '' || text.endsWith('\ufffd')) return '';
    this.#window = this.#window.slice(this.#given);
    this.#given = this.#window.length;
    return text;
  }

  end(): string {
    const text = this.#pending();
    this.#window = [];
    this.#given = 0;
    return text;
  }

  #pending(): string {
    const given = this.#decode(this.#window.slice(0, this.#given));
    const all = this.#decode(this.#window);
    // New ids may change the text before them, if it was not whole.
    return all.startsWith(given) ? all.slice(given.length) : this.#decode(this.#window.slice(this.#given));
  }
}

/** The tokens of one answer as they are served: by name, and by where they begin in its text. */
import type { GeneratedToken } from '../generate/engine.js';
import type { TokenDecoder, Tokenizer } from '../tokenizer/tokenizer.js';
import type { ServedToken } from './messages.js';

export class ServedTokens {
  readonly #decoder: TokenDecoder;
  /** Characters that the tokens so far have made. */
  #length = 0;

  constructor(private readonly tokenizer: Tokenizer) {
    this.#decoder = tokenizer.decoder();
  }

  /** Takes the next token of the answer. */
  next({ id, logprob, text, top, steps }: GeneratedToken): ServedToken {
    if (top === null || logprob === null) return { text, logprobs: null, steps };
    const name = (token: number) => this.tokenizer.decode([token]);
    const candidates = top.map((candidate) => ({ name: name(candidate.id), logprob: candidate.logprob }));
    const offset = this.#offset(id);
    return { text, logprobs: { name: name(id), logprob, offset, top: candidates }, steps };
  }

  /** Where the next token begins: all parts of a character where that begins, and a whole text after one that it breaks off. */
  #offset(id: number): number {
    const text = this.#decoder.push(id);
    const own = Math.max(0, text.indexOf(this.tokenizer.decode([id])));
    const offset = this.#length + characters(text.slice(0, own));
    this.#length += characters(text);
    return offset;
  }
}

/** Code points of a text, as Python counts them. */
function characters(text: string): number {
  return Array.from(text).length;
}

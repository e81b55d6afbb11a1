/** The tokens of one answer as they are served: by their bytes, and by where they begin in its text. */
import type { GeneratedToken, TokenLogprob } from '../generate/engine.js';
import type { TokenDecoder, Tokenizer } from '../tokenizer/tokenizer.js';
import type { BytesLogprob, ServedToken } from './messages.js';

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
    const own = this.#withBytes({ id, logprob });
    const candidates = top.map((candidate) => this.#withBytes(candidate));
    return { text, logprobs: { ...own, offset: this.#offset(id), top: candidates }, steps };
  }

  #withBytes({ id, logprob }: TokenLogprob): BytesLogprob {
    return { bytes: Array.from(this.tokenizer.bytesOf(id)), logprob };
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

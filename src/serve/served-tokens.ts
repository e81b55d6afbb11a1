/** The tokens of one answer as they are served: by their bytes, and by their offsets in its text. */
import type { GeneratedToken, TokenLogprob } from '../generate/request.js';
import { type TokenDecoder, type Tokenizer, textOf } from '../tokenizer/tokenizer.js';
import type { BytesLogprob, ServedToken } from './messages.js';

export class ServedTokens {
  readonly #decoder: TokenDecoder;
  /** Characters of the tokens so far. */
  #length = 0;
  /** The token before the next one, of the answer or the prompt: a token's text may depend on it. */
  #before: number | undefined;

  /**
   * @param before the ids before the first reported one
   * @param asked whether log-probabilities are
   */
  constructor(
    private readonly tokenizer: Tokenizer,
    before: ArrayLike<number>,
    private readonly asked: boolean,
  ) {
    this.#decoder = tokenizer.decoder(before);
    this.#before = before[before.length - 1];
  }

  /** Takes the next token of the answer. */
  next({ id, logprob, text, top, steps, echoed }: GeneratedToken): ServedToken {
    if (!this.asked) return { text, logprobs: null, steps, echoed };
    const bytes = Array.from(this.tokenizer.bytesOf(id, this.#before));
    const candidates = (top ?? []).map((candidate) => this.#withBytes(candidate));
    const offset = this.#offset(id);
    this.#before = id;
    return { text, logprobs: { bytes, logprob, offset, top: candidates, loops: steps }, steps, echoed };
  }

  #withBytes({ id, logprob }: TokenLogprob): BytesLogprob {
    return { bytes: Array.from(this.tokenizer.bytesOf(id, this.#before)), logprob };
  }

  /**
   * The next token's offset: all parts of a character have the character's offset, and a complete text comes after a
   * character that it breaks off.
   */
  #offset(id: number): number {
    const text = this.#decoder.push(id);
    const own = Math.max(0, text.indexOf(textOf(this.tokenizer, id, this.#before)));
    const offset = this.#length + characters(text.slice(0, own));
    this.#length += characters(text);
    return offset;
  }
}

/** Code points of a text, as Python counts them. */
function characters(text: string): number {
  return Array.from(text).length;
}

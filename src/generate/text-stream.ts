/**
 * From token ids to the text of an answer, piece by piece: characters are never split, and the answer ends before a
 * stop text.
 *
 * Each token extends the text. As soon as the text contains a complete stop text, the answer is over: it ends before
 * the stop text that begins first. Text that may still turn out to be the beginning of one is held back.
 */
import { ConfigError } from '../errors.js';
import type { TokenDecoder } from '../tokenizer/tokenizer.js';

export class TextStream {
  private held = '';
  private over = false;

  /** Throws ConfigError for an empty stop text. */
  constructor(
    private readonly decoder: TokenDecoder,
    private readonly stops: readonly string[] = [],
  ) {
    if (stops.includes('')) throw new ConfigError('stop', 'must be texts that are not empty');
  }

  /** Whether a stop text has been found; nothing may be pushed from then on. */
  get stopped(): boolean {
    return this.over;
  }

  /** Takes the next token and returns the text that now certainly belongs to the answer. */
  push(id: number): string {
    return this.take(this.decoder.push(id), true);
  }

  /** Takes a token without looking for stop texts, and returns its text; only before the first `push`. */
  pass(id: number): string {
    return this.decoder.push(id);
  }

  /** Returns the text that was held back, with an unfinished character as U+FFFD. */
  end(): string {
    return this.over ? '' : this.take(this.decoder.end(), false);
  }

  private take(text: string, more: boolean): string {
    const all = this.held + text;
    const starts = this.stops.map((stop) => all.indexOf(stop)).filter((start) => start >= 0);
    this.over = starts.length > 0;
    const end = this.over ? Math.min(...starts) : all.length - (more ? this.undecided(all) : 0);
    this.held = this.over ? '' : all.slice(end);
    return all.slice(0, end);
  }

  /** Length of the text's longest suffix that is a prefix of a stop text. */
  private undecided(text: string): number {
    let longest = 0;
    for (const stop of this.stops) {
      for (let n = Math.min(stop.length - 1, text.length); n > longest; n--) {
        if (text.endsWith(stop.slice(0, n))) longest = n;
      }
    }
    return longest;
  }
}

/** Replaces texts with others, in a whole text or in a text that arrives piece by piece. */
import type { TokenDecoder } from './tokenizer.js';

/** A text to replace wherever it occurs, and its replacement. */
export type Replacement = readonly [from: string, to: string];

/** Makes the replacements one after the other. */
export function withReplacements(text: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((all, [from, to]) => all.replaceAll(from, () => to), text);
}

/** Makes replacements in the output of another decoder, and holds back text that may be the beginning of a match. */
export class ReplacingDecoder implements TokenDecoder {
  readonly #source: TokenDecoder;
  readonly #steps: readonly Replacer[];

  constructor(source: TokenDecoder, replacements: readonly Replacement[]) {
    this.#source = source;
    this.#steps = replacements.map(([from, to]) => new Replacer(from, to));
  }

  push(id: number): string {
    return this.#steps.reduce((text, step) => step.push(text), this.#source.push(id));
  }

  end(): string {
    return this.#steps.reduce((text, step) => step.push(text) + step.end(), this.#source.end());
  }
}

class Replacer {
  #held = '';

  constructor(
    readonly from: string,
    readonly to: string,
  ) {}

  push(text: string): string {
    const { from, to } = this;
    const parts = (this.#held + text).split(from);
    const last = parts.pop()!;
    let held = Math.min(last.length, from.length - 1);
    while (!last.endsWith(from.slice(0, held))) held--;
    this.#held = last.slice(last.length - held);
    return [...parts, last.slice(0, last.length - held)].join(to);
  }

  end(): string {
    const text = this.#held;
    this.#held = '';
    return text;
  }
}

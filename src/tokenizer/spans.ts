/** Encodes texts with special tokens between them. Callers decide which tokens are special. */
import type { SpecialToken, Tokenizer } from './tokenizer.js';

/** A special token, or a text in which no special token is recognised. */
export type Span = string | SpecialToken;

/**
 * The ids of texts and special tokens one after another. Each text is encoded by itself, as Hugging Face's tokenizers
 * do between two added tokens; a token with `lstrip` or `rstrip` includes the white space beside it.
 */
export function encodeSpans(tokenizer: Tokenizer, spans: readonly Span[]): number[] {
  return spans.flatMap((span, i) => {
    if (typeof span !== 'string') return [span.id];
    const [before, after] = [spans[i - 1], spans[i + 1]];
    let text = span;
    if (typeof before === 'object' && before.rstrip) text = text.trimStart();
    if (typeof after === 'object' && after.lstrip) text = text.trimEnd();
    return Array.from(tokenizer.encode(text, i > 0));
  });
}

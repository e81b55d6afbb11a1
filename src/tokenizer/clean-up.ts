/**
 * The clean-up of spaces that transformers does after decoding, if `tokenizer_config.json` asks for it.
 */
import { isRecord, modelType } from './huggingface-json.js';
import type { TokenizerJSON } from './tokenizer.js';

/** Replacements that remove spaces which English does not have, in this order. */
const SPACES = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] as const;

/** A decoder that joins tokens with spaces, as without a decoder: no token begins with the prefix. */
const JOIN = { type: 'WordPiece', prefix: '\u0000\u0000', cleanup: false };

/**
 * The content of a `tokenizer.json` whose decoder also cleans up, if the content `config` of its
 * `tokenizer_config.json` asks for it, so that the one file says everything. BPE is cleaned up only if its own field
 * asks for it.
 */
export function withCleanUp(json: TokenizerJSON, config: unknown): TokenizerJSON {
  if (!isRecord(config) || config.clean_up_tokenization_spaces !== true || !isRecord(json.model)) return json;
  const forced = config.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output === true;
  if (modelType(json.model) === 'BPE' && !forced) return json;
  const steps = SPACES.map(([from, to]) => ({ type: 'Replace', pattern: { String: from }, content: to }));
  return {
    ...json,
    decoder: { type: 'Sequence', decoders: [json.decoder ?? JOIN, { type: 'Fuse' }, ...steps] },
  };
}

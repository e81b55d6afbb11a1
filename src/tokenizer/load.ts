/**
 * Makes a tokenizer from a name or from the content of a `tokenizer.json`. Callers read the files.
 *
 * A folder of prepared data and a trained run keep their tokenizer in a file `tokenizer.json`, which has one of four
 * forms:
 *
 * - `{"type": "bytes"}`: one id a byte;
 * - `{"type": "gpt2"}`: GPT-2's vocabulary, which the package gpt-tokenizer holds;
 * - `{"type": "characters", "characters": ["\n", " ", …]}`: one id a character, its place in the list;
 * - a Hugging Face `tokenizer.json`, which has a field `model`: byte-level BPE trained here, or any other. If its
 *   end-of-text token is not `<|endoftext|>`, a file `tokenizer_config.json` beside it names the token.
 */
import { ConfigError, DataError } from '../errors.js';
import { BytesTokenizer } from './bytes.js';
import { CharacterTokenizer } from './characters.js';
import { loadGpt2 } from './gpt2.js';
import { byteLevelFromJSON, type EndOfTextHints, isRecord } from './huggingface-json.js';
import type { PartingTokenizer, Tokenizer } from './tokenizer.js';

/** The names of tokenizers that need no file and no training. */
export const TOKENIZER_NAMES = ['bytes', 'gpt2'] as const;

/** Makes a tokenizer by name: 'bytes' or 'gpt2'; throws ConfigError for another name. */
export async function createTokenizer(name: string): Promise<PartingTokenizer> {
  if (name === 'bytes') return new BytesTokenizer();
  if (name === 'gpt2') return loadGpt2();
  throw new ConfigError('tokenizer', `must be one of ${TOKENIZER_NAMES.join(', ')}`, name);
}

/**
 * Makes a tokenizer from the parsed content of `tokenizer.json`, in any of its forms. Byte-level BPE with
 * GPT-2's settings uses the encoder of `bpe.ts`; every other model is put together in `huggingface.ts`.
 *
 * @param where the file's name, for messages
 * @param hints what other files say of the tokenizer's end of text
 * @throws DataError if the content is not a tokenizer, or its vocabulary does not fit 16-bit ids
 */
export async function tokenizerFromJSON(
  json: unknown,
  where = 'tokenizer.json',
  hints: EndOfTextHints = {},
): Promise<Tokenizer> {
  if (!isRecord(json))
    throw new DataError(
      where,
      'must be a JSON object',
      json === null ? 'null' : Array.isArray(json) ? 'a list' : typeof json,
    );
  if (json.model === undefined) {
    const type = json.type;
    if (type === 'bytes' || type === 'gpt2') return createTokenizer(type);
    if (type === 'characters' && Array.isArray(json.characters)) {
      return new CharacterTokenizer(json.characters, `${where}: characters`);
    }
    throw new DataError(
      where,
      `must have a Hugging Face model, or a type of ${TOKENIZER_NAMES.join(', ')}, characters`,
      type === undefined ? `the fields ${Object.keys(json).slice(0, 5).join(' ') || '(none)'}` : String(type),
    );
  }
  const byteLevel = byteLevelFromJSON(json, where, hints);
  if (byteLevel !== undefined) return byteLevel;
  const { HuggingFaceTokenizer } = await import('./huggingface.js');
  return HuggingFaceTokenizer.fromJSON(json, where, hints);
}

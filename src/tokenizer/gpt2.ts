/**
 * GPT-2's own tokenizer (r50k_base). The vocabulary comes from the package gpt-tokenizer, which is loaded
 * only when asked for; the encoder is the one of `bpe.ts`.
 */
import { DataError } from '../errors.js';
import { ByteLevelTokenizer, sameByteLevel } from './bpe.js';
import { MergeTable } from './merges.js';
import { END_OF_TEXT, type Tokenizer } from './tokenizer.js';

/** Number of GPT-2's ids, the end of the text (the last one) included. */
export const GPT2_VOCAB_SIZE = 50_257;

/** Makes GPT-2's tokenizer; throws DataError if the package with its vocabulary is missing or another one. */
export async function loadGpt2(): Promise<ByteLevelTokenizer> {
  let ranks: readonly (string | readonly number[])[];
  try {
    ranks = (await import('gpt-tokenizer/bpeRanks/r50k_base')).default;
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new DataError('tokenizer gpt2', 'its vocabulary must load', reason, 'npm install gpt-tokenizer');
  }
  if (ranks.length !== GPT2_VOCAB_SIZE - 1) {
    throw new DataError(
      'tokenizer gpt2',
      `its vocabulary must have ${GPT2_VOCAB_SIZE - 1} tokens`,
      ranks.length,
    );
  }
  const utf8 = new TextEncoder();
  const tokens = ranks.map((token) =>
    typeof token === 'string' ? utf8.encode(token) : Uint8Array.from(token),
  );
  const idOfByte = new Uint16Array(256);
  for (let id = 0; id < 256; id++) idOfByte[tokens[id][0]] = id;
  const merges = mergesOf(tokens, idOfByte);
  const eot = tokens.push(utf8.encode(END_OF_TEXT)) - 1;
  return new ByteLevelTokenizer({
    name: 'gpt2',
    tokens,
    idOfByte,
    merges,
    eot,
    toJSON: () => ({ type: 'gpt2' }),
  });
}

/** Whether a tokenizer is GPT-2's under another name, as read from a Hugging Face folder. Throws as `loadGpt2`. */
export async function isGpt2(tokenizer: Tokenizer): Promise<boolean> {
  return tokenizer.vocabSize === GPT2_VOCAB_SIZE && sameByteLevel(await loadGpt2(), tokenizer);
}

/**
 * Recovers the merges from a vocabulary in order of training: encoded by the merges before it, each token
 * falls into the two parts of which it was made.
 */
function mergesOf(tokens: readonly Uint8Array[], idOfByte: Uint16Array): MergeTable {
  const table = new MergeTable();
  for (let id = 256; id < tokens.length; id++) {
    const ids = Uint16Array.from(tokens[id], (byte) => idOfByte[byte]);
    const parts = table.apply(ids, 0, ids.length);
    if (parts !== 2) {
      throw new DataError('tokenizer gpt2', `token ${id} must be a merge of two earlier ones`, parts);
    }
    table.add(ids[0], ids[1], id);
  }
  return table;
}

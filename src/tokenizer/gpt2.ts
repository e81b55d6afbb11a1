/**
 * GPT-2's own tokenizer (r50k_base). The vocabulary comes from the package gpt-tokenizer, which is loaded on demand;
 * the encoder is that of `bpe.ts`.
 */
import { DataError } from '../errors.js';
import { ByteLevelTokenizer, sameByteLevel } from './bpe.js';
import { MergeTable } from './merges.js';
import { END_OF_TEXT, type Tokenizer } from './tokenizer.js';

/** Number of GPT-2's ids, including the last one, the end of the text. */
export const GPT2_VOCAB_SIZE = 50_257;

/** Makes GPT-2's tokenizer; throws DataError if the package is missing or its vocabulary is not GPT-2's. */
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
  const tokens = bytesOf(ranks);
  const idOfByte = new Uint16Array(256);
  for (let id = 0; id < 256; id++) idOfByte[tokens[id][0]] = id;
  const merges = mergesOf(tokens, idOfByte);
  const eot = tokens.push(new TextEncoder().encode(END_OF_TEXT)) - 1;
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

/** The bytes of each token, in one array: tens of thousands of small arrays would take longer to make. */
function bytesOf(ranks: readonly (string | readonly number[])[]): Uint8Array[] {
  const utf8 = new TextEncoder();
  const lengths = ranks.map((token) => (typeof token === 'string' ? 3 : 1) * token.length); // at most 3 bytes a unit
  const memory = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let end = 0;
  return ranks.map((token) => {
    const start = end;
    if (typeof token === 'string') {
      end += utf8.encodeInto(token, memory.subarray(start)).written;
    } else {
      memory.set(token, start);
      end += token.length;
    }
    return memory.subarray(start, end);
  });
}

/**
 * Recovers the merges from a vocabulary in order of training: the merges before a token encode it to the two parts of
 * which it was made.
 */
function mergesOf(tokens: readonly Uint8Array[], idOfByte: Uint16Array): MergeTable {
  const table = new MergeTable();
  const ids = new Uint16Array(Math.max(...tokens.map((token) => token.length)));
  for (let id = 256; id < tokens.length; id++) {
    const token = tokens[id];
    for (let i = 0; i < token.length; i++) ids[i] = idOfByte[token[i]];
    const parts = table.apply(ids, 0, token.length);
    if (parts !== 2) {
      throw new DataError('tokenizer gpt2', `token ${id} must be a merge of two earlier ones`, parts);
    }
    table.add(ids[0], ids[1], id);
  }
  return table;
}

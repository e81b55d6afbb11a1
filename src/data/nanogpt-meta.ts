/**
 * `meta.pkl` of nanoGPT's character data: the dicts `stoi` and `itos`, and `vocab_size`. Nothing in the pickle is
 * executed.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../errors.js';
import { readPickledDict } from '../formats/pickle.js';
import { CharacterTokenizer } from '../tokenizer/characters.js';

const META_PICKLE = 'meta.pkl';
/** Many times what a vocabulary of 16-bit ids takes. */
const MOST_BYTES = 1 << 24;
const INSTEAD = 'remove it and give --vocab-size';

/**
 * The tokenizer of a folder prepared by nanoGPT; null if it has no `meta.pkl`. Throws DataError for any other pickle.
 */
export async function readMetaPickle(folder: string): Promise<CharacterTokenizer | null> {
  const path = join(folder, META_PICKLE);
  const status = await stat(path).catch(() => undefined);
  if (status === undefined) return null;
  const refuse = (rule: string, got: unknown): DataError => new DataError(path, rule, got, INSTEAD);
  if (status.size > MOST_BYTES) throw refuse(`must have at most ${MOST_BYTES} bytes`, status.size);
  const meta = readPickledDict(await readFile(path), path, INSTEAD);
  const [stoi, itos, size] = ['stoi', 'itos', 'vocab_size'].map((name) => meta.get(name));
  if (!(stoi instanceof Map && itos instanceof Map) || typeof size !== 'number') {
    throw refuse('must hold the dicts stoi and itos and the number vocab_size', [...meta.keys()]);
  }
  if (itos.size !== size || stoi.size !== size) {
    throw refuse(`must have the vocab_size = ${size} characters`, `${stoi.size} and ${itos.size}`);
  }
  const characters = Array.from({ length: size }, (_, id) => itos.get(id));
  const other = characters.findIndex((character, id) => stoi.get(character) !== id);
  if (other >= 0) throw refuse('must give each id from 0 on to one character in stoi and in itos', other);
  return new CharacterTokenizer(characters as string[], `${path}: itos`);
}

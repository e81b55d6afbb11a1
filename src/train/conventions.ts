/**
 * The text conventions of an imported model, which its run keeps under transformers' file names: the ids with which
 * texts begin and end (`generation_config.json`), special tokens by name (`tokenizer_config.json`), and the chat
 * template (`chat_template.jinja`). A run that was trained here needs none of them.
 */
import { NO_TEXT_IDS, parseTextIds, type TextIds } from '../generate/text-ids.js';
import { END_OF_TEXT, type Tokenizer } from '../tokenizer/tokenizer.js';
import {
  endOfTextNames,
  namedTokens,
  TOKENIZER_CONFIG_FILE,
  type TokenNames,
} from '../tokenizer/special-tokens.js';
import { readJSON } from './json.js';
import type { Store } from '../platform.js';

export const GENERATION_CONFIG_FILE = 'generation_config.json';
export const CHAT_TEMPLATE_FILE = 'chat_template.jinja';
/** The files that hold conventions. */
export const CONVENTION_FILES = [GENERATION_CONFIG_FILE, TOKENIZER_CONFIG_FILE, CHAT_TEMPLATE_FILE] as const;

export interface Conventions {
  /** The content of generation_config.json; null for none. */
  readonly generation: Readonly<Record<string, unknown>> | null;
  /** Special tokens by name; null if only the tokenizer's end of text is known. */
  readonly tokens: TokenNames | null;
  /** A chat template in Jinja; null for none. */
  readonly chatTemplate: string | null;
}

/** Reads a run's conventions. Throws CheckpointError or DataError if a file is damaged. */
export async function readConventions(store: Store, name: string): Promise<Conventions> {
  const names = await store.list('.');
  const has = (file: string) => names.includes(file);
  return {
    generation: has(GENERATION_CONFIG_FILE) ? await readJSON(store, GENERATION_CONFIG_FILE) : null,
    tokens: await readTokenNames(store, name),
    chatTemplate: has(CHAT_TEMPLATE_FILE)
      ? new TextDecoder().decode(await store.read(CHAT_TEMPLATE_FILE))
      : null,
  };
}

/** Writes conventions into the folder of a new run. */
export async function writeConventions(store: Store, conventions: Conventions): Promise<void> {
  const { generation, tokens, chatTemplate } = conventions;
  if (generation) await store.replace(GENERATION_CONFIG_FILE, `${JSON.stringify(generation, null, 2)}\n`);
  if (tokens) await store.replace(TOKENIZER_CONFIG_FILE, `${JSON.stringify(tokens, null, 2)}\n`);
  if (chatTemplate !== null) await store.replace(CHAT_TEMPLATE_FILE, chatTemplate);
}

/** The ids with which texts begin and end. Throws DataError for ids outside the vocabulary. */
export function textIdsOf(
  { generation }: Pick<Conventions, 'generation'>,
  name: string,
  vocabSize: number,
): TextIds {
  if (generation === null) return NO_TEXT_IDS;
  return parseTextIds(generation, `${name}/${GENERATION_CONFIG_FILE}`, vocabSize);
}

/** Special tokens by their names in templates. */
export function tokenNames({ tokens }: Pick<Conventions, 'tokens'>, tokenizer: Tokenizer): TokenNames {
  return tokens ?? endOfTextNames(tokenizer);
}

/** A run's names of special tokens; null if it has none. Throws CheckpointError or DataError if they are damaged. */
export async function readTokenNames(store: Store, name: string): Promise<TokenNames | null> {
  if (!(await store.has(TOKENIZER_CONFIG_FILE))) return null;
  return namedTokens(await readJSON(store, TOKENIZER_CONFIG_FILE), undefined, name).names;
}

/** Ensures that a run's tokenizer is read again with the same end of text. */
export async function nameEndOfText(store: Store, tokenizer: Tokenizer): Promise<void> {
  const names = await readTokenNames(store, '.');
  if (tokenizer.eotToken === null || (names?.eos_token ?? END_OF_TEXT) === tokenizer.eotToken) return;
  await store.replace(TOKENIZER_CONFIG_FILE, `${JSON.stringify(endOfTextNames(tokenizer), null, 2)}\n`);
}

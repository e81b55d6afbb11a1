/**
 * How the texts of an imported model are written, which its run keeps under transformers' file names: by which ids they begin
 * and end (`generation_config.json`), its special tokens by name (`tokenizer_config.json`), and its chat template
 * (`chat_template.jinja`). A run that was trained here needs none of them.
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
  /** The content of generation_config.json; null where there is none. */
  readonly generation: Readonly<Record<string, unknown>> | null;
  /** Special tokens by name; null where the tokenizer's end of text is all that is known. */
  readonly tokens: TokenNames | null;
  /** A chat template in Jinja; null where there is none. */
  readonly chatTemplate: string | null;
}

/** Reads a run's conventions. Throws CheckpointError or DataError where a file is damaged. */
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

/** By which ids texts begin and end. Throws DataError for ids that the vocabulary does not have. */
export function textIdsOf(
  { generation }: Pick<Conventions, 'generation'>,
  name: string,
  vocabSize: number,
): TextIds {
  if (generation === null) return NO_TEXT_IDS;
  return parseTextIds(generation, `${name}/${GENERATION_CONFIG_FILE}`, vocabSize);
}

/** Special tokens by the names that templates know them by. */
export function tokenNames({ tokens }: Pick<Conventions, 'tokens'>, tokenizer: Tokenizer): TokenNames {
  return tokens ?? endOfTextNames(tokenizer);
}

/** The names that a run has of special tokens; null where it has none. Throws CheckpointError or DataError where they are damaged. */
export async function readTokenNames(store: Store, name: string): Promise<TokenNames | null> {
  if (!(await store.has(TOKENIZER_CONFIG_FILE))) return null;
  return namedTokens(await readJSON(store, TOKENIZER_CONFIG_FILE), undefined, name).names;
}

/** Sees to it that the tokenizer that a run has is read again with the same end of text. */
export async function nameEndOfText(store: Store, tokenizer: Tokenizer): Promise<void> {
  const names = await readTokenNames(store, '.');
  if (tokenizer.eotToken === null || (names?.eos_token ?? END_OF_TEXT) === tokenizer.eotToken) return;
  await store.replace(TOKENIZER_CONFIG_FILE, `${JSON.stringify(endOfTextNames(tokenizer), null, 2)}\n`);
}

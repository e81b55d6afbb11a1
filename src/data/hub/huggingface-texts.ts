/**
 * How a model in Hugging Face's layout writes texts: its tokenizer and special tokens, the ids that begin and end
 * texts, its chat template. This file says which files hold these, and which file takes precedence where two differ.
 */
import { dirname, join } from 'node:path';
import { ConfigError, DataError } from '../../errors.js';
import { parseTextIds, type TextIds, textIdFields } from '../../generate/text-ids.js';
import { withCleanUp } from '../../tokenizer/clean-up.js';
import { isRecord, tokenizerJSONFromVocab, vocabularyIds } from '../../tokenizer/huggingface-json.js';
import { tokenizerFromJSON } from '../../tokenizer/load.js';
import {
  ADDED_TOKENS_FILE,
  endOfTextNames,
  knownNames,
  namedTokens,
  SPECIAL_TOKENS_FILE,
  TOKENIZER_CONFIG_FILE,
  type TokenNames,
  withAddedTokens,
  withSpecialTokens,
} from '../../tokenizer/special-tokens.js';
import {
  END_OF_TEXT,
  MAX_VOCAB_SIZE,
  type Tokenizer,
  type TokenizerJSON,
} from '../../tokenizer/tokenizer.js';
import { CHAT_TEMPLATE_FILE, GENERATION_CONFIG_FILE } from '../../train/conventions.js';
import { type ModelFiles, optionalJSON, readJSON, readText } from './model-files.js';
import { readJSON as readLocalJSON } from '../../node/json-file.js';

export const CONFIG_FILE = 'config.json';
const TOKENIZER = 'tokenizer.json';
const VOCAB = 'vocab.json';
const MERGES = 'merges.txt';
/** The former place of templates, before chat_template.jinja. */
const CHAT_TEMPLATE_JSON = 'chat_template.json';
const MORE_TEMPLATES = 'additional_chat_templates';
const DEFAULT_TEMPLATE = 'default';
/** GPT2Config's default for both ids, which it also has with a smaller vocabulary. */
const GPT2_DEFAULT_ID = 50_256;

/** A tokenizer's files, read but not interpreted; undefined stands for a missing file. */
export interface TokenizerFiles {
  /** The folder, for messages. */
  readonly where: string;
  /** The content of `tokenizer.json`, or one made of `vocab.json` and `merges.txt`; null if there is neither. */
  readonly tokenizer: TokenizerJSON | null;
  /** The file that `tokenizer` comes from, for messages. */
  readonly tokenizerPath: string;
  readonly tokenizerConfig: unknown;
  readonly specialTokens: unknown;
  readonly addedTokens: unknown;
}

/** A tokenizer's files, with all other files that say how texts are written. */
export interface TextFiles extends TokenizerFiles {
  readonly config: unknown;
  readonly generation: unknown;
  /** The content of chat_template.jinja. */
  readonly chatTemplate: string | undefined;
  readonly chatTemplateJSON: unknown;
  /** Whether there is a folder of further templates. */
  readonly moreTemplates: boolean;
}

/** Reads a model's text files. Throws CheckpointError or DataError for a damaged file. */
export async function readTextFiles(files: ModelFiles): Promise<TextFiles> {
  const { where, names } = files;
  return {
    where,
    config: await optionalJSON(files, CONFIG_FILE),
    generation: await optionalJSON(files, GENERATION_CONFIG_FILE),
    tokenizer: await (names.includes(TOKENIZER) ? readTokenizer(files) : readVocab(files)),
    tokenizerPath: join(where, names.includes(TOKENIZER) ? TOKENIZER : VOCAB),
    tokenizerConfig: await optionalJSON(files, TOKENIZER_CONFIG_FILE),
    specialTokens: await optionalJSON(files, SPECIAL_TOKENS_FILE),
    addedTokens: await optionalJSON(files, ADDED_TOKENS_FILE),
    chatTemplate: names.includes(CHAT_TEMPLATE_FILE) ? await readText(files, CHAT_TEMPLATE_FILE) : undefined,
    chatTemplateJSON: await optionalJSON(files, CHAT_TEMPLATE_JSON),
    moreTemplates: names.includes(MORE_TEMPLATES),
  };
}

async function readTokenizer(files: ModelFiles): Promise<TokenizerJSON> {
  const json = await readJSON(files, TOKENIZER);
  if (isRecord(json)) return json;
  throw new DataError(
    join(files.where, TOKENIZER),
    'must be a JSON object',
    json === null ? 'null' : typeof json,
  );
}

/** Reads GPT-2's older pair of files; null if there is neither. */
async function readVocab(files: ModelFiles): Promise<TokenizerJSON | null> {
  const { where, names } = files;
  const parts = [VOCAB, MERGES].filter((name) => names.includes(name));
  if (parts.length === 0) return null;
  if (parts.length === 1) {
    throw new DataError(where, `must hold ${VOCAB} and ${MERGES} together`, `only ${parts[0]}`);
  }
  return tokenizerJSONFromVocab(
    await readJSON(files, VOCAB),
    await readText(files, MERGES),
    join(where, VOCAB),
  );
}

/** The ids that begin and end texts, with the generation_config.json to keep and notices. */
export interface FoundTextIds {
  readonly ids: TextIds;
  /** The content of generation_config.json with these ids; null if there is no such file, and no file gives ids. */
  readonly generation: Readonly<Record<string, unknown>> | null;
  readonly notices: readonly string[];
}

/**
 * Finds the ids that begin and end texts. generation_config.json takes precedence, as in transformers' `generate`.
 * Throws DataError for ids that the model does not have.
 */
export function foundTextIds(
  { where, config, generation }: Pick<TextFiles, 'where' | 'config' | 'generation'>,
  vocabSize: number,
): FoundTextIds {
  const notices: string[] = [];
  const idsOf = (json: unknown, file: string): TextIds => {
    if (json !== undefined && !isRecord(json)) {
      throw new DataError(join(where, file), 'must be an object', typeof json);
    }
    const fields = { bos_token_id: json?.bos_token_id, eos_token_id: json?.eos_token_id };
    for (const [field, id] of Object.entries(fields)) {
      if (id !== GPT2_DEFAULT_ID || id < vocabSize) continue;
      notices.push(`${join(where, file)}: ${field} ${id} is GPT-2's, and beyond this vocabulary: ignored`);
      fields[field as keyof typeof fields] = null;
    }
    return parseTextIds(fields, join(where, file), vocabSize);
  };
  const [first, second] = [idsOf(generation, GENERATION_CONFIG_FILE), idsOf(config, CONFIG_FILE)];
  const ids = { bos: first.bos ?? second.bos, eos: first.eos.length > 0 ? first.eos : second.eos };
  const nothing = generation === undefined && ids.bos === null && ids.eos.length === 0;
  return { ids, generation: nothing ? null : { ...(generation as object), ...textIdFields(ids) }, notices };
}

/** A tokenizer, and its special tokens by name. */
export interface FoundTokenizer {
  readonly tokenizer: Tokenizer;
  /** Null if the end of text is the only one, under its usual name. */
  readonly tokens: TokenNames | null;
}

/**
 * Makes the tokenizer. Throws DataError if it is damaged, or no file names its end of text.
 *
 * @param eot the token that ends a text, as the user names it; throws ConfigError if there is no such token
 */
export async function foundTokenizer(
  json: TokenizerJSON,
  {
    where,
    tokenizerPath: path,
    tokenizerConfig,
    specialTokens,
    addedTokens,
  }: Omit<TokenizerFiles, 'tokenizer'>,
  { bos, eos }: TextIds,
  eot?: string,
): Promise<FoundTokenizer> {
  const { names: own, others } = namedTokens(tokenizerConfig, specialTokens, where);
  const names = eot === undefined ? own : { ...own, eos_token: eot };
  if (json.model === undefined) {
    if (eot !== undefined)
      throw new ConfigError('--eot', `must not be given with ${path}, which has its own`, eot);
    return { tokenizer: await tokenizerFromJSON(json, path), tokens: null };
  }
  const contents = new Set([...Object.values(names), ...others]);
  const whole = withAddedTokens(json, tokenizerConfig, addedTokens, contents, where);
  if (eot !== undefined && !vocabularyIds(whole, path).has(eot)) {
    throw new ConfigError('--eot', `must be a token of ${path}`, eot);
  }
  const marked = withSpecialTokens(whole, contents, new Set([...eos, ...(bos === null ? [] : [bos])]), path);
  const cleaned = withCleanUp(marked, tokenizerConfig);
  const tokenizer = await tokenizerFromJSON(cleaned, path, { token: names.eos_token, ids: eos });
  const known = knownNames(names, whole, path);
  const usual = Object.keys(known).length === 0 && tokenizer.eotToken === END_OF_TEXT;
  if (usual) return { tokenizer, tokens: null };
  const { bos_token, eos_token } = endOfTextNames(tokenizer);
  const unnamed = known.bos_token === undefined && known.eos_token === undefined;
  return { tokenizer, tokens: { ...(unnamed ? { bos_token } : {}), ...known, eos_token } };
}

/**
 * Reads a `tokenizer.json` of any name, and the files beside it. Throws DataError if it is missing or damaged.
 *
 * @param eot as `foundTokenizer` has it
 */
export async function tokenizerInFile(path: string, eot?: string): Promise<Tokenizer> {
  const json = await readLocalJSON(path);
  if (json === undefined) throw new DataError(path, 'must be a tokenizer.json', 'no such file');
  if (!isRecord(json)) return tokenizerFromJSON(json, path);
  const where = dirname(path);
  const beside = async (name: string) => readLocalJSON(join(where, name));
  const objectBeside = async (name: string) => [await beside(name)].find(isRecord);
  const [config, generation] = [await objectBeside(CONFIG_FILE), await objectBeside(GENERATION_CONFIG_FILE)];
  const { ids } = foundTextIds({ where, config, generation }, MAX_VOCAB_SIZE);
  const files = {
    where,
    tokenizerPath: path,
    tokenizerConfig: await beside(TOKENIZER_CONFIG_FILE),
    specialTokens: await beside(SPECIAL_TOKENS_FILE),
    addedTokens: await beside(ADDED_TOKENS_FILE),
  };
  return (await foundTokenizer(json, files, ids, eot)).tokenizer;
}

/** A model's chat template, with notices. */
export interface FoundTemplate {
  /** Null if the model has none, or none by default. */
  readonly chatTemplate: string | null;
  readonly notices: readonly string[];
}

/**
 * Finds a model's chat template. chat_template.jinja takes precedence, as in transformers. Throws DataError if a
 * template is not text.
 */
export function foundTemplate(files: TextFiles): FoundTemplate {
  const { where, chatTemplate, tokenizerConfig, chatTemplateJSON, moreTemplates } = files;
  const templates =
    chatTemplate !== undefined
      ? new Map([[DEFAULT_TEMPLATE, chatTemplate]])
      : (namedTemplates(tokenizerConfig, join(where, TOKENIZER_CONFIG_FILE)) ??
        namedTemplates(chatTemplateJSON, join(where, CHAT_TEMPLATE_JSON)));
  const others = [...(templates?.keys() ?? [])].filter((name) => name !== DEFAULT_TEMPLATE);
  const left = [...others, ...(moreTemplates ? [`those in ${MORE_TEMPLATES}`] : [])];
  const notices = left.length === 0 ? [] : [`${where}: chat templates skipped: ${left.join(', ')}`];
  return { chatTemplate: templates?.get(DEFAULT_TEMPLATE) ?? null, notices };
}

/**
 * The templates of a field `chat_template`, by name. The field is one text, a list of named templates, or an object of
 * templates; undefined if there is none.
 */
function namedTemplates(json: unknown, where: string): Map<string, string> | undefined {
  const field = isRecord(json) ? json.chat_template : undefined;
  if (field === undefined || field === null) return undefined;
  const entries = isRecord(field)
    ? Object.entries(field)
    : Array.isArray(field)
      ? field.map((one: unknown) => (isRecord(one) ? [one.name, one.template] : [one]))
      : [[DEFAULT_TEMPLATE, field]];
  return new Map(
    entries.map(([name, template]): [string, string] => {
      if (typeof name === 'string' && typeof template === 'string') return [name, template];
      const rule = 'must be a text, or a list of objects with a name and a template';
      throw new DataError(`${where}: chat_template`, rule, JSON.stringify(template ?? name));
    }),
  );
}

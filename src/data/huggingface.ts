/**
 * Folders in Hugging Face's layout: which files hold the configuration, the weights and the tokenizer. Knows files; what
 * is in a configuration is for `models/huggingface.ts`.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CheckpointError, DataError } from '../errors.js';
import { tokenizerJSONFromVocab } from '../tokenizer/huggingface-json.js';
import type { TokenizerJSON } from '../tokenizer/tokenizer.js';
import { TensorFiles } from './tensor-files.js';

const CONFIG = 'config.json';
const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const TOKENIZER = 'tokenizer.json';
const VOCAB = 'vocab.json';
const MERGES = 'merges.txt';
/** Endings of files that PyTorch pickles. */
const PICKLED = /\.(bin|pt|pth|ckpt|pkl)$/;

const MODELING = new URL('../../../python/modeling_loopnn.py', import.meta.url);

/** The PyTorch file that an exported loop network carries. */
export function readModelingFile(): Promise<string> {
  return readFile(MODELING, 'utf8');
}

/** An open folder. */
export interface HuggingFaceFolder extends AsyncDisposable {
  /** The content of `config.json`, and the file's path for messages. */
  readonly config: unknown;
  readonly configPath: string;
  readonly weights: TensorFiles;
  /** The content of `tokenizer.json`, or one made of `vocab.json` and `merges.txt`; null where there is neither. */
  readonly tokenizer: TokenizerJSON | null;
  readonly tokenizerPath: string;
}

/** Opens a folder and its weights. Throws CheckpointError or DataError for what is missing, damaged or pickled. */
export async function openHuggingFace(folder: string): Promise<HuggingFaceFolder> {
  const names = await listFolder(folder);
  const paths = await weightFiles(folder, names);
  const configPath = join(folder, CONFIG);
  if (!names.includes(CONFIG)) {
    throw new CheckpointError(folder, `must hold a ${CONFIG}`, undefined, 'is it a Hugging Face model?');
  }
  const config = await readJSON(configPath);
  const tokenizer = await readTokenizer(folder, names);
  const weights = await TensorFiles.open(paths);
  const tokenizerPath = join(folder, names.includes(TOKENIZER) ? TOKENIZER : VOCAB);
  const close = () => weights[Symbol.asyncDispose]();
  return { config, configPath, weights, tokenizer, tokenizerPath, [Symbol.asyncDispose]: close };
}

async function listFolder(folder: string): Promise<string[]> {
  const status = await stat(folder).catch(() => null);
  if (status?.isDirectory()) return (await readdir(folder)).sort();
  if (status && PICKLED.test(folder)) throw pickled(folder);
  const hint = status ? 'give the folder that the file is in' : undefined;
  throw new CheckpointError(folder, `must be a folder with ${CONFIG} and ${WEIGHTS}`, undefined, hint);
}

async function weightFiles(folder: string, names: readonly string[]): Promise<string[]> {
  if (names.includes(WEIGHTS)) return [join(folder, WEIGHTS)];
  if (names.includes(INDEX)) return shards(folder, names);
  const found = names.find((name) => PICKLED.test(name.replace(/\.index\.json$/, '')));
  if (found !== undefined) throw pickled(join(folder, found));
  throw new CheckpointError(folder, `must hold ${WEIGHTS}, or ${INDEX} with its shards`);
}

async function shards(folder: string, names: readonly string[]): Promise<string[]> {
  const path = join(folder, INDEX);
  const map = ((await readJSON(path)) as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Object.keys(map).length === 0) {
    throw new CheckpointError(path, 'must have a weight_map from tensors to files');
  }
  const files = [...new Set(Object.values(map))].sort();
  for (const file of files) {
    if (typeof file !== 'string' || basename(file) !== file) {
      throw new CheckpointError(`${path}: weight_map`, 'must name files in the same folder', String(file));
    }
    if (!names.includes(file)) {
      throw new CheckpointError(folder, `must hold ${file}, which ${INDEX} names`);
    }
  }
  return files.map((file) => join(folder, file as string));
}

function pickled(path: string): CheckpointError {
  return new CheckpointError(
    path,
    'must not be a pickled checkpoint: opening one can run any code that its maker put into it',
    undefined,
    basename(path).startsWith('pytorch_model')
      ? 'convert it where you trust it: model = transformers.AutoModelForCausalLM.from_pretrained(folder); model.save_pretrained(new_folder)'
      : 'convert it where you trust it: load it in Python, and write its tensors with safetensors.torch.save_file under Hugging Face GPT-2’s names',
  );
}

async function readTokenizer(folder: string, names: readonly string[]): Promise<TokenizerJSON | null> {
  if (names.includes(TOKENIZER)) return (await readJSON(join(folder, TOKENIZER))) as TokenizerJSON;
  const parts = [VOCAB, MERGES].filter((name) => names.includes(name));
  if (parts.length === 0) return null;
  if (parts.length === 1) {
    throw new DataError(folder, `must hold ${VOCAB} and ${MERGES} together`, `only ${parts[0]}`);
  }
  const merges = await readText(join(folder, MERGES));
  return tokenizerJSONFromVocab(await readJSON(join(folder, VOCAB)), merges, join(folder, VOCAB));
}

async function readJSON(path: string): Promise<unknown> {
  const text = await readText(path);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CheckpointError(path, `must be JSON (${error instanceof Error ? error.message : error})`);
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(path, `must be a readable file (${reason})`);
  }
}

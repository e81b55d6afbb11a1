/**
 * Models in Hugging Face's layout, in a folder or wherever else files have names: which of them hold the configuration, the
 * weights and the tokenizer. Knows files; what is in a configuration is for `models/huggingface.ts`.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CheckpointError, DataError, LoopnnError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import { tokenizerJSONFromVocab } from '../tokenizer/huggingface-json.js';
import type { TokenizerJSON } from '../tokenizer/tokenizer.js';
import { TensorFiles } from './tensor-files.js';

const CONFIG = 'config.json';
const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const TOKENIZER = 'tokenizer.json';
const VOCAB = 'vocab.json';
const MERGES = 'merges.txt';
/** Of a file other than weights: many times what a vocabulary of 16-bit ids takes. */
const MOST_TEXT_BYTES = 1 << 26;
/** Names of files that PyTorch pickles; other .bin files are often tokens. */
const PICKLED = /\.(pt|pth|ckpt|pkl)$|model[\w.-]*\.bin$/;

const MODELING = new URL('../../../python/modeling_loopnn.py', import.meta.url);

/** The PyTorch file that an exported loop network carries. */
export function readModelingFile(): Promise<string> {
  return readFile(MODELING, 'utf8');
}

/** A model's files. */
export interface ModelFiles {
  /** For messages: the folder, or what else the user named. */
  readonly where: string;
  readonly names: readonly string[];
  /** A file's bytes. Throws CheckpointError for a folder or device. */
  size(name: string): Promise<number>;
  /** Says what fetching files will take, where it takes something; throws where there is no room for them. */
  announce(names: readonly string[]): Promise<void>;
  /** Makes sure that files are on this machine, and returns their paths. */
  fetch(names: readonly string[]): Promise<string[]>;
}

/** A model of which the small files are read, and the weights can be opened. */
export interface HuggingFaceModel {
  /** The content of `config.json`, and the file's path for messages. */
  readonly config: unknown;
  readonly configPath: string;
  /** The content of `tokenizer.json`, or one made of `vocab.json` and `merges.txt`; null where there is neither. */
  readonly tokenizer: TokenizerJSON | null;
  readonly tokenizerPath: string;
  /** Opens the weights, which may be large and far away. Throws CheckpointError or DataError. */
  openWeights(): Promise<TensorFiles>;
}

/** The files of a folder. Throws CheckpointError where it is none. */
export async function folderFiles(folder: string): Promise<ModelFiles> {
  const status = await stat(folder).catch(() => null);
  if (!status?.isDirectory()) {
    if (status && PICKLED.test(folder)) throw pickled(folder);
    const hint = status ? 'give the folder that the file is in' : undefined;
    throw new CheckpointError(folder, `must be a folder with ${CONFIG} and ${WEIGHTS}`, undefined, hint);
  }
  return {
    where: folder,
    names: (await readdir(folder)).sort(),
    async size(name) {
      const status = await stat(join(folder, name));
      if (!status.isFile())
        throw new CheckpointError(join(folder, name), 'must be a file', 'a folder or device');
      return status.size;
    },
    announce: async () => {},
    fetch: async (names) => names.map((name) => join(folder, name)),
  };
}

/** Reads a model's small files. Throws CheckpointError or DataError for what is missing, damaged or pickled. */
export async function openHuggingFace(files: ModelFiles): Promise<HuggingFaceModel> {
  const { where, names } = files;
  requireWeights(files);
  if (!names.includes(CONFIG)) {
    throw new CheckpointError(where, `must hold a ${CONFIG}`, undefined, 'is it a Hugging Face model?');
  }
  const config = await readJSON(files, CONFIG);
  const tokenizer = await readTokenizer(files);
  return {
    config,
    configPath: join(where, CONFIG),
    tokenizer,
    tokenizerPath: join(where, names.includes(TOKENIZER) ? TOKENIZER : VOCAB),
    async openWeights() {
      const weights = await weightFiles(files);
      await files.announce(weights);
      const shown = weights.map((name) => join(where, name));
      return TensorFiles.open(await files.fetch(weights), shown);
    },
  };
}

function requireWeights({ where, names }: ModelFiles): void {
  if (names.includes(WEIGHTS) || names.includes(INDEX)) return;
  const found = names.find((name) => PICKLED.test(name.replace(/\.index\.json$/, '')));
  if (found !== undefined) throw pickled(join(where, found), /^hf:([^@]+)/.exec(where)?.[1]);
  const hint = names.includes('checkpoints') ? 'it is a run already, if loopnn wrote it' : undefined;
  throw new CheckpointError(where, `must hold ${WEIGHTS}, or ${INDEX} with its shards`, undefined, hint);
}

async function weightFiles(files: ModelFiles): Promise<string[]> {
  if (files.names.includes(WEIGHTS)) return [WEIGHTS];
  const { where } = files;
  const path = join(where, INDEX);
  const map = ((await readJSON(files, INDEX)) as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Object.keys(map).length === 0) {
    throw new CheckpointError(path, 'must have a weight_map from tensors to files');
  }
  const shards = [...new Set(Object.values(map))].sort();
  for (const file of shards) {
    if (typeof file !== 'string' || basename(file) !== file) {
      throw new CheckpointError(`${path}: weight_map`, 'must name files in the same folder', String(file));
    }
    if (!files.names.includes(file)) {
      throw new CheckpointError(where, `must hold ${file}, which ${INDEX} names`);
    }
  }
  return shards;
}

function pickled(path: string, repository?: string): CheckpointError {
  const source = repository === undefined ? 'folder' : `'${repository}'`;
  return new CheckpointError(
    path,
    'must not be a pickled checkpoint: opening one can run any code that its maker put into it',
    undefined,
    basename(path).startsWith('pytorch_model')
      ? `convert it where you trust it: model = transformers.AutoModelForCausalLM.from_pretrained(${source}); model.save_pretrained(new_folder)`
      : 'convert it where you trust it: load it in Python, and write its tensors with safetensors.torch.save_file under Hugging Face GPT-2’s names',
  );
}

async function readTokenizer(files: ModelFiles): Promise<TokenizerJSON | null> {
  const { where, names } = files;
  if (names.includes(TOKENIZER)) {
    const json = await readJSON(files, TOKENIZER);
    if (json === null) throw new DataError(join(where, TOKENIZER), 'must be a JSON object', 'null');
    return json as TokenizerJSON;
  }
  const parts = [VOCAB, MERGES].filter((name) => names.includes(name));
  if (parts.length === 0) return null;
  if (parts.length === 1) {
    throw new DataError(where, `must hold ${VOCAB} and ${MERGES} together`, `only ${parts[0]}`);
  }
  const merges = await readText(files, MERGES);
  return tokenizerJSONFromVocab(await readJSON(files, VOCAB), merges, join(where, VOCAB));
}

async function readJSON(files: ModelFiles, name: string): Promise<unknown> {
  const text = await readText(files, name);
  try {
    return parseJSON(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(join(files.where, name), `must be JSON (${reason})`);
  }
}

async function readText(files: ModelFiles, name: string): Promise<string> {
  try {
    const size = await files.size(name);
    if (size > MOST_TEXT_BYTES) {
      const rule = `must have at most ${MOST_TEXT_BYTES} bytes`;
      throw new CheckpointError(join(files.where, name), rule, `${size} bytes`);
    }
    const [path] = await files.fetch([name]);
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof LoopnnError) throw error;
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(join(files.where, name), `must be a readable file (${reason})`);
  }
}

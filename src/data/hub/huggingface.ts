/**
 * Models in Hugging Face's layout, in a folder or on the hub: which files hold the configuration and the weights. This
 * file only finds files: `convert/huggingface.ts` interprets a configuration, and `huggingface-texts.ts` the tokenizer
 * and what belongs to it.
 */
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { adapter } from '../../convert/checkpoint-names.js';
import { CheckpointError } from '../../errors.js';
import { CONFIG_FILE, readTextFiles, type TextFiles } from './huggingface-texts.js';
import { followLink, linkRoot } from '../../node/links.js';
import { type ModelFiles, readJSON } from './model-files.js';
import { TensorFiles } from './tensor-files.js';

const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** The files that PEFT saves for an adapted model. */
const ADAPTER = /^adapter_(config\.json|model\.)/;
/** Names of files that PyTorch pickles; other .bin files often hold tokens. */
const PICKLED = /\.(pt|pth|ckpt|pkl)$|model[\w.-]*\.bin$/;

const MODELING = new URL('../../../../python/modeling_loopnn.py', import.meta.url);

/** The PyTorch file that an exported loop network carries. */
export function readModelingFile(): Promise<string> {
  return readFile(MODELING, 'utf8');
}

/** A model whose small files are read, and whose weights can be opened. */
export interface HuggingFaceModel {
  /** Its text files, `config.json` among them. */
  readonly texts: TextFiles;
  readonly configPath: string;
  /** Opens the weights, and downloads them first if needed. Throws CheckpointError or DataError. */
  openWeights(): Promise<TensorFiles>;
}

/**
 * The files of a folder. Throws CheckpointError if `folder` is no folder.
 *
 * @param followLinks whether links out of the folder are followed; else they are refused when a file is read
 */
export async function folderFiles(folder: string, followLinks = false): Promise<ModelFiles> {
  const status = await stat(folder).catch(() => null);
  if (!status?.isDirectory()) {
    if (status && PICKLED.test(folder)) throw pickled(folder);
    const hint = status ? 'give the folder that the file is in' : undefined;
    throw new CheckpointError(folder, `must be a folder with ${CONFIG_FILE} and ${WEIGHTS}`, undefined, hint);
  }
  const root = await linkRoot(folder);
  const pathOf = async (name: string): Promise<string> => {
    const path = join(folder, name);
    if ((await lstat(path)).isSymbolicLink()) await followLink(path, [root], followLinks);
    return path;
  };
  return {
    where: folder,
    names: (await readdir(folder)).sort(),
    async size(name) {
      const path = await pathOf(name);
      const status = await stat(path);
      if (!status.isFile()) throw new CheckpointError(path, 'must be a file', 'a folder or device');
      return status.size;
    },
    announce: async () => {},
    fetch: (names) => Promise.all(names.map(pathOf)),
  };
}

/** Reads a model's small files. Throws CheckpointError or DataError if a file is missing, damaged or pickled. */
export async function openHuggingFace(files: ModelFiles): Promise<HuggingFaceModel> {
  const { where, names } = files;
  const adapted = names.find((name) => ADAPTER.test(name));
  // Transformers would load the adapter's own base model and apply the adapter, whatever other files are here.
  if (adapted !== undefined) throw adapter(join(where, adapted));
  requireWeights(files);
  if (!names.includes(CONFIG_FILE)) {
    throw new CheckpointError(where, `must hold a ${CONFIG_FILE}`, undefined, 'is it a Hugging Face model?');
  }
  return {
    texts: await readTextFiles(files),
    configPath: join(where, CONFIG_FILE),
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

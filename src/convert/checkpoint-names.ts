/**
 * Which tensors of a Hugging Face checkpoint are a model's, by their names: wrappers put prefixes before them, and
 * other heads and buffers lie beside them. It must not read files or tensors.
 */
import { CheckpointError } from '../errors.js';
import type { LazyTensor } from '../formats/lazy-tensors.js';

export const HEAD = 'lm_head.weight';
const TRUNK = 'transformer.';

/** Parts of names that a wrapper adds, wherever it wraps; no module of ours is called so. */
const WRAPPERS = new Set([
  '_orig_mod', // torch.compile
  'module', // DataParallel, DistributedDataParallel, DeepSpeed
  '_fsdp_wrapped_module',
  '_checkpoint_wrapped_module',
  'model', // a training class around the model
  'base_model', // PEFT
  'pretrained_model', // trl
]);

/** Parts of names that PEFT's adapters have while they are not merged. */
const ADAPTER =
  /(^|\.)(base_layer|modules_to_save|(lora|ia3|hada|lokr|oft|boft|vera|adaption|prompt)_\w+)(\.|$)/;

/** Heads that a checkpoint may have beside a trunk whose names have no prefix. */
const OTHER_HEAD = /^((?!lm_head\.)\w*head\w*|score|classifier|qa_outputs)\./;

/** Position numbers, and the causal masks that older versions saved with each layer: a square, and what fills it. */
function isBuffer(name: string, { shape }: LazyTensor): boolean {
  if (/\.position_ids$/.test(name)) return true;
  if (!/^transformer\.h\.\d+\.attn\.(bias|masked_bias)$/.test(name)) return false;
  return name.endsWith('masked_bias') ? shape.every((size) => size === 1) : shape.length > 1;
}

/** The tensors of a checkpoint, classified. */
export interface CheckpointTensors {
  /** Possible tensors of the model, by the model's names; each keeps its name in the file. */
  readonly own: Map<string, LazyTensor>;
  /** Names of heads and buffers that are not the model's, as the file has them. */
  readonly others: readonly string[];
}

/**
 * Takes the prefixes of wrappers away, and heads and buffers that no language model here has. What lies in the trunk or
 * in the language model's head stays, known or not. Throws CheckpointError for a name that comes twice, and for an
 * adapter.
 *
 * @param parameters the model's own names
 */
export function sortCheckpoint(
  found: Iterable<LazyTensor>,
  parameters: Iterable<string>,
  where: string,
): CheckpointTensors {
  const bare = Array.from(found, (tensor) => ({ tensor, name: unwrapped(tensor.name) }));
  const roots = new Set(Array.from(parameters, (name) => root(name.replace(TRUNK, ''))));
  const isPrefixed = bare.some(({ name }) => name.startsWith(TRUNK));
  const isHead = (name: string): boolean =>
    isPrefixed ? !/^(transformer|lm_head)\./.test(name) && !roots.has(root(name)) : OTHER_HEAD.test(name);
  const own = new Map<string, LazyTensor>();
  const others: string[] = [];
  for (const { tensor, name } of bare) {
    if (ADAPTER.test(tensor.name)) throw adapter(`${where}, tensor ${tensor.name}`);
    const full = /^(transformer|lm_head)\./.test(name) ? name : TRUNK + name;
    if (isHead(name) || isBuffer(full, tensor)) {
      others.push(tensor.name);
      continue;
    }
    const twin = own.get(full);
    if (twin) throw new CheckpointError(`${where}, tensor ${twin.name}`, 'must come once', tensor.name);
    own.set(full, tensor);
  }
  return { own, others };
}

/** The refusal of an adapter's weights, which mean nothing without the model that they change. */
export function adapter(where: string): CheckpointError {
  const rule = 'must not be of an adapter (LoRA or another of PEFT) that is not merged into its model';
  const load = "peft.AutoPeftModelForCausalLM.from_pretrained('folder')";
  const hint = `merge it in Python: ${load}.merge_and_unload().save_pretrained('merged')`;
  return new CheckpointError(where, rule, undefined, hint);
}

/** Names for a message: layers that have the same are one. */
export function listed(names: readonly string[]): string {
  return [...new Set(names.map((name) => name.replace(/(^|\.)h\.\d+\./, '$1h.*.')))].join(', ');
}

function unwrapped(name: string): string {
  const parts = name.split('.');
  return parts.filter((part) => !WRAPPERS.has(part)).join('.');
}

function root(name: string): string {
  return name.split('.', 1)[0];
}

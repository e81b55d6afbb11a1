/**
 * Whose a checkpoint's tensors are, by names that the wrappers themselves give (`fixtures/huggingface/make_names.py`).
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parameterShapes, tensorsFromHuggingFace } from '../../src/convert/huggingface.js';
import { elementCount, type LazyTensor } from '../../src/formats/lazy-tensors.js';
import { parseModelConfig } from '../../src/models/config.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/huggingface/', import.meta.url));
const NAMES: Record<string, string[]> = JSON.parse(readFileSync(join(FIXTURES, 'names.json'), 'utf8'));
const MODEL = parseModelConfig({ vocabSize: 280, blockSize: 24, nEmbd: 16, nLayer: 3, nHead: 4 });
const SHAPES = parameterShapes(MODEL);
const PLAIN = NAMES.none;

/** A tensor whose values tell which it is. */
function lazy(name: string, shape: readonly number[], value = 0): LazyTensor {
  return { name, shape, read: async () => new Float32Array(elementCount(shape)).fill(value) };
}

/** A checkpoint with the GPT-2's tensors under other names, and more. */
function checkpoint(names: readonly string[], more: readonly LazyTensor[] = []): Map<string, LazyTensor> {
  const own = PLAIN.map((name, i) => lazy(names[i], SHAPES.get(name)!, i));
  return new Map([...own, ...more].map((tensor) => [tensor.name, tensor]));
}

async function read(found: Map<string, LazyTensor>) {
  const { tensors, notices } = await tensorsFromHuggingFace(MODEL, found, 'here');
  const values = new Map<string, number>();
  for (const tensor of tensors) values.set(tensor.name, (await tensor.read())[0]);
  return { values, notices };
}

const EXPECTED = new Map([...SHAPES.keys()].map((name) => [name, PLAIN.indexOf(name)]));

test('the names of every wrapper, in any nesting, are the model’s own', async () => {
  const whole = Object.entries(NAMES).filter(([what]) => what !== 'LoRA, not merged');
  assert.equal(whole.length, 12);
  for (const [what, names] of whole) {
    assert.deepEqual(await read(checkpoint(names)), { values: EXPECTED, notices: [] }, what);
    // Those of the trunk alone, as GPT2Model saves it.
    const bare = names.map((name) => name.replace('transformer.', ''));
    assert.deepEqual((await read(checkpoint(bare))).values, EXPECTED, `${what}, trunk alone`);
  }
});

test('a tensor that comes twice under two names is refused', async () => {
  for (const again of ['wte.weight', '_orig_mod.transformer.wte.weight', 'module.wte.weight']) {
    await assert.rejects(read(checkpoint(PLAIN, [lazy(again, [280, 16])])), {
      message: `here, tensor transformer.wte.weight: must come once, got '${again}'`,
    });
  }
});

test('adapters that are not merged are refused by name, with the way to merge them', async () => {
  const lora = NAMES['LoRA, not merged'];
  const whole = new Map(lora.map((name) => [name, lazy(name, [1])]));
  await assert.rejects(
    read(whole),
    /here, tensor base_model\.\S+\.c_attn\.base_layer\.\w+: must not be of an adapter .*merge_and_unload\(\)/,
  );
  for (const name of lora.filter((name) => name.includes('lora_'))) {
    await assert.rejects(read(checkpoint(PLAIN, [lazy(name, [1])])), /must not be of an adapter/);
  }
  const prompt = lazy('prompt_encoder.default.embedding.weight', [1]);
  await assert.rejects(read(checkpoint(PLAIN, [prompt])), /must not be of an adapter/);
});

test('heads and buffers that are not the model’s are left out, and named', async () => {
  const others = [
    ...[
      'score.weight',
      'multiple_choice_head.summary.weight',
      'v_head.summary.weight',
      'v_head.summary.bias',
    ],
    ...['classifier.weight', 'qa_outputs.bias', 'value_head.0.weight'],
  ].map((name) => lazy(name, [2, 16]));
  const buffers = [
    lazy('transformer.h.0.attn.bias', [1, 1, 24, 24]),
    lazy('transformer.h.1.attn.bias', [1, 1, 24, 24]),
    lazy('transformer.h.1.attn.masked_bias', []),
    lazy('transformer.position_ids', [1, 24]),
  ];
  const { values, notices } = await read(checkpoint(PLAIN, [...others, ...buffers]));
  assert.deepEqual(values, EXPECTED);
  assert.deepEqual(notices, [
    'here: not of this model, left out: score.weight, multiple_choice_head.summary.weight, v_head.summary.weight, ' +
      'v_head.summary.bias, classifier.weight, qa_outputs.bias, value_head.0.weight, transformer.h.*.attn.bias, ' +
      'transformer.h.*.attn.masked_bias, transformer.position_ids',
  ]);
  // Wrapped, and beside a trunk without a prefix.
  for (const names of [NAMES.compiled, PLAIN.map((name) => name.replace('transformer.', ''))]) {
    const { values, notices } = await read(
      checkpoint(names, [...others, lazy('h.0.attn.bias', [1, 1, 24, 24])]),
    );
    assert.deepEqual(values, EXPECTED);
    assert.match(notices[0], /left out: score\.weight, .*value_head\.0\.weight, h\.\*\.attn\.bias$/);
  }
  const wrapped = await read(checkpoint(NAMES.compiled, [lazy('_orig_mod.reward.weight', [1, 16])]));
  assert.deepEqual(wrapped.notices, ['here: not of this model, left out: _orig_mod.reward.weight']);
});

test('what may matter is never left out: the trunk’s tensors and the language model’s head, known or not', async () => {
  for (const [name, shape] of [
    ['transformer.h.0.attn.c_attn.weight_2', [16, 48]],
    ['transformer.h.0.attn.bias', [16]],
    ['transformer.h.0.attn.q_norm.weight', [4]],
    ['transformer.h.0.crossattention.bias', [1, 1, 24, 24]],
    ['transformer.h.3.ln_1.weight', [16]],
    ['h.3.ln_1.weight', [16]],
    ['transformer.embed_norm.weight', [16]],
    ['transformer.score.weight', [16]],
    ['lm_head.bias', [280]],
    ['_orig_mod.lm_head.bias', [280]],
  ] as const) {
    await assert.rejects(read(checkpoint(PLAIN, [lazy(name, shape)])), {
      message: `here, tensor ${name}: is not part of this model`,
    });
  }
  const trunk = PLAIN.map((name) => name.replace('transformer.', ''));
  for (const name of ['embed_norm.weight', 'lm_head.bias']) {
    await assert.rejects(read(checkpoint(trunk, [lazy(name, [16])])), /is not part of this model/);
  }
  const own = lazy('lm_head.weight', [280, 16], -1);
  await assert.rejects(read(checkpoint(PLAIN, [own])), /tensor lm_head\.weight: must equal transformer\.wte/);
});

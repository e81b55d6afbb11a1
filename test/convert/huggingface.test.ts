/** GPT-2's relatives, against transformers (`test/fixtures/huggingface/make_relatives.py`), and back. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import {
  huggingFaceConfig,
  modelFromHuggingFace,
  tensorsFromHuggingFace,
} from '../../src/convert/huggingface.js';
import { toFloat32 } from '../../src/formats/dtypes.js';
import { elementCount, type LazyTensor } from '../../src/formats/lazy-tensors.js';
import { ConfigError } from '../../src/errors.js';
import { innerWidth, parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { onEngine } from '../engines.js';
import { parseSafetensors } from '../formats/safetensors-bytes.js';

const FIXTURES = new URL('../../../test/fixtures/huggingface/', import.meta.url);
const SMALL = { vocabSize: 11, blockSize: 8, nLayer: 1, nHead: 2, nEmbd: 16 };
const tensorsOf = (name: string) => parseSafetensors(readFileSync(new URL(name, FIXTURES)), name);
const CONFIG = JSON.parse(readFileSync(new URL('gpt2/config.json', FIXTURES), 'utf8'));
const WEIGHTS = tensorsOf('gpt2/model.safetensors');
const [LAYER, HEAD] = ['scale_attn_by_inverse_layer_idx', 'scale_attn_weights'];
const TANH_GELUS = ['gelu_fast', 'gelu_accurate', 'gelu_python_tanh'];
const ACTIVATIONS = [...TANH_GELUS, 'gelu', 'gelu_python', 'relu', 'silu', 'swish', 'quick_gelu'];
const RELATIVES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'by layer': { [LAYER]: true },
  'not by head size': { [HEAD]: false },
  'by layer alone': { [LAYER]: true, [HEAD]: false },
  ...Object.fromEntries(ACTIVATIONS.map((name) => [name, { activation_function: name }])),
  'small epsilon': { layer_norm_epsilon: 1e-6 },
  'large epsilon': { layer_norm_epsilon: 1e-3 },
  narrow: { n_inner: 40 },
  wide: { n_inner: 90 },
  all: { n_inner: 90, activation_function: 'gelu', layer_norm_epsilon: 1e-4, [LAYER]: true },
};

/** The fixture's tensors, inner channel i of the MLPs being its i mod 64. */
function weights(inner: number): Map<string, LazyTensor> {
  const tensors = [...WEIGHTS].map(([name, tensor]) => {
    const values = toFloat32(tensor, name);
    const wide = tensor.shape.indexOf(64);
    if (!name.includes('.mlp.') || wide < 0) return { name, shape: tensor.shape, read: async () => values };
    const shape = tensor.shape.with(wide, inner);
    const C = elementCount(shape.slice(wide + 1)); // elements of a channel that lie together
    const from = (i: number) => {
      const [before, channel] = [Math.floor(i / (C * inner)), Math.floor(i / C) % inner];
      return (before * 64 + (channel % 64)) * C + (i % C);
    };
    const all = Float32Array.from({ length: elementCount(shape) }, (_, i) => values[from(i)]);
    return { name, shape, read: async () => all };
  });
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

const expected = tensorsOf('relatives.safetensors');
const tokens = expected.get('tokens')!.data as Int32Array;

test('every variant that was made is compared', () => {
  const made = [...expected.keys()].filter((key) => key !== 'tokens');
  assert.deepEqual(Object.keys(RELATIVES).sort(), made.sort());
});

for (const [name, fields] of Object.entries(RELATIVES)) {
  test(`${name}: logits are those of transformers within 1e-5`, async () => {
    const { model: config, queryScales, notices } = modelFromHuggingFace({ ...CONFIG, ...fields }, 'config');
    assert.deepEqual(notices, []);
    const found = weights(Number(fields.n_inner ?? 64));
    const { tensors } = await tensorsFromHuggingFace(config, found, 'weights', queryScales);
    const logits = toFloat32(expected.get(name)!, name);
    for (const backend of [new ReferenceBackend(), new NativeBackend('f32')].map(onEngine)) {
      const model = new GPT(config, new Runtime(backend), { train: false });
      for (const [i, { storage }] of model.parameters.all.entries())
        backend.write(storage, await tensors[i].read());
      using y = model.logits(tokens, 1);
      const own = await y.read();
      const worst = logits.reduce((most, value, i) => Math.max(most, Math.abs(value - own[i])), 0);
      assert.ok(worst < 1e-5, `${backend.name}: ${worst}`);
      model.dispose();
    }
  });
}

test('a configuration leaves as it came, and what was said otherwise by a name of ours', () => {
  const there = (fields: object) => {
    const { model } = modelFromHuggingFace({ ...CONFIG, ...fields }, 'config');
    const { n_inner, activation_function, layer_norm_epsilon } = huggingFaceConfig(model, {
      bos_token_id: 0,
      eos_token_id: 0,
    });
    return { n_inner, activation_function, layer_norm_epsilon };
  };
  const usual = { n_inner: null, activation_function: 'gelu_new', layer_norm_epsilon: 1e-5 };
  assert.deepEqual(there({}), usual);
  assert.deepEqual(there({ n_inner: 64 }), usual);
  const other = { n_inner: 90, activation_function: 'quick_gelu', layer_norm_epsilon: 1e-6 };
  assert.deepEqual(there(other), other);
  for (const [given, ours] of [
    ['gelu_pytorch_tanh', 'gelu_new'],
    ['gelu_python', 'gelu'],
    ['swish', 'silu'],
  ]) {
    assert.deepEqual(there({ activation_function: given }), { ...usual, activation_function: ours });
  }
});

test('a GPT-2 with other parts leaves as ours and comes back; with squared ReLU alone it stays transformers’', () => {
  const there = (fields: object) => {
    const model = parseModelConfig({ ...SMALL, ...fields });
    const json = huggingFaceConfig(model, { bos_token_id: 0, eos_token_id: 0 });
    const back = modelFromHuggingFace(json, 'config').model;
    assert.deepEqual(back, { ...model, nInner: back.nInner });
    assert.equal(innerWidth(back), innerWidth(model));
    return json;
  };
  assert.equal(there({ activation: 'relu2' }).model_type, 'gpt2');
  const swiglu = there({
    normType: 'rmsnorm',
    gatedMlp: true,
    nInner: '8/3x',
    activation: 'silu',
    bias: false,
  });
  assert.deepEqual([swiglu.model_type, swiglu.depth, swiglu.n_inner], ['loopnn', 'gpt2', 64]);
  const grouped = there({ nHead: 4, nKvHead: 2, positions: 'rotary', ropeTheta: 500 });
  assert.deepEqual([grouped.model_type, grouped.n_kv_head, grouped.rope_theta], ['loopnn', 2, 500]);
  assert.equal(there({ qkNorm: true }).model_type, 'loopnn');
  assert.throws(
    () => modelFromHuggingFace({ ...swiglu, depth: 'sharing', n_application: 4 }, 'config'),
    ConfigError,
  );
});

/**
 * `loopnn export`, and what `loopnn import` makes of it. That `transformers` computes the same from an exported folder
 * is checked by hand: `test/formats/check_huggingface.py`.
 */
import { Tokenizer } from '@huggingface/tokenizers';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loopnn, SMALL, temporaryFolder, writeCorpus } from './helpers.js';
import { parseSafetensors, safetensorsMetadata } from '../formats/safetensors-bytes.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/huggingface/', import.meta.url));
const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);

async function succeeds(
  ...args: string[]
): Promise<{ document: ReturnType<typeof JSON.parse>; stderr: string }> {
  const result = await loopnn([...args, '--json']);
  assert.equal(result.code, 0, result.stderr);
  return { document: JSON.parse(result.stdout), stderr: result.stderr };
}

async function refused(message: RegExp, ...args: string[]): Promise<void> {
  const result = await loopnn(args);
  assert.match(result.stderr, message);
  assert.equal(result.code, 1);
  assert.equal(result.stderr.trim().split('\n').length, 1, `one line: ${result.stderr}`);
}

function json(...path: string[]): Record<string, unknown> {
  return JSON.parse(readFileSync(at(...path), 'utf8'));
}

function tensors(...path: string[]) {
  const file = at(...path);
  return parseSafetensors(new Uint8Array(readFileSync(file)), file);
}

const TRAIN = [...SMALL, '--max-steps', '6', '--precision', 'f32'];

before(async () => {
  mkdirSync(at('corpus'));
  writeCorpus(at('corpus'));
  for (const [name, tokenizer] of [
    ['data', 'bpe:300'],
    ['bytes', 'bytes'],
  ]) {
    await succeeds('prepare', at('corpus'), '--out', at(name), '--tokenizer', tokenizer);
  }
});

test('an imported GPT-2 leaves as it came', async () => {
  for (const name of ['gpt2', 'sharded']) {
    await succeeds('import', join(FIXTURES, name), '--out', at(`in-${name}`));
    await succeeds('export', '--model', at(`in-${name}`), '--out', at(`out-${name}`));
    const found = json(`out-${name}`, 'config.json');
    const came = JSON.parse(readFileSync(join(FIXTURES, name, 'config.json'), 'utf8'));
    for (const [key, value] of Object.entries(found)) {
      if (key !== 'dtype' && key !== 'n_ctx') assert.deepEqual(value, came[key], key);
    }
    assert.equal(found.n_ctx, came.n_positions, "llama.cpp's converter reads it");
  }
  assert.deepEqual(readdirSync(at('out-gpt2')), [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  const own = readFileSync(at('out-gpt2', 'model.safetensors'));
  assert.deepEqual(safetensorsMetadata(own, 'own'), { format: 'pt' });
  const came = join(FIXTURES, 'gpt2', 'model.safetensors');
  const expected = parseSafetensors(new Uint8Array(readFileSync(came)), came);
  const found = tensors('out-gpt2', 'model.safetensors');
  assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort());
  for (const [name, { shape, data }] of expected) {
    assert.deepEqual(found.get(name)!.shape, shape, name);
    assert.deepEqual(found.get(name)!.data, data, name);
  }
  const tokenizer = JSON.parse(readFileSync(join(FIXTURES, 'gpt2', 'tokenizer.json'), 'utf8'));
  assert.deepEqual(json('out-gpt2', 'tokenizer.json'), tokenizer);
  // A reader that cleans spaces up unless it is told not to.
  const reader = new Tokenizer(json('out-gpt2', 'tokenizer.json'), json('out-gpt2', 'tokenizer_config.json'));
  const text = "a , b . it 's n't ?";
  assert.equal(reader.decode(reader.encode(text).ids), text);
});

test('a loop network leaves with its settings, gates and PyTorch file, and comes back the same', async () => {
  const more = ['--n-layer', '3', '--n-prelude', '1', '--n-coda', '1', '--n-inner-loop', '2'];
  const relative = ['--activation', 'gelu', '--n-inner', '50', '--layer-norm-epsilon', '1e-6'];
  const parts = ['--norm-type', 'rmsnorm', '--gated-mlp', 'true'];
  const train = [
    'train',
    ...TRAIN,
    ...more,
    ...relative,
    ...parts,
    '--input-injection',
    'linear',
    '--gate-init',
    '1/n',
  ];
  await succeeds(...train, '--data', at('data'), '--out', at('loop'));
  const exported = await succeeds('export', '--model', at('loop'), '--out', at('loop-out'));
  assert.equal(exported.document.modelType, 'loopnn');
  const config = json('loop-out', 'config.json');
  assert.deepEqual(
    ['n_loop', 'n_inner_loop', 'n_prelude', 'gate_init', 'input_injection'].map((key) => config[key]),
    [2, 2, 1, '1/n', 'linear'],
  );
  assert.deepEqual(
    ['activation_function', 'n_inner', 'layer_norm_epsilon', 'norm_type', 'gated_mlp'].map(
      (key) => config[key],
    ),
    ['gelu', 50, 1e-6, 'rmsnorm', true],
  );
  const file = readFileSync(at('loop-out', 'modeling_loopnn.py'), 'utf8');
  for (const reference of Object.values(config.auto_map as Record<string, string>)) {
    const [module, name] = reference.split('.');
    assert.ok(module === 'modeling_loopnn' && file.includes(`class ${name}(`), reference);
  }
  // What LoopConfig does not name it takes for another's, in silence: the model would be built without it.
  const signature = /class LoopConfig\(.*?def __init__\((.*?)\*\*kwargs/s.exec(file)![1];
  const known = [...signature.matchAll(/(\w+)=/g)].map(([, name]) => name);
  const common = ['architectures', 'auto_map', 'bos_token_id', 'dtype', 'eos_token_id', 'model_type'];
  const own = Object.keys(config).filter((key) => !common.includes(key));
  assert.deepEqual(own.sort(), known.sort());
  assert.ok(tensors('loop-out', 'model.safetensors').has('transformer.gates'));

  const { document } = await succeeds('import', at('loop-out'), '--out', at('loop-in'));
  assert.deepEqual(document.model, json('loop', 'config.json').model);
  const evaluated = async (run: string) => {
    const result = await succeeds('eval', '--model', at(run), '--data', at('data'), '--precision', 'f32');
    return result.document.results[0].loss;
  };
  assert.equal(await evaluated('loop-in'), await evaluated('loop'));
});

test('a tokenizer that another tool wrote again is still the data’s', async () => {
  const path = at('loop-in', 'tokenizer.json');
  const { model, added_tokens, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
  const merges = model.merges.map((pair: string[]) => pair.join(' '));
  writeFileSync(path, JSON.stringify({ ...rest, truncation: {}, model: { ...model, merges }, added_tokens }));
  await succeeds('eval', '--model', at('loop-in'), '--data', at('data'));
  model.merges.pop();
  writeFileSync(path, JSON.stringify({ ...rest, model, added_tokens }));
  await refused(
    /loop-in: must work on data with the run's own tokenizer/,
    ...['eval', '--model', at('loop-in'), '--data', at('data')],
  );
});

test('a GPT-2 without biases leaves with zeros, and bytes leave no tokenizer', async () => {
  const gpt2 = ['--depth', 'gpt2', '--n-loop', '1', '--bias', 'false'];
  await succeeds('train', ...TRAIN, ...gpt2, '--data', at('bytes'), '--out', at('bare'));
  const { stderr } = await succeeds('export', '--model', at('bare'), '--out', at('bare-out'));
  assert.match(stderr, /bare: tokenizer bytes has no form in Hugging Face's layout and is left out/);
  assert.ok(!existsSync(at('bare-out', 'tokenizer.json')));
  const bias = tensors('bare-out', 'model.safetensors').get('transformer.h.0.attn.c_attn.bias')!;
  assert.deepEqual(bias.data, new Float32Array(48));
  await succeeds('import', at('bare-out'), '--out', at('bare-in'));
  const loss = async (run: string) =>
    (await succeeds('eval', '--model', at(run), '--data', at('bytes'), '--precision', 'f32')).document
      .results[0].loss;
  const [came, went] = [await loss('bare-in'), await loss('bare')];
  assert.ok(Math.abs(came - went) < 1e-6, `${came}, ${went}`);
});

test('a run leaves as ONNX with its tokenizer, and what ONNX cannot say is refused', async () => {
  const onnx = (run: string, out: string) => [
    'export',
    '--model',
    at(run),
    '--out',
    at(out),
    '--format',
    'onnx',
  ];
  const { document } = await succeeds(...onnx('loop', 'onnx'), '--weights', 'int8', '--loops', '3');
  assert.deepEqual([document.weights, document.loops], ['int8', 3]);
  const names = ['config.json', 'generation_config.json', 'onnx', 'tokenizer.json', 'tokenizer_config.json'];
  assert.deepEqual(readdirSync(at('onnx')), names);
  assert.deepEqual(readdirSync(at('onnx', 'onnx')), ['model_quantized.onnx']);
  assert.equal(json('onnx', 'config.json').n_layer, 10);
  assert.ok(document.inputs.every(({ name }: { name: string }) => name !== 'loops'));
  const free = (await succeeds(...onnx('loop', 'onnx-free'))).document;
  assert.deepEqual(free.inputs.slice(0, 3), [
    { name: 'input_ids', type: 'int64', shape: ['batch', 'time'] },
    { name: 'attention_mask', type: 'int64', shape: ['batch', 'total'] },
    { name: 'loops', type: 'int64', shape: [] },
  ]);
  assert.equal((json('onnx-free', 'config.json').loopnn as { loops: unknown }).loops, null);
  await refused(/--out: must be a new or empty folder, got/, ...onnx('loop', 'onnx'));
  await refused(
    /^loopnn: --loops: must not be given where --format is huggingface, got 2/,
    ...['export', '--model', at('loop'), '--out', at('none'), '--loops', '2'],
  );
  await succeeds('train', ...TRAIN, '--halting', 'act', '--data', at('data'), '--out', at('halting'));
  await refused(
    /^loopnn: halting: must be none to be exported as ONNX, got 'act'/,
    ...onnx('halting', 'none'),
  );
  assert.ok(!existsSync(at('none')));
});

test('depths without a PyTorch file, used folders and unfinished runs are refused, and nothing is written', async () => {
  const exporting = (run: string, out: string) => ['export', '--model', at(run), '--out', at(out)];
  const universal = ['--depth', 'universal', '--n-loop', '2'];
  await succeeds('train', ...TRAIN, ...universal, '--data', at('data'), '--out', at('universal'));
  await refused(/^loopnn: depth: must be gpt2 or loop to be exported/, ...exporting('universal', 'no'));
  const act = ['--halting', 'act'];
  await succeeds('train', ...TRAIN, ...act, '--data', at('data'), '--out', at('act'));
  await refused(/^loopnn: halting: must be none to be exported/, ...exporting('act', 'no'));
  await refused(/nothing: must be the folder of a run/, ...exporting('nothing', 'no'));
  assert.ok(!existsSync(at('no')));
  const before = readFileSync(at('loop-out', 'config.json'));
  await refused(/--out: must be a new or empty folder, got/, ...exporting('bare', 'loop-out'));
  await refused(
    /loop-out\/config\.json: could not be opened, it, or .* is no folder/,
    ...exporting('bare', 'loop-out/config.json'),
  );
  assert.deepEqual(readFileSync(at('loop-out', 'config.json')), before);
});

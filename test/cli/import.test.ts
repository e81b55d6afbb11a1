/** `loopnn import`, on folders that `transformers` wrote (`test/fixtures/huggingface/make_huggingface.py`). */
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';

import { toFloat32 } from '../../src/formats/dtypes.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { byteLevelToJSON } from '../../src/tokenizer/huggingface-json.js';
import { loadGpt2 } from '../../src/tokenizer/gpt2.js';
import { openRun } from '../../src/node/run.js';
import { HubServer } from '../data/hub-server.js';
import { oldestFile } from '../tokenizer/samples.js';
import { loopnn, loopnnWithin, temporaryFolder, writeCorpus } from './helpers.js';
import { parseSafetensors, serializeSafetensors } from '../formats/safetensors-bytes.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/huggingface/', import.meta.url));
const folder = temporaryFolder();

async function importFixture(name: string, ...more: string[]) {
  const out = join(folder, `run-${name}`);
  rmSync(out, { recursive: true, force: true });
  const result = await loopnn(['import', join(FIXTURES, name), '--out', out, '--json', ...more]);
  assert.equal(result.code, 0, result.stderr);
  return { out, document: JSON.parse(result.stdout), stderr: result.stderr };
}

/** A copy of a fixture that a test may spoil. */
function copy(name: string, as: string): string {
  const target = join(folder, as);
  rmSync(target, { recursive: true, force: true });
  cpSync(join(FIXTURES, name), target, { recursive: true });
  return target;
}

function editConfig(source: string, fields: Record<string, unknown>): void {
  const path = join(source, 'config.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...fields }));
}

async function refused(source: string, message: RegExp): Promise<void> {
  const out = join(folder, 'refused');
  const result = await loopnn(['import', source, '--out', out]);
  assert.match(result.stderr, message);
  assert.equal(result.code, 1, result.stderr);
  assert.equal(result.stderr.trim().split('\n').length, 1, `one line: ${result.stderr}`);
  assert.ok(!existsSync(out), 'nothing written');
}

for (const name of ['gpt2', 'sharded', 'bare']) {
  test(`${name}: logits are those of transformers within 1e-4`, async () => {
    const { out } = await importFixture(name);
    const file = join(FIXTURES, name, 'expected.safetensors');
    const expected = parseSafetensors(new Uint8Array(readFileSync(file)), file);
    const tokens = expected.get('tokens')!.data as Int32Array;
    const logits = toFloat32(expected.get('logits')!, file);
    for (const backend of [new ReferenceBackend(), new NativeBackend('f32')]) {
      const { model, step } = await (await openRun(out)).load(new Runtime(backend));
      assert.equal(step, 0);
      using y = model.logits(tokens, 2);
      const found = await y.read();
      assert.equal(found.length, logits.length);
      const worst = logits.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i])), 0);
      assert.ok(worst < 1e-4, `${backend.name}: ${worst}`);
      model.dispose();
    }
  });
}

test('tokenizer.json, vocab.json with merges.txt, and none', async () => {
  const whole = await importFixture('gpt2');
  const pair = await importFixture('sharded');
  const none = await importFixture('bare');
  assert.deepEqual(
    [whole, pair, none].map(({ document }) => document.tokenizer),
    ['bpe-280', 'bpe-280', null],
  );
  assert.match(none.stderr, /bare: has no tokenizer; the run works on tokens/);
  assert.deepEqual(readdirSync(none.out).sort(), ['checkpoints', 'config.json', 'generation_config.json']);
  const ids = async (run: string) => {
    const prompt = ['--prompt', 'the gate, 你', '--tokens', '4', '--temperature', '0', '--json'];
    const { stdout, stderr } = await loopnn(['generate', '--model', run, ...prompt]);
    assert.equal(JSON.parse(stdout).prompt, 'the gate, 你', stderr);
    return JSON.parse(readFileSync(join(run, 'tokenizer.json'), 'utf8')).model;
  };
  const [a, b] = [await ids(whole.out), await ids(pair.out)];
  assert.deepEqual(a.merges, b.merges);
  assert.deepEqual(a.vocab, b.vocab);
});

test('a tokenizer.json of the oldest kind gives the ids of a new one', async () => {
  const { out } = await importFixture('gpt2');
  const source = copy('gpt2', 'oldest');
  const file = join(source, 'tokenizer.json');
  writeFileSync(file, JSON.stringify(oldestFile(JSON.parse(readFileSync(file, 'utf8')))));
  const oldest = join(folder, 'run-oldest');
  const result = await loopnn(['import', source, '--out', oldest, '--json']);
  assert.equal(result.code, 0, result.stderr);
  assert.equal(JSON.parse(result.stdout).tokenizer, 'bpe-280');
  const generated = async (run: string) => {
    const prompt = ['--prompt', 'the gate, 你', '--tokens', '4', '--temperature', '0', '--json'];
    const { stdout, stderr } = await loopnn(['generate', '--model', run, ...prompt]);
    assert.equal(stderr, '');
    return JSON.parse(stdout).ids;
  };
  assert.deepEqual(await generated(oldest), await generated(out));
  const text = join(folder, 'gate.txt');
  writeFileSync(text, 'the gate opens a little. Größe, naïve, 你好.\n'.repeat(40));
  const shards = [];
  for (const tokenizer of [file, join(FIXTURES, 'gpt2/tokenizer.json')]) {
    const data = join(folder, 'gate');
    const prepared = await loopnn(['prepare', text, '--out', data, '--tokenizer', tokenizer, '--force']);
    assert.equal(prepared.code, 0, prepared.stderr);
    shards.push(readFileSync(join(data, 'train.bin')));
  }
  assert.deepEqual(shards[0], shards[1]);
});

test('GPT-2’s own tokenizer, as the hub has it, is remembered by name, as data prepared with it has it', async () => {
  const source = copy('gpt2', 'with-gpt2-tokenizer');
  const tokenizer = oldestFile(byteLevelToJSON(await loadGpt2()));
  writeFileSync(join(source, 'tokenizer.json'), JSON.stringify(tokenizer));
  const file = join(source, 'model.safetensors');
  const tensors = [...parseSafetensors(new Uint8Array(readFileSync(file)), file)].map(([name, tensor]) => {
    const wte = name === 'transformer.wte.weight';
    const data = wte ? new Float32Array(50_257 * 16) : toFloat32(tensor, name);
    return { name, dtype: 'F32' as const, shape: wte ? [50_257, 16] : tensor.shape, data };
  });
  // Older versions saved the causal mask with each layer.
  for (const [name, shape] of [
    ['bias', [1, 1, 24, 24]],
    ['masked_bias', []],
  ] as const) {
    const data = new Float32Array(shape.length === 0 ? 1 : 576);
    tensors.push({ name: `transformer.h.0.attn.${name}`, dtype: 'F32', shape, data });
  }
  writeFileSync(file, Buffer.concat(serializeSafetensors(tensors)));
  editConfig(source, { vocab_size: 50_257 });
  const out = join(folder, 'run-gpt2-tokenizer');
  assert.equal((await loopnn(['import', source, '--out', out])).code, 0);
  assert.deepEqual(JSON.parse(readFileSync(join(out, 'tokenizer.json'), 'utf8')), { type: 'gpt2' });
});

test('an imported run evaluates, and trains on from the imported weights', async () => {
  const { out } = await importFixture('gpt2');
  const corpus = join(folder, 'corpus');
  mkdirSync(corpus);
  writeCorpus(corpus);
  const data = join(folder, 'data');
  const tokenizer = join(out, 'tokenizer.json');
  const prepared = await loopnn(['prepare', corpus, '--out', data, '--tokenizer', tokenizer]);
  assert.equal(prepared.code, 0, prepared.stderr);
  const evaluated = async () => {
    const result = await loopnn(['eval', '--model', out, '--data', data, '--precision', 'f32', '--json']);
    assert.equal(result.code, 0, result.stderr);
    return JSON.parse(result.stdout).results[0].loss as number;
  };
  const before = await evaluated();
  const again = ['train', '--data', data, '--out', out];
  const refusal = await loopnn(again);
  assert.match(refusal.stderr, /--out: must not hold a run yet.*add --resume to continue it/);
  const flags = '--max-steps 30 --warmup-steps 2 --lr 0.01 --min-lr 0.001 --batch-size 4 --eval-batches 4';
  const trained = await loopnn([...again, '--resume', ...flags.split(' '), '--json']);
  assert.equal(trained.code, 0, trained.stderr);
  assert.equal(JSON.parse(trained.stdout).step, 30);
  const metrics = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const [first] = metrics.map((line) => JSON.parse(line));
  assert.deepEqual([first.kind, first.step], ['eval', 0]);
  assert.ok(Math.abs(first.valLoss - before) < 0.5, `starts where it was: ${first.valLoss}, ${before}`);
  assert.ok((await evaluated()) < before - 0.5, 'learned');
});

test('settings that no model here has are refused by name', async () => {
  const source = copy('gpt2', 'odd');
  for (const [field, value, message] of [
    ['model_type', 'llama', /odd\/config\.json: model_type: must be gpt2, or loopnn .*, got 'llama'/],
    [
      'activation_function',
      'mish',
      /activation_function: must be one of gelu_new, gelu, relu, relu2, silu, quick_gelu, .*, got 'mish'/,
    ],
    ['n_inner', 64.5, /nInner: must be a whole number of at least 1 or '4x' or '8\/3x', got 64\.5/],
    ['n_inner', 0, /nInner: must be a whole number of at least 1 or '4x' or '8\/3x', got 0/],
    ['add_cross_attention', true, /add_cross_attention: must be false, got true/],
    ['scale_attn_weights', 'no', /scale_attn_weights: must be true or false, got 'no'/],
    ['layer_norm_epsilon', '1e-6', /layerNormEpsilon: must be a number in \[0, 1\), got '1e-6'/],
    ['n_head', 5, /nEmbd: must be a multiple of nHead = 5, got 16/],
    ['vocab_size', 70_000, /vocabSize: must be .*65536, got 70000/],
    ['quantization_config', { bits: 4 }, /quantization_config: must be absent/],
  ] as const) {
    cpSync(join(FIXTURES, 'gpt2', 'config.json'), join(source, 'config.json'));
    editConfig(source, { [field]: value });
    await refused(source, message);
  }
});

test('missing, foreign, misshapen and contradictory tensors are named', async () => {
  const source = copy('gpt2', 'broken');
  editConfig(source, { n_layer: 2 });
  await refused(source, /broken, tensor transformer\.h\.2\.[\w.]+: is not part of this model/);
  editConfig(source, { n_layer: 4 });
  await refused(source, /broken: must hold tensor transformer\.h\.3\.ln_1\.weight of shape \(16\)/);
  editConfig(source, { n_layer: 3, n_positions: 30 });
  await refused(source, /tensor transformer\.wpe\.weight: must have shape \(30, 16\), got \(24, 16\)/);
  const own = copy('sharded', 'own-head');
  editConfig(own, { tie_word_embeddings: true });
  await refused(
    own,
    /tensor lm_head\.weight: must equal transformer\.wte\.weight, as config\.json has tie_word/,
  );
  rmSync(join(own, 'model-00002-of-00004.safetensors'));
  await refused(
    own,
    /own-head: must hold model-00002-of-00004\.safetensors, which model\.safetensors\.index/,
  );
  const index = join(own, 'model.safetensors.index.json');
  writeFileSync(index, '{"weight_map": {"a": "../b.safetensors"}}');
  await refused(own, /weight_map: must name files in the same folder, got '\.\.\/b\.safetensors'/);
  const file = join(source, 'model.safetensors');
  writeFileSync(file, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x7b]));
  await refused(source, /model\.safetensors: its header must have at most 100000000 bytes/);
  rmSync(file);
  mkdirSync(file);
  await refused(source, /model\.safetensors: must be a file, got 'a folder or device'/);
});

test('a special token beyond the model’s ids, as one for padding, comes along with a notice, and leaves again', async () => {
  const source = copy('gpt2', 'padded');
  const path = join(source, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(path, 'utf8'));
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 280, content: '[PAD]' });
  writeFileSync(path, JSON.stringify(tokenizer));
  const out = join(folder, 'run-padded');
  const imported = await loopnn(['import', source, '--out', out]);
  assert.equal(imported.code, 0, imported.stderr);
  assert.match(
    imported.stderr,
    /tokenizer\.json: beyond the model's 280 ids, which never makes them: \[PAD\] \(280\)$/m,
  );
  const made = await loopnn(['generate', '--model', out, '--prompt', 'a [PAD] b', '--tokens', '8']);
  assert.equal(made.code, 0, made.stderr);
  const exported = join(folder, 'padded-again');
  assert.equal((await loopnn(['export', '--model', out, '--out', exported])).code, 0);
  assert.deepEqual(JSON.parse(readFileSync(join(exported, 'tokenizer.json'), 'utf8')), tokenizer);
  assert.equal(JSON.parse(readFileSync(join(exported, 'config.json'), 'utf8')).vocab_size, 280);
});

test('a tokenizer with other ids beyond the model’s is refused, at import and afterwards', async () => {
  const { out } = await importFixture('gpt2');
  const source = copy('gpt2', 'other-tokenizer');
  const tokenizer = JSON.parse(readFileSync(join(source, 'tokenizer.json'), 'utf8'));
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 280, content: 'more', special: false });
  const message = /tokenizer\.json: must have at most as many ids as the model's vocabSize = 280, got 281/;
  writeFileSync(join(source, 'tokenizer.json'), JSON.stringify(tokenizer));
  await refused(source, message);
  cpSync(join(source, 'tokenizer.json'), join(out, 'tokenizer.json'));
  const result = await loopnn(['generate', '--model', out, '--prompt', 'x']);
  assert.match(result.stderr, message);
  assert.equal(result.code, 1);
  rmSync(join(source, 'tokenizer.json'));
  cpSync(join(FIXTURES, 'sharded', 'vocab.json'), join(source, 'vocab.json'));
  await refused(source, /must hold vocab\.json and merges\.txt together, got 'only vocab\.json'/);
});

test('a folder with an adapter of PEFT is refused, whatever else it holds', async () => {
  const source = copy('gpt2', 'adapter');
  writeFileSync(join(source, 'adapter_config.json'), '{"peft_type": "LORA"}');
  await refused(source, /adapter\/adapter_config\.json: must not be of an adapter .*merge_and_unload\(\)/);
  renameSync(join(source, 'model.safetensors'), join(source, 'adapter_model.safetensors'));
  await refused(source, /adapter_config\.json: must not be of an adapter/);
});

test('heads that are not ours are left out whatever their type, and named', async () => {
  const plain = await importFixture('gpt2');
  const source = copy('gpt2', 'heads');
  const file = join(source, 'model.safetensors');
  const bytes = readFileSync(file);
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, end));
  const data = [bytes.subarray(end)];
  const add = (name: string, dtype: string, shape: number[], size: number) => {
    const start = data.reduce((sum, { length }) => sum + length, 0);
    header[name] = { dtype, shape, data_offsets: [start, start + size] };
    data.push(Buffer.alloc(size, 0xff));
  };
  const sizes = { BOOL: 8, F16: 16, U32: 32, I8: 8, F8_E4M3: 8, C64: 64, F4: 4, U64: 64, I16: 16 };
  for (const [dtype, bits] of Object.entries(sizes)) add(`v_head.${dtype}`, dtype, [2, 2], bits / 2);
  add('transformer.h.0.attn.bias', 'BOOL', [1, 1, 24, 24], 576);
  const write = () => {
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(file, Buffer.concat([length, json, ...data]));
  };
  write();
  const out = join(folder, 'run-heads');
  const result = await loopnn(['import', source, '--out', out, '--json']);
  assert.equal(result.code, 0, result.stderr);
  const named = Object.keys(sizes).map((dtype) => `v_head\\.${dtype}`);
  const notice = `heads: not of this model, left out: ${named.join(', ')}, transformer\\.h\\.\\*\\.attn\\.bias`;
  assert.match(result.stderr, new RegExp(notice));
  const weights = 'checkpoints/last-0000000/model.safetensors';
  assert.deepEqual(readFileSync(join(out, weights)), readFileSync(join(plain.out, weights)));

  header['transformer.ln_f.weight'].dtype = 'U32';
  write();
  await refused(source, /tensor transformer\.ln_f\.weight: must hold floating-point values .*, got 'U32'/);
});

test('pickled checkpoints are refused with the reason and the way to convert them', async () => {
  const source = copy('gpt2', 'pickled');
  renameSync(join(source, 'model.safetensors'), join(source, 'pytorch_model.bin'));
  await refused(
    source,
    /pytorch_model\.bin: must not be a pickled checkpoint: opening one can run any code.*save_pretrained/,
  );
  renameSync(join(source, 'pytorch_model.bin'), join(source, 'ckpt.pt'));
  await refused(source, /ckpt\.pt: must not be a pickled checkpoint.*safetensors\.torch\.save_file/);
  await refused(join(source, 'ckpt.pt'), /ckpt\.pt: must not be a pickled checkpoint/);
});

test('a path that is a file, nothing, or a Hugging Face folder where a run is meant', async () => {
  await refused(
    join(FIXTURES, 'gpt2', 'model.safetensors'),
    /must be a folder.*give the folder that the file/,
  );
  await refused(
    join(folder, 'nowhere'),
    /nowhere: must be a folder with config\.json and model\.safetensors/,
  );
  const { out } = await importFixture('gpt2');
  const twice = await loopnn(['import', join(FIXTURES, 'gpt2'), '--out', out]);
  assert.match(twice.stderr, /--out: must be a new or empty folder, got '/);
  const direct = await loopnn(['generate', '--model', join(FIXTURES, 'gpt2'), '--prompt', 'x']);
  assert.match(
    direct.stderr,
    /must be the folder of a run, got 'a Hugging Face model'; make one of it: loopnn import/,
  );
});

test('a model on the hub that the environment names is imported as from its folder', async () => {
  const names = readdirSync(join(FIXTURES, 'sharded')).filter((path) => path !== 'expected.safetensors');
  const files = names.map((path) => ({ path, bytes: readFileSync(join(FIXTURES, 'sharded', path)) }));
  const server = await new HubServer('owner/gpt', files, 'v1', 'model').start();
  const env = { HF_ENDPOINT: server.url, HF_TOKEN: 'hf_test', HF_HUB_CACHE: join(folder, 'hub-cache') };
  const local = await importFixture('sharded');
  const out = join(folder, 'run-hub');
  try {
    const result = await loopnn(['import', 'hf:owner/gpt@v1', '--out', out, '--json'], env);
    assert.equal(result.code, 0, result.stderr);
    assert.deepEqual(JSON.parse(result.stdout), { ...local.document, run: out });
    assert.match(
      result.stderr,
      /^4 files of weights, [\d.]+ KiB: [\d.]+ KiB to download to .*hub-cache \(.* free\); the run will take about [\d.]+ KiB\n$/,
    );
    assert.deepEqual([...server.tokens], ['hf_test']);
    const paths = ['config.json', 'tokenizer.json', 'checkpoints/last-0000000/model.safetensors'];
    for (const path of paths)
      assert.deepEqual(readFileSync(join(out, path)), readFileSync(join(local.out, path)));

    // What the cache holds of it is a folder of links to another folder.
    const snapshots = join(env.HF_HUB_CACHE, 'models--owner--gpt', 'snapshots');
    const [snapshot] = readdirSync(snapshots).map((name) => join(snapshots, name));
    assert.ok(lstatSync(join(snapshot, 'config.json')).isSymbolicLink());
    const again = join(folder, 'run-cached');
    const cached = await loopnn(['import', snapshot, '--out', again, '--json']);
    assert.equal(cached.code, 0, cached.stderr);
    assert.deepEqual(JSON.parse(cached.stdout), { ...local.document, run: again });

    const refusedOut = join(folder, 'refused');
    for (const [spec, message] of [
      ['hf:owner/none', /hf:owner\/none: must be a model on the hub, got 'status 404'/],
      ['hf:none', /hf:none: must be a model on the hub, got 'status 404'/],
      ['hf:a/b/c', /source: must be hf:owner\/name, with @revision if you like, got 'hf:a\/b\/c'/],
    ] as const) {
      const { code, stderr } = await loopnn(['import', spec, '--out', refusedOut], env);
      assert.match(stderr, message);
      assert.deepEqual([code, stderr.trim().split('\n').length, existsSync(refusedOut)], [1, 1, false]);
    }
  } finally {
    await server.stop();
  }
});

test('a link out of the folder is refused, unless it is to be followed', async () => {
  const source = copy('gpt2', 'linked');
  renameSync(join(source, 'config.json'), join(folder, 'elsewhere.json'));
  symlinkSync('../elsewhere.json', join(source, 'config.json'));
  await refused(
    source,
    /linked\/config\.json: is a link that must not lead .* got '.*elsewhere\.json'; .*--follow-links$/m,
  );
  const result = await loopnn(['import', source, '--out', join(folder, 'run-linked'), '--follow-links']);
  assert.equal(result.code, 0, result.stderr);
});

test('weights that are no numbers, and a tokenizer.json that is null, are refused', async () => {
  const source = copy('gpt2', 'not-finite');
  const file = join(source, 'model.safetensors');
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
    bytes.writeFloatLE(value, start + 8);
    writeFileSync(file, bytes);
    await refused(source, /tensor [\w.]+, element 2: must be a finite number in float32, got (NaN|Infinity)/);
  }
  const other = copy('gpt2', 'null-tokenizer');
  writeFileSync(join(other, 'tokenizer.json'), 'null');
  await refused(other, /tokenizer\.json: must be a JSON object, got 'null'/);
});

test('folders that hold something else are told apart from pickled models', async () => {
  const source = join(folder, 'tokens');
  mkdirSync(source);
  writeFileSync(join(source, 'train.bin'), 'xx');
  await refused(
    source,
    /tokens: must hold model\.safetensors, or model\.safetensors\.index\.json with its shards$/m,
  );
  const { out } = await importFixture('gpt2');
  await refused(out, /must hold model\.safetensors, .*; it is a run already, if loopnn wrote it/);
});

test('a file that may grow no more, or a folder in use, leaves everything as it was', async (t) => {
  if (process.platform === 'win32') return t.skip('needs a shell with ulimit');
  const deep = join(folder, 'made', 'on', 'the way');
  const { out } = await importFixture('gpt2');
  for (const command of [
    ['import', join(FIXTURES, 'gpt2')],
    ['export', '--model', out],
    ['retrofit', '--model', out, '--loops', '2'],
  ]) {
    const full = await loopnnWithin(40, [...command, '--out', deep]);
    assert.match(full.stderr, /: could not be written, files may not become so large here; raise the limit/);
    assert.deepEqual([full.code, existsSync(join(folder, 'made'))], [1, false], full.stderr);

    const used = join(folder, 'in-use');
    mkdirSync(used, { recursive: true });
    const nothing = await loopnnWithin(40, [...command, '--out', used]);
    assert.deepEqual([nothing.code, readdirSync(used)], [1, []]);
    writeFileSync(join(used, 'mine.partial'), 'mine');
    const refusal = await loopnn([...command, '--out', used]);
    assert.match(refusal.stderr, /^loopnn: --out: must be a new or empty folder, got '.*in-use'$/m);
    assert.deepEqual(readdirSync(used), ['mine.partial']);
    rmSync(used, { recursive: true });

    const unset = await loopnn([...command, '--out', '']);
    assert.match(unset.stderr, /^error: option '--out <\w+>' must not be empty$/m);
    assert.equal(unset.code, 2);
  }
  const unset = await loopnn(['import', '', '--out', deep]);
  assert.match(unset.stderr, /^error: an argument must not be empty$/m);
});

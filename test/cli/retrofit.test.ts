/** `loopnn retrofit`: where the loop network starts, and that it trains on. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';

import type { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { retrofitModel } from '../../src/operations/retrofit.js';
import { openRun } from '../../src/node/run.js';
import { loopnn, temporaryFolder, writeCorpus } from './helpers.js';
import { parseSafetensors } from '../formats/safetensors-bytes.js';

const FIXTURE = fileURLToPath(new URL('../../../test/fixtures/huggingface/gpt2/', import.meta.url));
const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const tokens = Int32Array.from({ length: 48 }, (_, i) => (i * 37) % 280);

async function succeeds(...args: string[]) {
  const result = await loopnn([...args, '--json']);
  assert.equal(result.code, 0, result.stderr);
  return { document: JSON.parse(result.stdout), stderr: result.stderr };
}

async function retrofit(out: string, ...flags: string[]) {
  return succeeds('retrofit', '--model', at('original'), '--out', at(out), ...flags);
}

async function load(run: string): Promise<GPT> {
  return (await (await openRun(at(run))).load(new Runtime(new ReferenceBackend()))).model;
}

async function logitsOf(model: GPT): Promise<Float32Array> {
  using y = model.logits(tokens, 2);
  return (await y.read()) as Float32Array;
}

/** ‖a − b‖ / ‖b‖. */
function distance(a: Float32Array, b: Float32Array): number {
  const norm = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, x) => sum + x * x, 0));
  return norm(a.map((value, i) => value - b[i])) / norm(b);
}

/** Sets the gates, loop by loop. */
function setGates(model: GPT, values: readonly number[]): void {
  const gates = model.parameters.all.find(({ name }) => name === 'transformer.gates')!;
  const C = gates.shape[1];
  model.runtime.backend.write(
    gates.storage,
    Float32Array.from({ length: gates.size }, (_, i) => values[Math.floor(i / C)]),
  );
}

before(async () => {
  await succeeds('import', FIXTURE, '--out', at('original'));
});

test('correction: all layers, looped outside, inside or both ways, start as the original', async () => {
  const expected = await logitsOf(await load('original'));
  for (const [name, ...flags] of [
    ['outer', '--loops', '4'],
    ['inner', '--inner-loops', '3'],
    ['both', '--loops', '2', '--inner-loops', '2', '--gate', 'scalar'],
    ['layout', '--loops', '3', '--prelude', '1', '--coda', '1'],
    [
      'recipes',
      '--loops',
      '3',
      '--input-injection',
      'scalars',
      '--loop-embedding',
      '--hyper-connections',
      'dynamic',
    ],
  ]) {
    const { document } = await retrofit(name, ...flags);
    assert.deepEqual(document.layers, [[0], [1], [2]]);
    const found = distance(await logitsOf(await load(name)), expected);
    assert.ok(found < 1e-6, `${name}: ${found}`);
  }
  assert.ok(existsSync(at('outer', 'tokenizer.json')));
});

test('the example of docs/formats.md starts as the GPT-2, as it says', async () => {
  const page = readFileSync(new URL('../../../docs/formats.md', import.meta.url), 'utf8');
  const [, flags] = /loopnn retrofit --model runs\/gpt2 (.*?) ?--out/.exec(page)!;
  await retrofit('page', ...flags.split(' '));
  const found = distance(await logitsOf(await load('page')), await logitsOf(await load('original')));
  assert.ok(found < 1e-6, `${flags}: ${found}`);
});

test('of the usual starts, the chosen one is the nearest to the original in both forms', async () => {
  const expected = await logitsOf(await load('original'));
  for (const form of ['correction', 'output']) {
    const { stderr } = await retrofit(form, '--loops', '3', '--loop-form', form);
    assert.equal(/embedding counted once too often/.test(stderr), form === 'output', stderr);
    const model = await load(form);
    const chosen = distance(await logitsOf(model), expected);
    // Random layers add little more than they are given, so that output's extra embedding shows.
    assert.ok(chosen < (form === 'output' ? 0.2 : 1e-6), `${form}: ${chosen}`);
    for (const other of [
      [1, 1, 1],
      [1 / 3, 1 / 3, 1 / 3],
      [0, 0, 0],
    ]) {
      setGates(model, other);
      const found = distance(await logitsOf(model), expected);
      assert.ok(found > 1.5 * chosen, `${form} ${other}: ${found}, ${chosen}`);
    }
    if (form === 'correction') continue;
    setGates(model, [30, 0, 0]);
    const large = distance(await logitsOf(model), expected);
    assert.ok(large < chosen / 10, `a large first gate comes nearer: ${large}, ${chosen}`);
  }
});

test('layers are chosen in order, or averaged', async () => {
  const weights = (run: string) => {
    const file = at(run, 'checkpoints', 'last-0000000', 'model.safetensors');
    return parseSafetensors(new Uint8Array(readFileSync(file)), file);
  };
  const { stderr } = await retrofit('chosen', '--layers', '2,0', '--loops', '2');
  assert.match(stderr, /left out of the 3 layers: 1/);
  const [original, chosen] = [weights('original'), weights('chosen')];
  const name = (layer: number) => `transformer.h.${layer}.mlp.c_fc.weight`;
  assert.deepEqual(chosen.get(name(0))!.data, original.get(name(2))!.data);
  assert.deepEqual(chosen.get(name(1))!.data, original.get(name(0))!.data);
  assert.ok(!chosen.has(name(2)));
  const gates = chosen.get('transformer.gates')!.data as Float32Array;
  assert.deepEqual([...gates], [...new Array(16).fill(1), ...new Array(16).fill(0)]);
  const { document } = await retrofit('averaged', '--average', '0-1,0+2', '--loops', '2');
  assert.deepEqual(document.layers, [
    [0, 1],
    [0, 2],
  ]);
  const values = (layer: number) => original.get(name(layer))!.data as Float32Array;
  const mean = values(0).map((value, i) => (value + values(2)[i]) / 2);
  assert.deepEqual(weights('averaged').get(name(1))!.data, mean);
});

test('it trains on: the loss falls and the closed gates open', async () => {
  mkdirSync(at('corpus'));
  const tokenizer = at('original', 'tokenizer.json');
  await succeeds('prepare', writeCorpus(at('corpus')), '--out', at('data'), '--tokenizer', tokenizer);
  await retrofit('trained', '--layers', '0-1', '--loops', '3');
  const flags = '--max-steps 30 --warmup-steps 2 --lr 0.01 --min-lr 0.001 --batch-size 4 --eval-batches 4';
  const train = ['train', '--data', at('data'), '--out', at('trained'), '--resume', ...flags.split(' ')];
  const { document } = await succeeds(...train);
  const [first] = readFileSync(at('trained', 'metrics.jsonl'), 'utf8').split('\n');
  assert.ok(document.valLoss < JSON.parse(first).valLoss - 0.5, `${first} ${document.valLoss}`);
  const model = await load('trained');
  const gates = await model.parameters.all.find(({ name }) => name === 'transformer.gates')!.read();
  assert.ok(gates.slice(16).every((gate) => gate !== 0));
});

test('what cannot be retrofitted is refused, and nothing is written', async () => {
  for (const [message, ...flags] of [
    [/layers: must be from 0 to 2, as the model has them, got 3/, '--layers', '0-5', '--loops', '6'],
    [/--layers: must name layers as 0, 0-5 or 0,2,4-6, got '2-1'/, '--layers', '2-1', '--loops', '2'],
    [/--average: must name layers .*, got 'x'/, '--average', '0+x', '--loops', '2'],
    [
      /--average: must not be given together with --layers/,
      '--average',
      '0',
      '--layers',
      '0',
      '--loops',
      '2',
    ],
    [/loops: must be at least 2, over the stack or in each layer, got 1/, '--layers', '0'],
    [/loopForm: must be correction where layers are looped/, '--inner-loops', '2', '--loop-form', 'output'],
    [/nPrelude \+ nCoda: must leave a layer to loop/, '--loops', '2', '--prelude', '3'],
    [/nPrelude: must be 0 where nLoop is 1, got 1; raise nLoop/, '--inner-loops', '2', '--prelude', '1'],
  ] as const) {
    const result = await loopnn(['retrofit', '--model', at('original'), '--out', at('no'), ...flags]);
    assert.match(result.stderr, message);
    assert.equal(result.code, 1);
    assert.ok(!existsSync(at('no')));
  }
  const stable = { model: at('original'), out: at('no'), loops: 2, inputInjection: 'stable' } as const;
  await assert.rejects(retrofitModel(stable), /inputInjection: must be none or scalars, which leave/);
  const { model, out } = stable;
  const other = ['--loops', '2', '--input-injection', 'stable'];
  const refused = await loopnn(['retrofit', '--model', model, '--out', out, ...other]);
  assert.match(refused.stderr, /'stable' is invalid. Allowed choices are none, scalars\./);
  assert.ok(!existsSync(at('no')));
  const twice = await loopnn(['retrofit', '--model', at('outer'), '--out', at('no'), '--loops', '2']);
  assert.match(twice.stderr, /depth: must be gpt2 to be made a loop network, got 'loop'/);
  const used = await loopnn(['retrofit', '--model', at('original'), '--out', at('outer'), '--loops', '2']);
  assert.match(used.stderr, /--out: must be a new or empty folder, got/);
});

/** The paper's parameter counts, and FLOPs and invariants of looped models. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEngine } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { presetNames, readPreset } from '../../src/node/presets.js';
import { modelCost } from '../../src/models/cost.js';
import { innerWidth, parseModelConfig } from '../../src/models/config.js';
import { unreadModelFields } from '../../src/models/unread.js';
import { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { parseRunConfig } from '../../src/train/config.js';

const cost = (preset: string) => modelCost(parseRunConfig(readPreset(preset), preset).model);

test('the paper’s models have the paper’s parameter counts, layers and applications', () => {
  const paper: [string, number, number, number][] = [
    ['gpt2-124m', 123_653_376, 12, 12],
    ['gpt2-81m-loop', 81_126_144, 6, 36],
    ['gpt2-67m-loop', 66_950_400, 4, 48],
    ['gpt2-45m', 45_686_784, 1, 1],
    ['gpt2-45m-loop', 45_686_784, 1, 2],
  ];
  for (const [preset, parameters, layers, applications] of paper) {
    const found = cost(preset);
    assert.equal(found.parameters.nanogpt, parameters, preset);
    assert.equal(found.layers, layers);
    assert.equal(found.applications, applications);
    assert.equal(found.parameters.total, parameters + 1024 * 768 + found.parameters.gates);
  }
  assert.equal(cost('gpt2-81m-loop').parameters.gates, 6 * 768);
  assert.equal(cost('gpt2-67m-loop').parameters.gates, 6 * 768 + 4 * 2 * 768);
});

test('what recipes for loops learn counts as parameters, and not as gates', () => {
  const { model } = parseRunConfig(readPreset('gpt2-45m-loop'), 'preset');
  const of = (fields: object) => modelCost(parseModelConfig({ ...model, ...fields })).parameters;
  const plain = of({});
  for (const [fields, more] of [
    [{ inputInjection: 'scalars' }, 2 * 2],
    [{ hyperConnections: 'static', nStream: 3 }, 2 * 3 * (3 + 2)],
  ] as const) {
    const found = of(fields);
    assert.equal(found.gates, plain.gates);
    assert.deepEqual([found.nanogpt - plain.nanogpt, found.total - plain.total], [more, more]);
  }
});

test('a decoder keeps keys and values of every application, or of the loops that have their own', () => {
  const { model } = parseRunConfig(readPreset('gpt2-67m-loop'), 'preset');
  const bytes = (fields: object) => modelCost(parseModelConfig({ ...model, ...fields })).cacheBytesPerToken;
  const slot = 4 * 2 * 768;
  assert.equal(bytes({}), 4 * 6 * 2 * slot);
  assert.equal(bytes({ kvSharing: 'first-loop' }), 4 * 2 * slot);
  assert.equal(bytes({ kvSharing: 'last-loop', kvLoops: 3 }), 3 * 4 * 2 * slot);
  assert.equal(bytes({ nPrelude: 1, nCoda: 1, kvSharing: 'last-loop' }), 4 * 2 * slot);
  assert.throws(() => bytes({ kvSharing: 'last-loop', kvLoops: 6 }), /kvLoops: must be below nLoop = 6/);
  assert.throws(() => bytes({ kvLoops: 2 }), /kvLoops: must be 1 where kvSharing is per-application/);
});

test('an MLP counts by its width', () => {
  const { model } = parseRunConfig(readPreset('gpt2-45m'), 'preset');
  const of = (nInner: number | '4x') => modelCost(parseModelConfig({ ...model, nInner }));
  const [usual, same, wide] = [of('4x'), of(3072), of(3073)];
  assert.deepEqual(same, usual);
  assert.equal(wide.parameters.total - usual.parameters.total, 768 + 1 + 768);
  assert.equal(wide.flopsPerToken.forward - usual.flopsPerToken.forward, 2 * 2 * 768);
  const kept = (cost: typeof usual) => cost.activationBytesPerSequence.kept;
  // Both sides of the activation, of each position.
  assert.equal(kept(wide) - kept(usual), 4 * 2 * model.blockSize);
});

test('a gated MLP of width 8/3x has the weights of 4x without gate, and RMSNorm no means and biases', () => {
  const { model } = parseRunConfig(readPreset('gpt2-45m'), 'preset');
  const of = (fields: object) => modelCost(parseModelConfig({ ...model, bias: false, ...fields }));
  const [usual, gated] = [of({}), of({ gatedMlp: true, nInner: '8/3x' })];
  assert.equal(gated.parameters.total, usual.parameters.total);
  assert.deepEqual(gated.flopsPerToken, usual.flopsPerToken);
  assert.equal(innerWidth(parseModelConfig({ ...model, nEmbd: 64, nHead: 1, nInner: '8/3x' })), 192);
  const rms = of({ bias: true, normType: 'rmsnorm' });
  assert.equal(of({ bias: true }).parameters.total - rms.parameters.total, 3 * 768);
});

test('queries that share key heads have fewer weights, FLOPs, kept activations and a smaller cache', () => {
  const { model } = parseRunConfig(readPreset('gpt2-45m'), 'preset');
  const of = (fields: object) => modelCost(parseModelConfig({ ...model, ...fields }));
  const [full, grouped] = [of({ nKvHead: 12 }), of({ nKvHead: 3 })];
  assert.deepEqual(full, of({}));
  const saved = 2 * (768 - 192); // channels of keys and values
  assert.equal(full.parameters.total - grouped.parameters.total, saved * 769);
  assert.equal(full.flopsPerToken.forward - grouped.flopsPerToken.forward, 2 * 768 * saved);
  assert.equal(grouped.cacheBytesPerToken, full.cacheBytesPerToken / 4);
  const kept = (cost: typeof full) => cost.activationBytesPerSequence.kept;
  assert.equal(kept(full) - kept(grouped), 4 * 1024 * saved);
  assert.equal(kept(of({ nKvHead: 3, qkNorm: true })) - kept(grouped), 4 * 1024 * 15);
  assert.equal(full.parameters.total - of({ positions: 'rotary' }).parameters.total, 1024 * 768);
});

test('heads that do not fit together are refused, and so are rotary positions where they have no place', () => {
  const refusals: [object, RegExp][] = [
    [{ nKvHead: 5 }, /^model\.nKvHead: must divide nHead = 12, got 5$/],
    [{ nKvHead: 24 }, /^model\.nKvHead: must divide nHead = 12, got 24$/],
    [{ nKvHead: 'none' }, /^model\.nKvHead: must be a whole number of at least 1 or 'nHead', got 'none'$/],
    [
      { nEmbd: 36, positions: 'rotary' },
      /^model\.nEmbd \/ nHead: must be even where positions is rotary, .*got 3$/,
    ],
    [
      { depth: 'universal', positions: 'rotary' },
      /^model\.positions: must be learned where depth is universal/,
    ],
  ];
  for (const [fields, message] of refusals) assert.throws(() => parseModelConfig(fields), { message });
  const unread = unreadModelFields(parseModelConfig({ ropeTheta: 500 }));
  assert.equal(unread.ropeTheta?.rule, 'must be 10000 where positions is learned');
});

test('looping the one block twice costs 1.17 times the FLOPs', () => {
  const ratio = cost('gpt2-45m-loop').flopsPerToken.forward / cost('gpt2-45m').flopsPerToken.forward;
  assert.ok(Math.abs(ratio - 1.169) < 0.001, String(ratio));
});

test('every preset parses, and the mini ones keep the paper’s layers and loops', () => {
  assert.ok(presetNames().length >= 11);
  for (const [mini, full] of [
    ['mini-12x1', 'gpt2-124m'],
    ['mini-6x6', 'gpt2-81m-loop'],
    ['mini-4x6x2', 'gpt2-67m-loop'],
    ['mini-1x1', 'gpt2-45m'],
    ['mini-1x2', 'gpt2-45m-loop'],
  ]) {
    const [a, b] = [cost(mini), cost(full)];
    assert.deepEqual([a.layers, a.loops, a.innerLoops], [b.layers, b.loops, b.innerLoops], mini);
  }
  for (const name of presetNames()) cost(name);
});

const tiny = { vocabSize: 11, blockSize: 6, nLayer: 2, nHead: 2, nEmbd: 8, depth: 'loop' };
const tokens = Int32Array.of(1, 5, 3, 3, 0, 10);

/** Logits in double precision of a model with the weights of the shared blocks, under another configuration. */
async function logitsOf(fields: object, loops?: number, gate?: number): Promise<Float64Array> {
  const runtime = new Runtime(onEngine(new ReferenceBackend('f64')));
  const model = new GPT(parseModelConfig({ ...tiny, ...fields }), runtime, { train: false });
  model.parameters.initialise(5);
  for (const p of model.parameters.all) {
    if (p.role === 'gate' && gate !== undefined) runtime.backend.fill(p.storage, gate);
  }
  using y = model.logits(tokens, 1, loops === undefined ? {} : { loops });
  return Float64Array.from(await y.read());
}

const near = (a: Float64Array, b: Float64Array) => a.every((x, i) => Math.abs(x - b[i]) < 1e-12);

test('one loop is GPT-2', async () => {
  assert.ok(near(await logitsOf({ nLoop: 1 }), await logitsOf({ depth: 'gpt2' })));
});

test('correction form with unit gates is the blocks written out N times', async () => {
  const looped = await logitsOf({ nLoop: 3, loopForm: 'correction' }, undefined, 1);
  const runtime = new Runtime(onEngine(new ReferenceBackend('f64')));
  const written = new GPT(parseModelConfig({ ...tiny, depth: 'gpt2', nLayer: 6 }), runtime, { train: false });
  const shared = new GPT(parseModelConfig({ ...tiny, depth: 'gpt2' }), runtime, { train: false });
  shared.parameters.initialise(5);
  for (const p of written.parameters.all) {
    const source = p.name.replace(/h\.(\d+)/, (_, l) => `h.${Number(l) % 2}`);
    runtime.backend.copy(p.storage, shared.parameters.all.find((s) => s.name === source)!.storage);
  }
  using y = written.logits(tokens, 1);
  assert.ok(near(looped, Float64Array.from(await y.read())));
});

test('output form with zero gates is the embedding alone, in correction form too', async () => {
  const none = await logitsOf({ nLoop: 2, loopForm: 'output' }, undefined, 0);
  assert.ok(near(none, await logitsOf({ nLoop: 4, loopForm: 'correction' }, undefined, 0)));
  assert.ok(!near(none, await logitsOf({ nLoop: 2, loopForm: 'output' }, undefined, 0.5)));
});

test('other loop counts: fewer use the first gates, more reuse the last one', async () => {
  assert.ok(near(await logitsOf({ nLoop: 2 }, 4), await logitsOf({ nLoop: 4 })));
  assert.ok(!near(await logitsOf({ nLoop: 2 }, 1), await logitsOf({ nLoop: 2 })));
  await assert.rejects(logitsOf({ nLoop: 1 }, 2), /loops: must be 1 for a model trained without outer loops/);
});

test('positions follow the shape of each batch, also after another of the same size', async () => {
  const runtime = new Runtime(onEngine(new ReferenceBackend('f64')));
  const model = new GPT(parseModelConfig({ ...tiny, depth: 'gpt2' }), runtime, { train: false });
  model.parameters.initialise(5);
  const values = async (B: number) => {
    using y = model.logits(tokens, B);
    return Float64Array.from(await y.read());
  };
  const fresh = await values(2);
  await values(1);
  assert.deepEqual(await values(2), fresh);
});

test('GPT-2 refuses another loop count', async () => {
  await assert.rejects(logitsOf({ depth: 'gpt2' }, 2), /loops: must be 1 for GPT-2.*got 2/);
});

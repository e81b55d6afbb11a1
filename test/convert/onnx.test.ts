/** ONNX export: what onnxruntime computes from a file against our own models, in prefill and token by token. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { toFloat32 } from '../../src/formats/dtypes.js';
import type { LazyTensor } from '../../src/formats/lazy-tensors.js';
import { type OnnxGraph, onnxFile } from '../../src/formats/onnx.js';
import { float16Bits, quantise, type WeightType } from '../../src/formats/onnx-weights.js';
import { type ModelConfig, parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { GPTModules } from '../../src/models/modules.js';
import { onnxGraph, scaledAxis } from '../../src/convert/onnx.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';

// What onnxruntime-web computes here is too small to gain by a second compilation, one that optimises.
setFlagsFromString('--liftoff-only');

const SIZE = { vocabSize: 37, blockSize: 12, nLayer: 2, nHead: 2, nEmbd: 16 };
const V = SIZE.vocabSize;
const B = 2;
const T = 9;
const TOKENS = Int32Array.from({ length: B * T }, (_, i) => (i * 7 + 3) % V);

const CASES: readonly (readonly [name: string, config: Partial<ModelConfig>, loops?: number])[] = [
  ['gpt2', { depth: 'gpt2' }],
  ['gpt2 untied, no biases', { depth: 'gpt2', tiedHead: false, bias: false }],
  [
    'erf GELU, epsilon, a wide MLP',
    { depth: 'gpt2', activation: 'gelu', layerNormEpsilon: 0.01, nInner: 50 },
  ],
  [
    'RMSNorm, SwiGLU',
    { depth: 'gpt2', normType: 'rmsnorm', gatedMlp: true, activation: 'silu', nInner: 24, bias: false },
  ],
  ['loop with squared ReLU, RMSNorm', { depth: 'loop', nLoop: 2, normType: 'rmsnorm', activation: 'relu2' }],
  ['loop with SiLU', { depth: 'loop', nLoop: 2, activation: 'silu', nInner: 7 }],
  ['loop with quick GELU written out', { depth: 'loop', nLoop: 2, activation: 'quick_gelu' }, 2],
  ['rotary positions', { depth: 'gpt2', positions: 'rotary', ropeTheta: 50 }],
  [
    'loop, rotary positions, QK norm, grouped queries',
    { depth: 'loop', nLoop: 2, nHead: 4, nKvHead: 2, positions: 'rotary', qkNorm: true },
  ],
  ['loop correction', { depth: 'loop', nLoop: 3 }],
  [
    'loop output, scalar gates',
    { depth: 'loop', nLoop: 2, loopForm: 'output', gate: 'scalar', gateInit: '1/n' },
  ],
  ['loop written out', { depth: 'loop', nLoop: 2 }, 2],
  ['loop written out beyond its count', { depth: 'loop', nLoop: 2 }, 4],
  ['loop inner', { depth: 'loop', nLoop: 2, nInnerLoop: 2 }],
  ['loop add', { depth: 'loop', nLoop: 2, inputInjection: 'add' }],
  ['loop without outer loops', { depth: 'loop', nLoop: 1, nInnerLoop: 2 }],
  ['loop layout', { depth: 'loop', nLayer: 3, nLoop: 2, nPrelude: 1, nCoda: 1, inputInjection: 'linear' }],
  [
    'loop layout written out',
    { depth: 'loop', nLayer: 3, nLoop: 2, nPrelude: 1, nCoda: 1, inputInjection: 'linear' },
    1,
  ],
  [
    'loop stable, embeddings, norm',
    { depth: 'loop', nLoop: 3, inputInjection: 'stable', loopEmbedding: true, loopNorm: true },
  ],
  [
    'loop stable-exact, random state',
    { depth: 'loop', nLoop: 2, inputInjection: 'stable-exact', initialState: 'random' },
  ],
  ['loop scalars', { depth: 'loop', nLoop: 2, loopForm: 'output', inputInjection: 'scalars' }],
  [
    'loop streams',
    { depth: 'loop', nLayer: 3, nLoop: 3, nPrelude: 1, nCoda: 1, hyperConnections: 'static', nStream: 3 },
  ],
  [
    'loop dynamic streams',
    { depth: 'loop', nLoop: 2, inputInjection: 'stable', hyperConnections: 'dynamic' },
  ],
  [
    'loop dynamic streams written out, RMSNorm',
    { depth: 'loop', nLoop: 2, hyperConnections: 'dynamic', loopNorm: true, normType: 'rmsnorm' },
    3,
  ],
  ['universal post', { depth: 'universal', nLayer: 1, nLoop: 3 }],
  ['universal pre', { depth: 'universal', nLoop: 2, norm: 'pre' }],
  ['universal pre written out', { depth: 'universal', nLoop: 2, norm: 'pre' }, 3],
  ['adaptive shared', { depth: 'adaptive' }],
  ['adaptive separate', { depth: 'adaptive', exitHead: 'separate' }, 1],
  ['adaptive separate, last exit', { depth: 'adaptive', exitHead: 'separate' }],
  ['sharing', { depth: 'sharing', nApplication: 4, sharing: 'cycle-rev' }],
];

/** A model with every parameter drawn, so that none is neutral, rounded as the file's weights are. */
function modelOf(config: ModelConfig, type: WeightType): { model: GPT; weights: Map<string, LazyTensor> } {
  const backend = new ReferenceBackend();
  const model = new GPT(config, new Runtime(backend), { train: false });
  const weights = new Map<string, LazyTensor>();
  for (const { name, role, shape, size, storage } of model.parameters.all) {
    const values = Float32Array.from(
      normal(5, name, size, role === 'gate' || role === 'coefficient' ? 0.5 : 0.2),
    );
    weights.set(name, { name, shape, read: async () => values });
    backend.write(storage, rounded(values, shape, type, scaledAxis(role)));
  }
  return { model, weights };
}

function rounded(
  values: Float32Array,
  shape: readonly number[],
  type: WeightType,
  axis: number | null,
): Float32Array {
  if (type === 'float16') {
    return toFloat32({ dtype: 'F16', data: Uint16Array.from(values, float16Bits) }, 'rounded');
  }
  if (type === 'float32' || axis === null) return values;
  const { q, scales } = quantise(values, shape, axis);
  return values.map((_, i) => q[i] * scales[axis === 1 ? i % shape[1] : Math.floor(i / shape[1])]);
}

type Session = node.InferenceSession | web.InferenceSession;
type Make = (
  type: 'int64' | 'float32',
  data: BigInt64Array | Float32Array,
  dims: readonly number[],
) => node.Tensor;
interface Engine {
  readonly name: string;
  readonly create: (file: Uint8Array) => Promise<Session>;
  readonly tensor: Make;
}

const ENGINES: readonly Engine[] = [
  {
    name: 'onnxruntime-node',
    create: (file) => node.InferenceSession.create(file, { intraOpNumThreads: 1, logSeverityLevel: 3 }),
    tensor: (type, data, dims) => new node.Tensor(type, data as Float32Array, dims) as node.Tensor,
  },
  {
    name: 'onnxruntime-web',
    create: (file) =>
      web.InferenceSession.create(file, { executionProviders: ['wasm'], logSeverityLevel: 3 }),
    tensor: (type, data, dims) => new web.Tensor(type, data as Float32Array, dims) as node.Tensor,
  },
];

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return new Uint8Array(Buffer.concat(all));
}

/** A file in use: what its inputs are, and the cache that the last run left. */
class Use {
  private cache: Record<string, node.Tensor>;

  constructor(
    private readonly session: Session,
    private readonly tensor: Make,
    { inputs }: OnnxGraph,
    private readonly loops: number,
  ) {
    assert.deepEqual(
      session.inputNames,
      inputs.map(({ name }) => name),
    );
    const sizes: Record<string, number> = { batch: B, past: 0, loops };
    const caches = inputs.filter(({ type }) => type === 'float32');
    this.cache = Object.fromEntries(
      caches.map(({ name, shape }) => {
        const dims = shape.map((n) => (typeof n === 'number' ? n : sizes[n]));
        return [name, tensor('float32', new Float32Array(0), dims)];
      }),
    );
  }

  /** Logits (B, time, V) of the next tokens (B, time), with the mask (B, past + time). */
  async run(ids: readonly number[], mask: readonly number[]): Promise<Float32Array> {
    const { session, tensor, loops, cache } = this;
    const integers = (values: readonly number[], dims: readonly number[]) =>
      tensor('int64', BigInt64Array.from(values, BigInt), dims);
    const feeds = {
      input_ids: integers(ids, [B, ids.length / B]),
      attention_mask: integers(mask, [B, mask.length / B]),
      ...(session.inputNames.includes('loops') ? { loops: integers([loops], []) } : {}),
      ...cache,
    };
    const out = (await session.run(feeds as never)) as unknown as Record<string, node.Tensor>;
    this.cache = Object.fromEntries(
      Object.keys(cache).map((name) => [name, out[name.replace('past_key_values', 'present')]]),
    );
    return out.logits.data as Float32Array;
  }
}

/** Logits (B, T, V) from runs over consecutive pieces of the sequences. */
async function inPieces(use: Use, pieces: readonly number[]): Promise<Float32Array> {
  const all = new Float32Array(B * T * V);
  let at = 0;
  for (const length of pieces) {
    const ids = Array.from(
      { length: B * length },
      (_, i) => TOKENS[Math.floor(i / length) * T + at + (i % length)],
    );
    const logits = await use.run(ids, new Array(B * (at + length)).fill(1));
    for (let b = 0; b < B; b++) {
      all.set(logits.subarray(b * length * V, (b + 1) * length * V), (b * T + at) * V);
    }
    at += length;
  }
  assert.equal(at, T);
  return all;
}

function assertClose(found: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    assert.ok(
      Math.abs(found[i] - expected[i]) <= 1e-3,
      `${what}: element ${i} is ${found[i]}, not ${expected[i]}`,
    );
  }
}

const asksForLoops = ({ inputs }: Pick<OnnxGraph, 'inputs'>) => inputs.some(({ name }) => name === 'loops');

/** One file against our model: with the loops written out, or with every count that it may be asked for. */
async function compare(engine: Engine, config: ModelConfig, type: WeightType, loops?: number): Promise<void> {
  const { model, weights } = modelOf(config, type);
  const graph = onnxGraph(config, weights, type, loops);
  const free =
    loops === undefined && (config.depth === 'universal' || (config.depth === 'loop' && config.nLoop > 1));
  assert.equal(asksForLoops(graph), free);
  const session = await engine.create(await bytesOf(onnxFile(graph)));
  for (const count of free ? [1, config.nLoop, config.nLoop + 2] : [loops]) {
    using own = model.logits(TOKENS, B, count === undefined ? {} : { loops: count });
    const expected = await own.read();
    assert.ok(
      expected.some((x) => Math.abs(x) > 0.1),
      'logits that could differ',
    );
    for (const pieces of [[T], new Array(T).fill(1), [4, 1, 3, 1]]) {
      const found = await inPieces(new Use(session, engine.tensor, graph, count ?? 0), pieces);
      assertClose(found, expected, `${count} loops, ${pieces}`);
    }
  }
  await session.release();
}

for (const engine of ENGINES) {
  for (const [name, fields, loops] of CASES) {
    test(`${name} in ${engine.name}: prefill and decoding`, async () => {
      await compare(engine, parseModelConfig({ ...SIZE, ...fields }), 'float32', loops);
    });
  }
  for (const type of ['float16', 'int8'] as const) {
    test(`${type} weights in ${engine.name} are our own rounded weights`, async () => {
      await compare(engine, parseModelConfig({ ...SIZE, depth: 'loop', nLoop: 3 }), type, undefined);
    });
  }
}

test('padding changes nothing for the tokens beside it', async () => {
  for (const depth of ['gpt2', 'loop', 'universal'] as const) {
    const fields = { gpt2: { positions: 'rotary', nKvHead: 1 }, loop: { nLoop: 2 }, universal: { nLoop: 2 } };
    const config = parseModelConfig({ ...SIZE, depth, ...fields[depth] });
    const { model, weights } = modelOf(config, 'float32');
    const graph = onnxGraph(config, weights, 'float32');
    const [long, short, next] = [
      [3, 10, 17, 24, 31],
      [8, 15],
      [5, 6],
    ];
    const alone = async (ids: readonly number[]) => {
      using logits = model.logits(Int32Array.from(ids), 1);
      return (await logits.read()).subarray((ids.length - 1) * V);
    };
    const session = await ENGINES[0].create(await bytesOf(onnxFile(graph)));
    const use = new Use(session, ENGINES[0].tensor, graph, 2);
    const mask = [1, 1, 1, 1, 1, 0, 0, 0, 1, 1];
    const first = await use.run([...long, 0, 0, 0, ...short], mask);
    assertClose(first.subarray(4 * V, 5 * V), await alone(long), `${depth}, unpadded`);
    assertClose(first.subarray(9 * V, 10 * V), await alone(short), `${depth}, padded`);
    const second = await use.run(next, [...mask.slice(0, 5), 1, ...mask.slice(5), 1]);
    assertClose(second.subarray(0, V), await alone([...long, 5]), `${depth}, unpadded, then one token`);
    assertClose(second.subarray(V), await alone([...short, 6]), `${depth}, padded, then one token`);
    await session.release();
  }
});

test('float16 is the nearest, ties to even', () => {
  const cases: [number, number][] = [
    [1, 0x3c00],
    [-2, 0xc000],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [65504, 0x7bff],
    [65519, 0x7bff],
    [65520, 0x7c00],
    [2 ** -24, 1],
    [2 ** -25, 0],
    [3 * 2 ** -25, 2],
    [2 ** -14 - 2 ** -26, 0x400],
    [Number.NaN, 0x7e00],
  ];
  for (const [x, bits] of cases) assert.equal(float16Bits(x), bits, String(x));
});

test('what changes with every step limits their number, gates do not', async () => {
  const [{ create, tensor }] = ENGINES;
  const run = async (config: ModelConfig, loops: number) => {
    const graph = onnxGraph(config, modelOf(config, 'float32').weights, 'float32');
    const session = await create(await bytesOf(onnxFile(graph)));
    await inPieces(new Use(session, tensor, graph, loops), [T]).finally(() => session.release());
  };
  const universal = parseModelConfig({ ...SIZE, depth: 'universal', nLayer: 1, nLoop: 3 });
  await run(universal, 64);
  await assert.rejects(run(universal, 65), /indices element out of data bounds, idx=64/);
  await run(parseModelConfig({ ...SIZE, depth: 'loop', nLoop: 3 }), 65);
});

test('a file beyond 2 GiB is refused before a weight is read', async () => {
  const config = parseModelConfig({ depth: 'gpt2', nLayer: 10, nEmbd: 2048, nHead: 16 });
  const weights = new Map<string, LazyTensor>(
    new GPTModules(config).slots.map(({ name, spec: { shape } }) => [
      name,
      { name, shape, read: async () => assert.fail('no weight is to be read') },
    ]),
  );
  await assert.rejects(onnxFile(onnxGraph(config, weights, 'float32')).next(), {
    name: 'ConfigError',
    message: /^ONNX: a file must have at most 2147483647 bytes, got 24\d{8}; use smaller weights$/,
  });
  assert.ok((await onnxFile(onnxGraph(config, weights, 'float16')).next()).value);
});

test('halting that depends on the data is refused', () => {
  const config = parseModelConfig({ ...SIZE, depth: 'loop', nLoop: 3, halting: 'act' });
  assert.throws(() => onnxGraph(config, new Map(), 'float32'), {
    name: 'ConfigError',
    message: "halting: must be none to be exported as ONNX, got 'act'",
  });
});

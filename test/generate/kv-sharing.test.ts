/** Keys and values that loops share: which ones a decoder keeps, what a token then sees, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { ConfigError } from '../../src/errors.js';
import { Decoder } from '../../src/generate/decoder.js';
import { Engine } from '../../src/generate/engine.js';
import type { ApplicationPlace, Batch } from '../../src/models/batch.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { huggingFaceConfig } from '../../src/convert/huggingface.js';
import { onnxGraph } from '../../src/convert/onnx.js';
import { normal } from '../../src/random.js';
import type { Heads } from '../../src/tensor/attention-ops.js';
import { Runtime, type Tensor } from '../../src/tensor/tensor.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { answer, randomModel } from './helpers.js';
import { lastLogits } from '../models/last-logits.js';
import { nodeClock } from '../../src/node/store.js';

const [V, C, NH] = [31, 16, 2];
const shape = { depth: 'loop', vocabSize: V, blockSize: 300, nLayer: 2, nHead: NH, nEmbd: C, nLoop: 4 };

function build(fields: object = {}): GPT {
  const backend = new ReferenceBackend('f64');
  const model = new GPT(parseModelConfig({ ...shape, ...fields }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const centre = p.role === 'norm' || p.role === 'gate' ? 1 : 0;
    backend.write(
      p.storage,
      normal(7, p.name, p.size, 0.3).map((x) => x + centre),
    );
  }
  return model;
}

const tokens = Int32Array.from({ length: 9 }, (_, i) => (i * i * 5 + 3 * i + 1) % V);

/**
 * One token at a time, attention being written out: the past's keys and values lie in slot n mod k, where each loop
 * overwrites what the former left.
 */
class Overwriting implements Batch {
  readonly cached = true;
  readonly T = 1;
  readonly positions: Tensor;
  readonly reach: number;

  constructor(
    runtime: Runtime,
    private readonly position: number,
    private readonly slots: Map<string, Float64Array[]>,
    private readonly k: number,
  ) {
    this.positions = runtime.from(Int32Array.of(position), [1]);
    this.reach = position + 1;
  }

  attend(qkv: Tensor, _heads: Heads, { loop, layer, inner }: ApplicationPlace): Tensor {
    const slot = `${loop % this.k} ${layer} ${inner}`;
    const memory = this.slots.get(slot) ?? [];
    this.slots.set(slot, memory);
    const row = (qkv.storage as unknown as { data: Float64Array }).data.slice(0, 3 * C);
    memory[this.position] = row;
    const out = new Float64Array(C);
    const HS = C / NH;
    for (let h = 0; h < NH; h++) {
      const scores = memory.map((past) => {
        let dot = 0;
        for (let c = h * HS; c < (h + 1) * HS; c++) dot += row[c] * past[C + c];
        return Math.exp(dot / Math.sqrt(HS));
      });
      const total = scores.reduce((sum, x) => sum + x, 0);
      for (const [j, score] of scores.entries()) {
        for (let c = h * HS; c < (h + 1) * HS; c++) out[c] += (score / total) * memory[j][2 * C + c];
      }
    }
    return qkv.runtime.from(out, [1, C]);
  }

  causalMean(): Tensor {
    throw new Error('no model here takes means');
  }

  [Symbol.dispose](): void {
    this.positions.dispose();
  }
}

for (const k of [1, 3]) {
  test(`last-loop, k = ${k}: a token sees the past as the last loop of each slot left it`, async () => {
    const model = build({ kvSharing: 'last-loop', kvLoops: k });
    using decoder = new Decoder(model);
    using sequence = decoder.open();
    const slots = new Map<string, Float64Array[]>();
    const own = build();
    using apart = new Decoder(own);
    using other = apart.open();
    let differs = false;
    for (const [t, token] of tokens.entries()) {
      const got = await decoder.extend([{ sequence, tokens: [token] }]);
      using batch = new Overwriting(model.runtime, t, slots, k);
      // The oracle's model has slots of its own.
      const want = await own.logitsAt(Int32Array.of(token), batch, Int32Array.of(0));
      // Logits are handed over in single precision.
      for (const [i, x] of want.logits.entries()) {
        assert.ok(
          Math.abs(got.logits[i] - x) < 1e-6 * (1 + Math.abs(x)),
          `token ${t}: ${got.logits[i]}, ${x}`,
        );
      }
      const exact = await apart.extend([{ sequence: other, tokens: [token] }]);
      differs ||= exact.logits.some((x, i) => Math.abs(x - got.logits[i]) > 1e-3);
    }
    assert.ok(differs, 'sharing changes nothing');
    assert.equal(decoder.cache.used, k * shape.nLayer);
    assert.equal(apart.cache.used, shape.nLoop * shape.nLayer);
  });
}

test('first-loop keeps k slots a layer, and one loop more than k is another model than without sharing', async () => {
  for (const [kvLoops, loops, same] of [
    [1, 1, true],
    [1, 2, false],
    [2, 2, true],
    [2, 3, false],
  ] as const) {
    const shared = build({ kvSharing: 'first-loop', kvLoops });
    using decoder = new Decoder(shared);
    using sequence = decoder.open({ loops });
    const { logits } = await decoder.extend([{ sequence, tokens }]);
    const { logits: exact } = await lastLogits(build(), tokens, 1, { loops });
    const distance = Math.max(...logits.map((x, i) => Math.abs(x - exact[i])));
    assert.equal(distance < 1e-6, same, `k = ${kvLoops}, ${loops} loops: ${distance}`);
    assert.equal(decoder.cache.used, kvLoops * shape.nLayer);
  }
});

test('last-loop: a prompt is never cut, so that an answer does not depend on its neighbours', async () => {
  using decoder = new Decoder(
    randomModel({ depth: 'loop', nLoop: 3, kvSharing: 'last-loop', blockSize: 64 }),
  );
  const engine = new Engine(decoder, new BytesTokenizer(), nodeClock, { prefillChunk: 8 });
  const request = (seed: number, length: number) => ({
    prompt: Array.from({ length }, (_, i) => (i * seed) % 20),
    maxTokens: 12,
    temperature: 1,
    seed,
  });
  const requests = [request(3, 30), request(5, 11), request(7, 1), request(11, 25)];
  const alone = [];
  for (const one of requests) alone.push((await answer(engine, one)).text);
  const together = await Promise.all(requests.map(async (one) => (await answer(engine, one)).text));
  assert.deepEqual(together, alone);
  assert.ok(new Set(alone).size > 1);
  await engine.dispose();
});

test('drafts and exports refuse what they cannot carry', async () => {
  const model = randomModel({ depth: 'loop', nLoop: 3, kvSharing: 'first-loop' });
  using decoder = new Decoder(model);
  const engine = new Engine(decoder, new BytesTokenizer(), nodeClock);
  const draft = { loops: 1, tokens: 4 };
  await assert.rejects(
    engine.generate({ prompt: [1], maxTokens: 2, draft }).next(),
    /draft: must not be given where loops share keys and values/,
  );
  assert.throws(
    () => huggingFaceConfig(model.config, { bos_token_id: null, eos_token_id: null }),
    /kvSharing: must be per-application or last-loop/,
  );
  assert.throws(
    () => onnxGraph(model.config, new Map(), 'float32'),
    new ConfigError('kvSharing', 'must be per-application or last-loop to be exported as ONNX', 'first-loop'),
  );
});

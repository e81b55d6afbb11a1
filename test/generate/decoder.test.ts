/**
 * Cached decoding equals uncached bit for bit: every system, at every loop count, on every instruction set and
 * precision, however the tokens are cut into calls and whatever else is in the batch.
 */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { PAGE_POSITIONS } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import type { Backend } from '../../src/backend/backend.js';
import { isas, onEngine, setIsa, webgpu } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { ConfigError } from '../../src/errors.js';
import { Decoder, type SequenceOptions } from '../../src/generate/decoder.js';
import { exitCount, parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { lastLogits } from '../models/last-logits.js';

const V = 31;
const tiny = { vocabSize: V, blockSize: 40, nHead: 2, nEmbd: 16 };
const [best] = isas();
afterEach(() => setIsa(best));

const placed = { nHead: 4, positions: 'rotary', qkNorm: true };

/** A system, and how its sequences are computed: at fewer loops, at the trained count, at more. */
type System = readonly [model: Record<string, unknown>, ...options: SequenceOptions[]];
const systems: Record<string, System> = {
  'GPT-2': [{ depth: 'gpt2', nLayer: 3 }, {}],
  'loop, RMSNorm, SwiGLU': [
    {
      depth: 'loop',
      nLayer: 1,
      nLoop: 2,
      normType: 'rmsnorm',
      gatedMlp: true,
      activation: 'silu',
      tiedHead: false,
    },
    {},
  ],
  'loop, output': [
    { depth: 'loop', nLayer: 2, nLoop: 3, loopForm: 'output' },
    { loops: 1 },
    { loops: 2 },
    {},
    { loops: 5 },
  ],
  'loop, both kinds of loops': [{ depth: 'loop', nLayer: 2, nLoop: 3, nInnerLoop: 2 }, { loops: 2 }, {}],
  'loop with prelude, coda and injection': [
    { depth: 'loop', nLayer: 3, nLoop: 3, nPrelude: 1, nCoda: 1, inputInjection: 'linear' },
    { loops: 1 },
    {},
    { loops: 4 },
  ],
  'loop, ACT': [{ depth: 'loop', nLayer: 2, nLoop: 4, halting: 'act' }, {}, { loops: 2 }],
  'loop, confidence, separate': [
    { depth: 'loop', nLayer: 1, nLoop: 4, halting: 'confidence', exitHead: 'separate' },
    { exit: { threshold: 0.16 } },
    { exit: { threshold: 0.16 }, loops: 2 },
  ],
  'loop, by each criterion': [
    { depth: 'loop', nLayer: 1, nLoop: 4, loopForm: 'output' },
    { exit: { criterion: 'change', threshold: 0.874 } },
    { exit: { criterion: 'second-difference', threshold: 0.973 } },
    { exit: { criterion: 'kl', threshold: 0.318 } },
    { exit: { criterion: 'entropy', threshold: 2.73 } },
    { exit: { criterion: 'confidence', threshold: 0.22 }, loops: 5 },
  ],
  'universal, sequence, by other criteria': [
    { depth: 'universal', nLayer: 1, nLoop: 4, halting: 'sequence', exitHead: 'separate' },
    { exit: { criterion: 'change', threshold: 0.499 } },
    { exit: { criterion: 'kl', threshold: 1.23 } },
  ],
  'adaptive, by what the head reads': [
    { depth: 'adaptive', nLayer: 4 },
    { exit: { criterion: 'kl', threshold: 0.284 } },
    { exit: { criterion: 'entropy', threshold: 2.51 } },
  ],
  'loop with coda, by its movement': [
    { depth: 'loop', nLayer: 3, nLoop: 4, nPrelude: 1, nCoda: 1 },
    { exit: { criterion: 'second-difference', threshold: 0.227 } },
  ],
  'loop, keys of the first loop': [
    { depth: 'loop', nLayer: 2, nLoop: 3, nInnerLoop: 2, kvSharing: 'first-loop' },
    { loops: 1 },
    {},
    { loops: 4 },
  ],
  'loop, keys of the first two loops, confidence': [
    { depth: 'loop', nLayer: 1, nLoop: 5, halting: 'confidence', kvSharing: 'first-loop', kvLoops: 2 },
    { exit: { threshold: 0.16 } },
  ],
  'loop, rotary, QK norm, grouped queries, keys of the first loop': [
    { depth: 'loop', nLayer: 2, nLoop: 3, ...placed, nKvHead: 2, kvSharing: 'first-loop' },
    { loops: 1 },
    {},
  ],
  'adaptive, geometric, rotary, QK norm, one key head': [
    { depth: 'adaptive', nLayer: 4, ...placed, nKvHead: 1, halting: 'geometric' },
    {},
  ],
  'loop, exact injection into a random state, embeddings, norm': [
    {
      ...{ depth: 'loop', nLayer: 2, nLoop: 3, nPrelude: 1, inputInjection: 'stable-exact' },
      ...{ initialState: 'random', loopEmbedding: true, loopNorm: true },
      ...{ ...placed, nKvHead: 2, normType: 'rmsnorm' },
    },
    { loops: 1 },
    {},
    { loops: 5 },
  ],
  'loop, dynamic streams, scalars, by their movement': [
    {
      ...{ depth: 'loop', nLayer: 3, nLoop: 4, nCoda: 1, inputInjection: 'scalars' },
      ...{ hyperConnections: 'dynamic', nStream: 3 },
    },
    {},
    { exit: { criterion: 'change', threshold: 1.1 } },
    { loops: 6 },
  ],
  universal: [{ depth: 'universal', nLayer: 1, nLoop: 3 }, {}, { loops: 2 }],
  'universal, ACT': [{ depth: 'universal', nLayer: 1, nLoop: 4, halting: 'act' }, {}],
  'universal, pre, sequence': [
    { depth: 'universal', nLayer: 1, nLoop: 4, norm: 'pre', halting: 'sequence' },
    {},
  ],
  'adaptive, geometric': [{ depth: 'adaptive', nLayer: 4, halting: 'geometric' }, {}, { loops: 3 }],
  'adaptive, multinomial, separate': [
    { depth: 'adaptive', nLayer: 4, halting: 'multinomial', exitHead: 'separate' },
    {},
  ],
  'sharing, sequence': [{ depth: 'sharing', nLayer: 2, nApplication: 4, sharing: 'sequence' }, {}],
  'sharing, cycle': [{ depth: 'sharing', nLayer: 2, nApplication: 5, sharing: 'cycle' }, {}],
  'sharing, cycle-rev': [{ depth: 'sharing', nLayer: 2, nApplication: 5, sharing: 'cycle-rev' }, {}],
};

function build(backend: Backend, config: Record<string, unknown>): GPT {
  const model = new GPT(parseModelConfig({ ...tiny, ...config }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const gain = p.role === 'norm' || p.name.endsWith('halting.bias') ? 1 : 0;
    const scale = p.name.includes('halting') && !p.name.includes('bias') ? 1.5 : 0.3;
    backend.write(
      p.storage,
      normal(7, p.name, p.size, scale).map((x) => x + gain),
    );
  }
  return model;
}

const text = (length: number, seed: number) =>
  Int32Array.from({ length }, (_, i) => (i * i * seed + 3 * i + seed) % V);

/** What the model says after each of the tokens from `first` on, computed over the whole sequence each time. */
async function uncached(model: GPT, tokens: Int32Array, first: number, options: SequenceOptions) {
  const all = [];
  for (let end = first; end <= tokens.length; end++) {
    const { logits, steps } = await lastLogits(model, tokens.slice(0, end), 1, options);
    const every = options.loops ?? exitCount(model.config);
    all.push({ logits, steps: steps ?? Int32Array.of(every) });
  }
  return all;
}

/** The same from a decoder that is given `first` tokens and then one by one. */
async function cached(decoder: Decoder, tokens: Int32Array, first: number, options: SequenceOptions) {
  using sequence = decoder.open(options);
  const all = [];
  for (let at = 0; at < tokens.length; ) {
    const end = at === 0 ? first : at + 1;
    const { logits, steps } = await decoder.extend([{ sequence, tokens: tokens.subarray(at, end) }]);
    all.push({ logits, steps });
    at = end;
  }
  return all;
}

/** SwiftShader takes a minute for a system: these have every kernel of decoding. */
const ON_WEBGPU = [
  'GPT-2',
  'loop, confidence, separate',
  'loop with coda, by its movement',
  'adaptive, geometric, rotary, QK norm, one key head',
];
const precisions = webgpu ? (['f32'] as const) : (['f32', 'bf16'] as const);

for (const [name, [config, ...settings]] of Object.entries(systems)) {
  const skip = webgpu && !ON_WEBGPU.includes(name) ? 'takes a minute on SwiftShader' : false;
  test(`${name}: token by token as over the whole sequence, at every loop count`, { skip }, async () => {
    const backends = [
      onEngine(new ReferenceBackend()),
      ...precisions.map((precision) => onEngine(new NativeBackend(precision))),
    ];
    for (const backend of backends) {
      const model = build(backend, config);
      using decoder = new Decoder(model);
      for (const options of settings) {
        const tokens = text(21, 5);
        const whole = await uncached(model, tokens, 1, options);
        assert.deepEqual(await cached(decoder, tokens, 1, options), whole, backend.description);
        const steps = whole.map((next) => next.steps[0]);
        if ((config.halting !== undefined || options.exit) && !options.loops) {
          const what = options.exit?.criterion ?? '';
          assert.ok(new Set(steps).size > 1, `${what} halts unevenly: ${steps}`);
        }
      }
      assert.equal(decoder.cache.used, 0, 'pages left over');
      assert.equal(model.runtime.pool.live, 0, 'buffers left over');
    }
  });

  test(`${name}: in a batch, with prompts of any length cut anywhere, as alone`, { skip }, async () => {
    for (const precision of precisions) {
      const model = build(onEngine(new NativeBackend(precision)), config);
      using decoder = new Decoder(model);
      const texts = [text(30, 1), text(9, 2), text(40, 3), text(17, 4), text(26, 7)];
      const optionsOf = (s: number) => settings[s % settings.length];
      const alone = await Promise.all(texts.map((tokens, s) => uncached(model, tokens, 1, optionsOf(s))));
      const sequences = texts.map((_, s) => decoder.open(optionsOf(s)));
      for (let round = 0; sequences.some((s, i) => s.length < texts[i].length); round++) {
        const parts = texts.flatMap((tokens, s) => {
          const sequence = sequences[s];
          const count = (round + s) % 4 === 0 ? 7 : (round + s) % 4 === 1 ? 0 : 1;
          const next = tokens.subarray(sequence.length, sequence.length + count);
          return next.length > 0 ? [{ s, sequence, tokens: next }] : [];
        });
        if (parts.length === 0) continue;
        const { logits, steps } = await decoder.extend(parts);
        for (const [b, { s, sequence }] of parts.entries()) {
          const expected = alone[s][sequence.length - 1];
          assert.deepEqual(
            logits.slice(b * V, b * V + V),
            expected.logits,
            `text ${s} at ${sequence.length}`,
          );
          assert.equal(steps[b], expected.steps[0]);
        }
      }
      for (const sequence of sequences) sequence.dispose();
      assert.equal(decoder.cache.used, 0, 'pages left over');
    }
  });
}

test('past the end of a page, on every instruction set and precision, for odd and wide heads', async () => {
  const length = PAGE_POSITIONS + 40;
  for (const isa of isas()) {
    setIsa(isa);
    for (const precision of precisions) {
      for (const nEmbd of [10, 66, 128]) {
        const config = { depth: 'loop', nLayer: 1, nLoop: 2, blockSize: 200, nEmbd };
        const model = build(onEngine(new NativeBackend(precision)), config);
        using decoder = new Decoder(model);
        const tokens = text(length, 3);
        const first = PAGE_POSITIONS - 4;
        assert.deepEqual(
          await cached(decoder, tokens, first, {}),
          await uncached(model, tokens, first, {}),
          `${isa} ${precision} ${nEmbd}`,
        );
      }
    }
  }
});

test('pages go back to the pool and are used again, whatever they held', async () => {
  const model = build(onEngine(new NativeBackend()), { depth: 'loop', nLayer: 2, nLoop: 2, blockSize: 300 });
  using decoder = new Decoder(model);
  const long = text(290, 11);
  const first = await cached(decoder, long, 280, {});
  {
    // Infinite keys and values in pages that the next sequence gets.
    using other = decoder.open();
    await decoder.extend([{ sequence: other, tokens: text(290, 2) }]);
    assert.equal(decoder.cache.used, 4 * 3, 'four applications of three pages');
  }
  assert.deepEqual(await cached(decoder, long, 280, {}), first);
  assert.equal(decoder.cache.used, 0);
});

test('a sequence that grows too long is refused before any has changed', async () => {
  const model = build(onEngine(new NativeBackend()), { depth: 'gpt2', nLayer: 1 });
  using decoder = new Decoder(model);
  using short = decoder.open();
  using long = decoder.open();
  await decoder.extend([{ sequence: long, tokens: text(40, 1) }]);
  await assert.rejects(
    decoder.extend([
      { sequence: short, tokens: [1] },
      { sequence: long, tokens: [1] },
    ]),
    new ConfigError('sequence', 'must have at most blockSize = 40 tokens', 41),
  );
  assert.equal(short.length, 0);
  assert.equal(long.length, 40);
});

// Engines that do not share the host's memory may leave a table's values unchecked.
for (const backend of [new ReferenceBackend(), new NativeBackend('f32'), new NativeBackend('bf16')]) {
  test(`${backend.description}: a table that points outside the cache is refused`, () => {
    const [NH, HS] = [2, 3];
    const cache = backend.allocate('f32', 2 * backend.cachePageLength(NH, HS));
    const call = (table: number[], rows: number[] | null = null, R = 2) => {
      const entries = backend.allocate('i32', table.length);
      backend.write(entries, Int32Array.from(table));
      const listed = rows && backend.allocate('i32', rows.length);
      if (listed) backend.write(listed, Int32Array.from(rows));
      const dims = { R, NH, KV: NH, HS, S: 1, width: table.length };
      const out = backend.allocate('f32', (rows?.length ?? R) * NH * HS);
      backend.cachedAttention({
        out,
        cache,
        qkv: backend.allocate('f32', R * 3 * NH * HS),
        table: entries,
        ...dims,
        rows: listed,
      });
    };
    call([2, 0, 1]);
    call([2, PAGE_POSITIONS - 1, 1, 0], []);
    const wrong = [
      [2, 0, 2],
      [2, 0, -1],
      [3, 0, 1],
      [1, 0, 1],
      [2, -1, 1],
      [-2, 0, 1],
      [2, PAGE_POSITIONS - 1, 1],
    ];
    for (const table of wrong) {
      assert.throws(() => call(table), /cachedAttention: argument 'table' must .*, got/, `${table}`);
    }
    assert.throws(() => call([2, 0, 1], [1, 0]), /'rows' must ascend/);
    assert.throws(() => call([2, 0, 1], [2]), /rows/);
  });
}

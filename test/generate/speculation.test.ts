/**
 * Drafts change no answer: token for token those of plain decoding, for every sampling option, alone and in a batch.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { onEngine, webgpu } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { ConfigError } from '../../src/errors.js';
import { Decoder } from '../../src/generate/decoder.js';
import { Engine } from '../../src/generate/engine.js';
import type { GenerationRequest } from '../../src/generate/request.js';
import type { DraftOptions } from '../../src/generate/speculation.js';
import type { ExitOptions } from '../../src/models/exits/options.js';
import type { SamplingOptions } from '../../src/generate/sampler.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { answer, randomModel } from './helpers.js';
import { nodeClock } from '../../src/node/store.js';

const tokenizer = new BytesTokenizer();
const systems = {
  loop: { depth: 'loop', nLayer: 2, nLoop: 4 },
  'loop with prelude, coda and injection': {
    ...{ depth: 'loop', nLayer: 3, nLoop: 3, nPrelude: 1, nCoda: 1, inputInjection: 'add' },
  },
  'loop with streams and a random state': {
    ...{ depth: 'loop', nLayer: 1, nLoop: 3, inputInjection: 'stable' },
    ...{ initialState: 'random', hyperConnections: 'dynamic' },
  },
  universal: { depth: 'universal', nLayer: 1, nLoop: 3 },
  'adaptive, separate': { depth: 'adaptive', nLayer: 3, exitHead: 'separate' },
};
const styles: readonly SamplingOptions[] = [
  { temperature: 0 },
  {},
  { temperature: 0.7, topK: 20, topP: 0.9 },
  { repetitionPenalty: 1.4, frequencyPenalty: 0.5, presencePenalty: 0.3 },
];
const drafts: readonly DraftOptions[] = [
  { loops: 1, tokens: 1 },
  { loops: 2, tokens: 3 },
  { loops: 1, tokens: 6 },
];

/** SwiftShader takes minutes: drafts call no kernel there that decoding does not. */
const backends = webgpu
  ? [webgpu]
  : [new ReferenceBackend(), new NativeBackend('f32'), new NativeBackend('bf16')].map(onEngine);
for (const [name, config] of Object.entries(systems)) {
  const skip = webgpu && name !== 'loop' ? 'takes minutes on SwiftShader' : false;
  test(`${name}: every answer is the one without a draft, on every backend`, { skip }, async () => {
    for (const backend of backends) {
      const model = randomModel({ ...config, blockSize: 40 }, backend);
      using decoder = new Decoder(model);
      const engine = new Engine(decoder, tokenizer, nodeClock);
      const requests = styles.flatMap((style, s) =>
        drafts.map((draft, d) => ({
          ...style,
          prompt: [5 + s, 80, 9, 7 * d],
          maxTokens: d === 2 ? 60 : 21, // 60: until the block is full
          topLogprobs: 2,
          seed: s,
          draft,
        })),
      );
      const together = await Promise.all(requests.map((request) => answer(engine, request)));
      let [drafted, accepted] = [0, 0];
      for (const [n, { draft, ...request }] of requests.entries()) {
        const plain = await answer(engine, request);
        assert.deepEqual(together[n].tokens, plain.tokens, `request ${n}`);
        const { drafted: checked, accepted: stood, ...end } = together[n].end;
        assert.deepEqual({ ...end, drafted: 0, accepted: 0 }, plain.end, `request ${n}`);
        assert.ok(checked > 0 && stood <= checked, `${stood} of ${checked}`);
        drafted += checked;
        accepted += stood;
      }
      assert.ok(accepted > 0.02 * drafted && accepted < drafted, `some stand: ${accepted} of ${drafted}`);
      assert.equal(decoder.cache.used, 0, 'pages left over');
      assert.equal(model.runtime.pool.live, 0, 'buffers left over');
    }
  });
}

test('drafts at the same depth as before all stand, whatever is drawn', async () => {
  // Every loop but the first adds 0·f.
  const model = randomModel({ depth: 'loop', nLoop: 3, loopForm: 'output' });
  for (const p of model.parameters.all) {
    if (!p.name.endsWith('gates')) continue;
    const gates = new Float32Array(p.size);
    gates.fill(0.7, 0, p.size / 3);
    model.runtime.backend.write(p.storage, gates);
  }
  const engine = new Engine(new Decoder(model), tokenizer, nodeClock);
  const request: GenerationRequest = { prompt: [1, 2], maxTokens: 30, draft: { loops: 1, tokens: 4 } };
  const { end } = await answer(engine, {
    ...request,
    logitBias: { [tokenizer.eot]: Number.NEGATIVE_INFINITY },
  });
  assert.equal(end.tokens, 30);
  assert.equal(end.accepted, end.drafted);
});

test('drafts that a model cannot make are refused', async () => {
  const refused = async (
    config: Record<string, unknown>,
    draft: DraftOptions,
    loops?: number,
    exit?: ExitOptions,
  ) => {
    const engine = new Engine(new Decoder(randomModel(config)), tokenizer, nodeClock);
    const request = {
      prompt: [1],
      maxTokens: 2,
      draft,
      ...(loops === undefined ? {} : { loops }),
      ...(exit ? { exit } : {}),
    };
    await assert.rejects(engine.generate(request).next(), (error) => {
      assert.ok(error instanceof ConfigError);
      refusals.push(error.message);
      return true;
    });
  };
  const refusals: string[] = [];
  const loop = { depth: 'loop', nLoop: 3 };
  await refused(loop, { loops: 3, tokens: 2 });
  await refused(loop, { loops: 2, tokens: 2 }, 2);
  await refused(loop, { loops: 1, tokens: 0 });
  await refused({ depth: 'gpt2' }, { loops: 1, tokens: 2 });
  await refused({ ...loop, halting: 'act' }, { loops: 1, tokens: 2 });
  await refused(loop, { loops: 1, tokens: 2 }, 3, { criterion: 'kl', threshold: 0.1 });
  assert.deepEqual(refusals, [
    'draft.loops: must be a whole number from 1 to 2, got 3',
    'draft.loops: must be a whole number from 1 to 1, got 2',
    'draft.tokens: must be a whole number of at least 1, got 0',
    'draft: must not be given where each token takes a single loop',
    "draft: must not be given where halting decides on the loops of each token; this model's halting is act",
    'draft: must not be given together with exit',
  ]);
});

/** What `loopnn inspect` says of a text agrees with what the model computes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderTable } from '../../src/cli/inspect.js';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { attentionWeights } from '../../src/experiments/attention.js';
import { inspect } from '../../src/experiments/inspect.js';
import { visible } from '../../src/printable.js';
import { renderInspection } from '../../src/experiments/inspect-page.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { SPACED } from '../tokenizer/samples.js';

const text = 'loops & <gates>';
const options = { top: 3, threshold: 0.0043 };

function build(config: Record<string, unknown>): GPT {
  const shape = { vocabSize: 257, blockSize: 32, nLayer: 2, nHead: 2, nEmbd: 16 };
  const model = new GPT(
    parseModelConfig({ ...shape, ...config }),
    new Runtime(onEngine(new NativeBackend('f32'))),
    {
      train: false,
    },
  );
  model.parameters.initialise(5);
  return model;
}

test('the last exit’s predictions and losses are the model’s own; the gates are listed by loop', async () => {
  const tokenizer = new BytesTokenizer();
  const model = build({ depth: 'loop', nLoop: 3, gateInit: '1/n' });
  const { tokens, gates } = await inspect(model, tokenizer, text, options);
  const ids = Int32Array.from(tokenizer.encode(text));
  const targets = Int32Array.from(ids, (_, t) => ids[t + 1] ?? -1);
  using output = model.score(ids, targets, 1);
  const losses = Array.from(await output.losses.read());
  using logits = model.logits(ids, 1);
  const all = (await logits.read()) as Float32Array;
  assert.equal(tokens.length, ids.length);
  for (const [t, token] of tokens.entries()) {
    assert.equal(token.exits.length, 3);
    const last = token.exits[2];
    assert.equal(last.loss, t === ids.length - 1 ? null : losses[t]);
    const row = all.subarray(t * 257, (t + 1) * 257);
    assert.equal(last.top[0].id, row.indexOf(Math.max(...row)));
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    assert.ok(Math.abs(last.top[0].probability - Math.exp(row[last.top[0].id]) / total) < 1e-6);
    const first = token.exits.findIndex(({ top }) => top[0].probability > options.threshold);
    assert.equal(token.confidentAt, first < 0 ? null : first + 1);
    assert.equal(token.haltsAt, null);
    assert.ok(last.relative! > 0 && Math.abs(last.cosine!) <= 1);
  }
  assert.deepEqual(
    gates['transformer.gates'].map(({ mean, std }) => [mean.toFixed(4), std.toFixed(4)]),
    [1, 2, 3].map(() => ['0.3333', '0.0000']),
  );
});

test('tokens are named as they read in the text, and predictions as they would', async () => {
  const spaced = await tokenizerFromJSON(SPACED);
  const model = build({ vocabSize: spaced.vocabSize });
  const { tokens } = await inspect(model, spaced, 'Once upon a time', { ...options, top: spaced.vocabSize });
  assert.deepEqual(
    tokens.map((token) => token.text),
    ['Once', ' upon', ' a', ' time'],
  );
  for (const { exits } of tokens) {
    const names = exits[0].top.map((prediction) => prediction.text).sort();
    assert.deepEqual(names, [
      ' Assistant:',
      ' Once',
      ' a',
      ' time',
      ' upon',
      '<unk>',
      '<|endoftext|>',
      'less',
    ]);
  }
});

test('a halting rule’s steps are shown; fewer loops give fewer exits; a depth without exits has one', async () => {
  const tokenizer = new BytesTokenizer();
  const act = build({ depth: 'universal', nLoop: 4, halting: 'act' });
  const ids = Int32Array.from(tokenizer.encode(text));
  using run = act.score(ids, new Int32Array(ids.length).fill(-1), 1);
  const taken = Array.from(await run.stepsPerRow!.read());
  const seen = (await inspect(act, tokenizer, text, options)).tokens;
  assert.deepEqual(
    seen.map(({ haltsAt }) => haltsAt),
    taken,
  );
  assert.ok(seen.every(({ exits }) => exits.length === 4));
  const adaptive = build({ depth: 'adaptive', nLayer: 3 });
  const { tokens } = await inspect(adaptive, tokenizer, text, { ...options, loops: 2 });
  assert.equal(tokens[0].exits.length, 2);
  const halting = build({ depth: 'adaptive', nLayer: 3, halting: 'geometric' });
  const one = await inspect(halting, tokenizer, text, { ...options, loops: 1 });
  assert.equal(one.tokens[0].haltsAt, null);
  assert.equal(visible('\x1b[31m'), '\\x1b[31m');
  const plain = await inspect(build({ depth: 'gpt2' }), tokenizer, text, options);
  assert.equal(plain.tokens[0].exits.length, 1);
  assert.equal(plain.tokens[0].exits[0].relative, null);
});

test('columns are named as the model counts, and those that it has nothing for are left out', async () => {
  const shown = async (config: Record<string, unknown>) => {
    const lines = renderTable(await inspect(build(config), new BytesTokenizer(), text, options), 100);
    return [lines[0].split(/ +/).join(' '), lines.slice(lines.indexOf('') + 1).join('\n')];
  };
  const [looped, legend] = await shown({ depth: 'loop', nLoop: 3 });
  assert.equal(looped, 'token loop predictions loss moved cosine exit');
  assert.match(
    legend,
    /cosine: between the states before and after the loop; .*\nconfident: first loop whose/s,
  );
  assert.match(legend, /state after each loop, root mean square/);
  assert.equal((await shown({ depth: 'universal', nLoop: 3 }))[0], looped.replace('loop', 'step'));
  assert.equal((await shown({ depth: 'adaptive' }))[0], looped.replace('loop', 'layer'));
  assert.deepEqual(await shown({ depth: 'gpt2' }), [
    'token predictions loss',
    'loss: nats of the token that follows',
  ]);
});

test('the page escapes the text, and wrong input is refused', async () => {
  const tokenizer = new BytesTokenizer();
  const model = build({ depth: 'loop', nLoop: 2 });
  const page = renderInspection(await inspect(model, tokenizer, text, options), text);
  assert.ok(page.includes('loops &amp; &lt;gates&gt;') && !page.includes('<gates>'));
  await assert.rejects(
    inspect(model, tokenizer, '', options),
    /prompt: must have 1 to blockSize = 32 tokens/,
  );
  for (const threshold of [0, 1, Number.NaN]) {
    await assert.rejects(
      inspect(model, tokenizer, 'a', { ...options, threshold }),
      /exit\.threshold: must lie in \(0, 1\)/,
    );
  }
});

test('attention weights are those that the block mixes values with', async () => {
  const model = build({ depth: 'loop', nLayer: 1, nLoop: 2, nHead: 4 });
  const { runtime } = model;
  const tokens = Int32Array.from(new BytesTokenizer().encode(text));
  const T = tokens.length;
  const [C, NH] = [16, 4];
  const weights = await attentionWeights(model, tokens, 1);
  assert.ok(weights);
  for (let row = 0; row < NH * T; row++) {
    const t = row % T;
    const own = weights.subarray(row * T, (row + 1) * T);
    assert.ok(
      own.subarray(t + 1).every((weight) => weight === 0),
      'nobody looks ahead',
    );
    assert.ok(Math.abs(own.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-5);
  }
  // The second application's own queries, keys and values, and what it made of them.
  const qkv: Float32Array[] = [];
  const reads: Promise<unknown>[] = [];
  runtime.observe = (where, x) => {
    if (where.endsWith('c_attn')) reads.push(x.read().then((values) => qkv.push(values as Float32Array)));
  };
  using _logits = model.logits(tokens, 1);
  runtime.observe = null;
  await Promise.all(reads);
  const [h, t] = [2, T - 1];
  const at = (row: number, part: number, d: number) => qkv[1][row * 3 * C + part * C + (h * C) / NH + d];
  const scores = Array.from(
    { length: t + 1 },
    (_, s) => [0, 1, 2, 3].reduce((sum, d) => sum + at(t, 0, d) * at(s, 1, d), 0) / Math.sqrt(C / NH),
  );
  const total = scores.reduce((sum, score) => sum + Math.exp(score), 0);
  for (const [s, score] of scores.entries()) {
    assert.ok(Math.abs(weights[(h * T + t) * T + s] - Math.exp(score) / total) < 1e-5);
  }
  assert.equal(await attentionWeights(model, tokens, 2), null);
  model.dispose();
});

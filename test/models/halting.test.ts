/**
 * Rows that halt: skipping them gives the bits of masking them, later tokens change nothing, and rules stop where they
 * say.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend, Precision } from '../../src/backend/backend.js';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ConfigError } from '../../src/errors.js';
import { exitCount, parseModelConfig } from '../../src/models/config.js';
import type { ScorePass } from '../../src/models/exits/pass.js';
import { GPT } from '../../src/models/gpt.js';
import type { Objective } from '../../src/models/exits/objective.js';
import { normal } from '../../src/random.js';
import { Tape } from '../../src/tensor/tape.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { parseRunConfig } from '../../src/train/config.js';
import { lastLogits } from './last-logits.js';

const tiny = { vocabSize: 31, blockSize: 40, nHead: 2, nEmbd: 16 };
const T = 40;
const tokens = Int32Array.from({ length: 2 * T }, (_, i) => (i * i + 3 * i) % 31);
const targets = Int32Array.from({ length: 2 * T }, (_, i) => (i * 7) % 31);

const systems: Record<string, readonly [model: Record<string, unknown>, options?: ScorePass]> = {
  'universal, ACT': [{ depth: 'universal', nLayer: 1, nLoop: 4, halting: 'act' }],
  'loop, ACT': [{ depth: 'loop', nLayer: 2, nLoop: 4, nInnerLoop: 2, loopForm: 'output', halting: 'act' }],
  'loop with prelude and coda, ACT': [
    { depth: 'loop', nLayer: 3, nLoop: 4, nPrelude: 1, nCoda: 1, halting: 'act', inputInjection: 'linear' },
  ],
  'adaptive, geometric': [{ depth: 'adaptive', nLayer: 4, halting: 'geometric' }],
  'adaptive, multinomial, separate': [
    { depth: 'adaptive', nLayer: 4, halting: 'multinomial', exitHead: 'separate' },
  ],
  'universal, sequence': [{ depth: 'universal', nLayer: 1, nLoop: 4, halting: 'sequence' }],
  'loop, confidence': [
    { depth: 'loop', nLayer: 2, nLoop: 4, halting: 'confidence' },
    { exit: { threshold: 0.16 } },
  ],
};

/** A backend that cannot tell which rows run, so that all are computed. */
const masking = (precision: Precision): Backend =>
  Object.assign(onEngine(new NativeBackend(precision)), { compact: () => null });

function build(backend: Backend, config: Record<string, unknown>): GPT {
  const model = new GPT(parseModelConfig({ ...tiny, ...config }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const gain = p.role === 'norm' ? 1 : 0;
    const scale = p.name.includes('halting') && !p.name.includes('bias') ? 0.6 : 0.3;
    backend.write(
      p.storage,
      normal(3, p.name, p.size, scale).map((x) => x + gain),
    );
  }
  return model;
}

async function score(model: GPT, ids: Int32Array, options?: ScorePass) {
  using output = model.score(ids, targets.subarray(0, ids.length), 2, options);
  return { losses: await output.losses.read(), steps: Array.from(await output.stepsPerRow!.read()) };
}

for (const [name, [config, options]] of Object.entries(systems)) {
  test(`${name}: skipping halted rows gives the bits of masking them, on every precision`, async () => {
    for (const precision of ['f32', 'bf16'] as const) {
      const model = build(onEngine(new NativeBackend(precision)), config);
      const skipped = await score(model, tokens, options);
      const masked = await score(build(masking(precision), config), tokens, options);
      assert.deepEqual(skipped, masked);
      const kinds = new Set(skipped.steps).size;
      assert.ok(kinds > 1, `rows halt at different steps: ${skipped.steps}`);
      assert.equal(model.runtime.pool.live, 0, 'buffers left over');
    }
  });

  test(`${name}: what comes later changes neither a token's loss nor its steps`, async () => {
    const model = build(onEngine(new NativeBackend('f32')), config);
    const whole = await score(model, tokens, options);
    const changed = tokens.slice();
    const half = T / 2;
    for (let t = half; t < T; t++) changed[t] = changed[T + t] = 5;
    const other = await score(model, changed, options);
    for (const b of [0, 1]) {
      const part = [b * T, b * T + half] as const;
      assert.deepEqual(other.losses.slice(...part), whole.losses.slice(...part));
      assert.deepEqual(other.steps.slice(...part), whole.steps.slice(...part));
    }
  });

  test(`${name}: the last position's logits are read at the exit that it took`, async () => {
    const model = build(onEngine(new NativeBackend('f32')), config);
    const { steps } = await score(model, tokens, options);
    const { logits, steps: last } = await lastLogits(model, tokens, 2, options);
    assert.deepEqual(Array.from(last!), [steps[T - 1], steps[2 * T - 1]]);
    const { losses } = await score(model, tokens, options);
    for (const b of [0, 1]) {
      const row = Array.from(logits.subarray(b * 31, (b + 1) * 31));
      const logSum = Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
      const end = (b + 1) * T - 1;
      assert.ok(Math.abs(logSum - row[targets[end]] - losses[end]) < 1e-5);
    }
  });
}

const OBJECTIVE: Objective = {
  exitLoss: 'uniform',
  ponderCost: 0,
  oracle: 'likelihood',
  oracleLambda: 0,
  oracleSigma: 0,
};
const shapes: Record<string, Record<string, unknown>> = {
  loop: { depth: 'loop', nLayer: 1, nLoop: 3, loopForm: 'output' },
  'loop with coda': { depth: 'loop', nLayer: 3, nPrelude: 1, nCoda: 1, nLoop: 3 },
  universal: { depth: 'universal', nLayer: 1, nLoop: 3 },
  adaptive: { depth: 'adaptive', nLayer: 3 },
};

for (const [shape, depth] of Object.entries(shapes)) {
  for (const halting of ['none', 'confidence', 'geometric', 'multinomial', 'sequence']) {
    if (halting === 'confidence' && shape === 'loop with coda') continue;
    test(`${shape}, ${halting}: at every loop count each row is read as the exit that it took`, async () => {
      for (const exitHead of ['shared', 'separate']) {
        const model = build(onEngine(new NativeBackend('f32')), { ...depth, halting, exitHead });
        for (const loops of shape === 'adaptive' ? [1, 2, 3] : [1, 2, 3, 6]) {
          const threshold = { confidence: 0.16, geometric: 0.5 }[halting];
          // A single loop has no exit to ask for.
          const run = { loops, ...(threshold === undefined || loops === 1 ? {} : { exit: { threshold } }) };
          using output = model.score(tokens, targets, 2, run);
          const losses = await output.losses.read();
          const taken = output.stepsPerRow && Array.from(await output.stepsPerRow.read());
          assert.equal(taken === null, halting === 'none' || loops === 1);
          using full = model.score(tokens, targets, 2, { loops, earlyExit: false });
          const { exits } = await model.readings(tokens, targets, 2, { loops });
          assert.equal(exits.length, loops);
          assert.deepEqual(await full.losses.read(), exits[loops - 1].losses);
          // What a row is given while others go on does not change; what it attends to does, after its first exit.
          for (const r of losses.keys()) {
            if (shape === 'loop with coda' && taken) break; // the coda attends to the others' states
            if ((taken ? taken[r] : loops) !== 1) continue;
            assert.equal(losses[r], exits[0].losses[r]);
          }
          assert.ok(losses.every((x) => x > 0));
          assert.equal(model.runtime.pool.live, output.stepsPerRow ? 3 : 2, 'the two outputs alone');
        }
      }
    });
  }
}

test('a pass that learns runs every row to the end, a pass that scores stops them', async () => {
  for (const name of ['adaptive, geometric', 'adaptive, multinomial, separate', 'universal, sequence']) {
    const model = build(new NativeBackend('f32'), systems[name][0]);
    using full = model.score(tokens, targets, 2, { earlyExit: false });
    using learned = model.loss(tokens, targets, 2, 1);
    assert.equal(learned.stepsPerRow, null);
    assert.deepEqual(await learned.losses.read(), await full.losses.read());
    assert.notDeepEqual((await score(model, tokens)).losses, await full.losses.read(), name);
  }
});

test('ACT has no full depth to be asked for', () => {
  const model = build(onEngine(new NativeBackend('f32')), systems['universal, ACT'][0]);
  assert.throws(
    () => model.score(tokens, targets, 2, { earlyExit: false }),
    /earlyExit: must not be turned off where halting is act/,
  );
});

for (const name of ['universal, ACT', 'loop, ACT']) {
  test(`${name}: an inspection shows all exits, from the one where a token halts on its own output`, async () => {
    const model = build(onEngine(new NativeBackend('f32')), systems[name][0]);
    const { losses, steps } = await score(model, tokens);
    const { exits } = await model.readings(tokens, targets, 2);
    assert.ok(new Set(steps).size > 1, 'tokens halt at different steps');
    assert.equal(exits.length, exitCount(model.config));
    for (const [t, step] of steps.entries()) {
      for (const exit of exits.slice(step - 1)) {
        assert.ok(Math.abs(exit.losses[t] - losses[t]) < 1e-5, `token ${t} after step ${step}`);
      }
    }
    assert.equal(model.runtime.pool.live, 0);
  });
}

test('a learned rule learns from the states that it decides on, before the coda', async () => {
  const runtime = new Runtime(onEngine(new NativeBackend('f32')));
  const config = { ...tiny, ...shapes['loop with coda'], halting: 'multinomial' };
  const model = new GPT(parseModelConfig(config), runtime, { train: true });
  model.parameters.initialise(1);
  // So dear an exit that the oracle always takes the first, whatever the coda makes of the states.
  const objective = { ...OBJECTIVE, oracleLambda: 1000 };
  const auxLoss = async () => {
    const tape = new Tape(runtime);
    using output = runtime.recording(tape, () => model.loss(tokens, targets, 2, 1, { objective }));
    tape.clear();
    return output.auxLoss!.read();
  };
  const before = await auxLoss();
  for (const p of model.parameters.all.filter(({ name }) => name.includes('.h.2.'))) {
    runtime.backend.write(p.storage, normal(9, p.name, p.size, 1));
  }
  assert.deepEqual(await auxLoss(), before);
  for (const p of model.parameters.all.filter(({ name }) => name.includes('.h.1.'))) {
    runtime.backend.write(p.storage, normal(9, p.name, p.size, 1));
  }
  assert.notDeepEqual(await auxLoss(), before);
});

test('a lower threshold of confidence lets tokens leave earlier; without early exit none does', async () => {
  const model = build(onEngine(new NativeBackend('f32')), systems['loop, confidence'][0]);
  const mean = async (threshold: number) => {
    const { steps } = await score(model, tokens, { exit: { threshold } });
    return steps.reduce((total, n) => total + n, 0) / steps.length;
  };
  const means = [await mean(0.05), await mean(0.15), await mean(0.2), await mean(0.999)];
  assert.deepEqual([...means].sort(), means);
  assert.equal(means[3], 4);
  using full = model.score(tokens, targets, 2, { earlyExit: false });
  assert.equal(full.stepsPerRow, null);
});

test('wrong combinations are refused before any training, by field and rule', () => {
  const refused: [model: Record<string, unknown>, message: RegExp, train?: Record<string, unknown>][] = [
    [
      { depth: 'gpt2', halting: 'act' },
      /halting: must be none where depth is gpt2, got 'act'; set depth to loop/,
    ],
    [{ depth: 'sharing', nLayer: 2, nApplication: 4, halting: 'confidence' }, /halting: must be none/],
    [
      { depth: 'sharing', nLayer: 3, nApplication: 7, sharing: 'sequence' },
      /nApplication: must be a multiple of nLayer = 3/,
    ],
    [
      { depth: 'sharing', nLayer: 3, nApplication: 5, sharing: 'cycle-rev' },
      /nApplication: must be at least 6/,
    ],
    [{ depth: 'sharing', nLayer: 3, nApplication: 2 }, /nApplication: must be at least 3/],
    [{ depth: 'sharing', nLayer: 3 }, /nApplication: must be given/],
    [{ depth: 'loop', nLayer: 2, nPrelude: 1, nCoda: 1 }, /nPrelude \+ nCoda: must leave a layer to loop/],
    [{ depth: 'loop', halting: 'act' }, /halting: must be none where there is a single exit/],
    [{ depth: 'loop', nLoop: 1, inputInjection: 'add' }, /inputInjection: must be none where nLoop is 1/],
    [{ depth: 'loop', nLoop: 3, norm: 'pre' }, /norm: must be post where depth is loop/],
    [{ depth: 'adaptive', nLoop: 2 }, /nLoop: must be 1 where depth is adaptive/],
    [{ depth: 'universal', nLoop: 2, halting: 'act', exitHead: 'separate' }, /exitHead: must be shared/],
    [
      { depth: 'loop', nLoop: 2, nLayer: 2, nCoda: 1, halting: 'confidence' },
      /nCoda: must be 0/,
      { exitLoss: 'uniform' },
    ],
    [{ depth: 'gpt2' }, /exitLoss: must be last where the model has a single exit/, { exitLoss: 'uniform' }],
    [
      { depth: 'loop', nLoop: 2, halting: 'act' },
      /exitLoss: must be last where halting is act/,
      { exitLoss: 'mixed' },
    ],
    [
      { depth: 'adaptive', halting: 'geometric' },
      /exitLoss: must be uniform or linear/,
      { exitLoss: 'mixed' },
    ],
    [{ depth: 'adaptive', halting: 'confidence' }, /exitLoss: must train the early exits/],
    [{ depth: 'loop' }, /loopSampling: must be fixed where nLoop is 1/, { loopSampling: 'uniform' }],
    [{ depth: 'gpt2' }, /backpropLoops: must be 0/, { backpropLoops: 1 }],
    [{ depth: 'adaptive' }, /backpropLoops: must be 0 where depth is adaptive/, { backpropLoops: 1 }],
    [{ depth: 'loop', exitHead: 'separate' }, /exitHead: must be shared where there is a single exit/],
    [{ depth: 'adaptive', exitHead: 'separate' }, /exitLoss: must train the early exits where exitHead/],
    [
      { depth: 'loop', nLoop: 4, halting: 'geometric' },
      /loopSampling: must be fixed where halting is geometric/,
      { exitLoss: 'uniform', loopSampling: 'uniform' },
    ],
  ];
  for (const [model, message, train = {}] of refused) {
    assert.throws(
      () => parseRunConfig({ model, train }, 'test'),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
      `${JSON.stringify(model)} ${message}`,
    );
  }
});

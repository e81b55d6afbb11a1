/**
 * Criteria for leaving early, on models that were trained without: exits are those that the readings of full depth
 * tell.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import type { Backend } from '../../src/backend/backend.js';
import { onEngine } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { changeOf } from '../../src/experiments/analysis.js';
import { type CriterionValues, exitValues, meanLoops } from '../../src/experiments/exit-values.js';
import { parseModelConfig } from '../../src/models/config.js';
import type { ScorePass } from '../../src/models/exits/pass.js';
import { GPT } from '../../src/models/gpt.js';
import { CRITERIA, type ExitCriterion, exitCriteria } from '../../src/models/exits/options.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';

const V = 31;
const tiny = { vocabSize: V, blockSize: 40, nHead: 2, nEmbd: 16 };

const systems: Record<string, Record<string, unknown>> = {
  loop: { depth: 'loop', nLayer: 1, nLoop: 4, loopForm: 'output' },
  'loop with coda': { depth: 'loop', nLayer: 3, nPrelude: 1, nCoda: 1, nLoop: 4, inputInjection: 'add' },
  'loop of streams': { depth: 'loop', nLayer: 1, nLoop: 4, hyperConnections: 'dynamic', nStream: 3 },
  universal: { depth: 'universal', nLayer: 1, nLoop: 4 },
  'adaptive, separate heads': { depth: 'adaptive', nLayer: 4, exitHead: 'separate' },
  'loop that has learned to halt': { depth: 'loop', nLayer: 1, nLoop: 4, halting: 'geometric' },
};

/** A backend that cannot tell which rows run, so that all are computed. */
class Masking extends NativeBackend {
  override readonly compact = () => null;
}

function build(backend: Backend, config: Record<string, unknown>): GPT {
  const model = new GPT(parseModelConfig({ ...tiny, ...config }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const gain = p.role === 'norm' ? 1 : 0;
    backend.write(
      p.storage,
      normal(5, p.name, p.size, 0.3).map((x) => x + gain),
    );
  }
  return model;
}

/** Every token alone: its state depends on no other's exit. */
const alone = Int32Array.from({ length: V }, (_, i) => i);
const next = alone.map((i) => (7 * i + 3) % V);

async function score(model: GPT, tokens: Int32Array, targets: Int32Array, B: number, options: ScorePass) {
  using output = model.score(tokens, targets, B, options);
  return { losses: await output.losses.read(), steps: Array.from(await output.stepsPerRow!.read()) };
}

/** Thresholds that no value lies at, from the most reluctant on. */
function thresholdsBetween({ values, above }: CriterionValues): number[] {
  const sorted = values
    .flatMap((row) => (row ? Array.from(row) : []))
    .sort((a, b) => (above ? b - a : a - b));
  return [0.1, 0.3, 0.5, 0.7, 0.9].map((share) => {
    let at = Math.floor(share * (sorted.length - 1));
    // Far enough apart for float32.
    while (Math.abs(sorted[at] - sorted[at + 1]) < 1e-4 * Math.abs(sorted[at])) at++;
    return (sorted[at] + sorted[at + 1]) / 2;
  });
}

for (const [name, config] of Object.entries(systems)) {
  test(`${name}: every criterion leaves where the readings say, by any threshold`, async () => {
    for (const backend of [
      onEngine(new ReferenceBackend()),
      onEngine(new NativeBackend('f32')),
      new Masking('f32'),
    ]) {
      const model = build(backend, config);
      const criteria = CRITERIA.filter((criterion) => exitCriteria(model.config).includes(criterion));
      const { entry, exits } = await model.readings(alone, next, V, {}, criteria.includes('kl'));
      const known = exitValues(exits);
      const moved = changeOf(entry!, exits[0].state, 0, tiny.nEmbd).relative;
      const joined = model.config.hyperConnections !== 'none'; // then states are means of what moves
      assert.equal(Math.abs(moved - exits[0].change![0]) < 1e-5 * moved, !joined);
      assert.deepEqual([...known.keys()], criteria);
      for (const criterion of criteria) {
        const values = known.get(criterion)!;
        const means: number[] = [];
        for (const threshold of thresholdsBetween(values)) {
          const exit = { criterion, threshold };
          const { losses, steps } = await score(model, alone, next, V, { exit });
          const expected = Array.from(alone, (r) => {
            const passes = (x: number) => (values.above ? x > threshold : x < threshold);
            const n = values.values.findIndex((row) => row && passes(row[r]));
            return n < 0 ? exits.length : n + 1;
          });
          assert.deepEqual(steps, expected, `${criterion} ${threshold} on ${backend.description}`);
          assert.ok(new Set(steps).size > 1, `${criterion} ${threshold}: ${steps}`);
          for (const [r, n] of steps.entries()) {
            assert.equal(losses[r], exits[n - 1].losses[r], `${criterion}, token ${r}`);
          }
          const mean = steps.reduce((sum, n) => sum + n, 0) / V;
          assert.equal(mean, meanLoops(values, threshold));
          means.push(mean);
        }
        assert.deepEqual(
          means,
          [...means].sort((a, b) => b - a),
          `${criterion}: fewer loops as the threshold lets go`,
        );
        assert.equal(model.runtime.pool.live, 0, 'buffers left over');
      }
    }
  });

  test(`${name}: thresholds that nothing passes run all loops, those that all pass the fewest`, async () => {
    const model = build(onEngine(new NativeBackend()), config);
    const tokens = Int32Array.from({ length: 80 }, (_, i) => (i * i + 3 * i) % V);
    const targets = tokens.map((i) => (7 * i + 3) % V);
    const { exits } = await model.readings(tokens, targets, 2);
    for (const criterion of exitCriteria(model.config).filter((c) => c !== 'geometric')) {
      const probability = criterion === 'confidence';
      const run = (threshold: number) => score(model, tokens, targets, 2, { exit: { criterion, threshold } });
      const never = await run(probability ? 1 - 1e-12 : 1e-30);
      assert.ok(never.steps.every((n) => n === 4));
      assert.deepEqual(never.losses, exits[3].losses);
      const always = await run(probability ? 1e-12 : 1e30);
      const first = criterion === 'kl' || criterion === 'second-difference' ? 2 : 1;
      assert.ok(
        always.steps.every((n) => n === first),
        `${criterion}: ${always.steps}`,
      );
      assert.deepEqual(always.losses, exits[first - 1].losses);
    }
  });
}

test('logits of more rows than fit at a time are read piece by piece, with the same bits', async () => {
  // 2 · 40 · 60,000 numbers a reading, and twice as many for kl.
  const wide = { depth: 'loop', nLayer: 1, nLoop: 3, vocabSize: 60_000 };
  const model = build(onEngine(new NativeBackend('f32')), wide);
  const tokens = Int32Array.from({ length: 400 }, (_, i) => (i * i * 31 + 3 * i) % 60_000);
  for (const [criterion, threshold] of [
    ['entropy', 10],
    ['kl', 0.2],
  ] as const) {
    const exit = { criterion, threshold };
    const all = await score(model, tokens, tokens, 10, { exit });
    assert.ok(new Set(all.steps).size > 1, `${criterion}: ${new Set(all.steps)}`);
    const last = await score(model, tokens.slice(360), tokens.slice(360), 1, { exit });
    assert.deepEqual(last.losses, all.losses.slice(360));
    assert.deepEqual(last.steps, all.steps.slice(360));
  }
});

test('exits that a model does not have, and thresholds out of range, are refused', () => {
  const refused = (config: Record<string, unknown>, exit: object, message: RegExp) => {
    const model = build(onEngine(new NativeBackend('f32')), { nLayer: 2, ...config });
    assert.throws(() => model.requireOptions({ exit }), message);
    model.dispose();
  };
  const loop = { depth: 'loop', nLoop: 3 };
  const kl = { criterion: 'kl', threshold: 0.1 };
  const none = 'exit: must not be given where no token can leave early;';
  refused(
    { depth: 'gpt2' },
    kl,
    new RegExp(`^ConfigError: ${none} a model of depth gpt2 has a single exit$`),
  );
  refused({ depth: 'loop' }, kl, new RegExp(`${none} a model of depth loop has a single exit`));
  const act = new RegExp(`${none} halting is act, whose output is the average`);
  refused({ ...loop, halting: 'act' }, kl, act);
  refused({ depth: 'universal', nLoop: 3, halting: 'act' }, {}, act);
  refused(
    loop,
    {},
    /exit\.criterion: must be given where the model has no halting rule; one of change, second-diff/,
  );
  refused(
    loop,
    { criterion: 'geometric' },
    /exit\.criterion: must be change, .*confidence for this model with 3 loops, got 'geometric'; it is learned with halting geometric, and this model has halting none$/,
  );
  refused(
    { ...loop, nCoda: 1 },
    kl,
    /must be change, second-difference for this model with 3 loops, got 'kl'; it reads the head, which stands behind a coda$/,
  );
  for (const criterion of ['change', 'second-difference', 'kl', 'entropy'] as ExitCriterion[]) {
    refused(
      loop,
      { criterion },
      /exit\.threshold: must be given for .*; `loopnn exits` shows what thresholds do/,
    );
    for (const threshold of [0, -1, Number.POSITIVE_INFINITY, Number.NaN]) {
      refused(loop, { criterion, threshold }, /exit\.threshold: must be a number above 0 for/);
    }
  }
  refused(
    loop,
    { criterion: 'confidence', threshold: 1 },
    /exit\.threshold: must lie in \(0, 1\) for confidence, got 1/,
  );
  refused(
    { ...loop, halting: 'sequence' },
    { threshold: 0.5 },
    /exit\.threshold: must not be given for sequence/,
  );
});

test('a criterion that has nothing to compare before the last loop is refused, and every other one can leave', async () => {
  const config = { depth: 'loop', nLayer: 1, nLoop: 3, halting: 'geometric' };
  const model = build(onEngine(new NativeBackend('f32')), config);
  const tokens = Int32Array.from({ length: 40 }, (_, i) => (i * i + 3 * i) % V);
  for (const criterion of exitCriteria(model.config)) {
    const probability = criterion === 'confidence' || criterion === 'geometric';
    const exit = { criterion, threshold: probability ? 1e-12 : 1e30 };
    for (const loops of [1, 2, 3, 5]) {
      const compares = criterion === 'kl' || criterion === 'second-difference';
      if (loops > (compares ? 2 : 1)) {
        const { steps } = await score(model, tokens, tokens, 1, { loops, exit });
        assert.ok(Math.min(...steps) < loops, `${criterion}, ${loops} loops: ${steps}`);
        continue;
      }
      const reason = loops === 1 ? /; a single loop has no exit before its end$/ : /; it compares two loops/;
      assert.throws(() => model.requireOptions({ loops, exit }), reason, `${criterion}, ${loops} loops`);
    }
  }
  assert.throws(
    () => model.requireOptions({ exit: { threshold: 0.5 }, earlyExit: false }),
    /^ConfigError: exit: must not be given where early exits are turned off$/,
  );
  model.dispose();
});

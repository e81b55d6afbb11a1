/**
 * The sweep over early exits: what criteria see, where thresholds lie, and that every point is the model's own
 * evaluation.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { nodeClock } from '../../src/node/store.js';
import { ConfigError } from '../../src/errors.js';
import { renderHtml } from '../../src/experiments/document.js';
import {
  type CriterionValues,
  exitValues,
  meanLoops,
  spreadThresholds,
} from '../../src/experiments/exit-values.js';
import { cheapest, type ExitSweepOptions, sweepExits } from '../../src/experiments/exits.js';
import { exitSections, exitSentences, exitTable } from '../../src/experiments/exits-report.js';
import { CRITERIA } from '../../src/models/exits/options.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';
import type { TokenSource } from '../../src/evaluate/batches.js';
import { evaluate } from '../../src/evaluate/evaluation.js';

const close = (got: number, want: number) => assert.ok(Math.abs(got - want) < 1e-6, `${got}, not ${want}`);

test('the criteria’s values of a token, by hand', () => {
  const exit = (change: number, turned: number | null, logits: number[], maxProb: number) => ({
    losses: new Float32Array(1),
    argmax: new Int32Array(1),
    maxProb: Float32Array.of(maxProb),
    state: new Float32Array(2),
    change: Float32Array.of(change),
    secondDifference: turned === null ? null : Float32Array.of(turned),
    logits: Float32Array.from(logits),
  });
  const even = [0, 0];
  const uneven = [Math.log(3), 0];
  const exits = [exit(1.5, null, even, 0.5), exit(1, 0.25, uneven, 0.75), exit(2, 3, even, 0.5)];
  const values = exitValues(exits);
  const of = (criterion: Parameters<typeof values.get>[0]) => {
    const found = values.get(criterion)!;
    assert.equal(found.loops, 3);
    return found.values.map((row) => row?.[0] ?? null);
  };
  assert.deepEqual(of('change'), [1.5, 1]);
  assert.deepEqual(of('second-difference'), [null, 0.25]);
  assert.equal(of('kl')[0], null);
  close(of('kl')[1]!, 0.75 * Math.log(1.5) + 0.25 * Math.log(0.5));
  close(of('entropy')[0]!, Math.LN2);
  close(of('entropy')[1]!, -0.75 * Math.log(0.75) - 0.25 * Math.log(0.25));
  assert.deepEqual(of('confidence'), [0.5, 0.75]);
});

test('thresholds spread the mean loops over the range, from most to fewest, in few digits', () => {
  const R = 400;
  const row = (scale: number) => Float64Array.from({ length: R }, (_, r) => (scale * (r + 0.5)) / R);
  const falling: CriterionValues = {
    values: [null, row(1), row(0.7), row(0.5), row(0.3)],
    above: false,
    loops: 6,
  };
  const rising: CriterionValues = { values: [row(0.6), row(0.8), row(0.99)], above: true, loops: 4 };
  for (const [values, fewest] of [
    [falling, 2],
    [rising, 1],
  ] as const) {
    const thresholds = spreadThresholds(values, 5);
    assert.equal(thresholds.length, 5);
    for (const [i, threshold] of thresholds.entries()) {
      const goal = values.loops - ((i + 1) * (values.loops - fewest)) / 6;
      assert.ok(Math.abs(meanLoops(values, threshold) - goal) < 0.15, `${threshold}: ${goal}`);
      assert.ok(String(threshold).length <= 6, String(threshold));
    }
  }
  // Where no value differs there is a single threshold to choose.
  const flat = new Float64Array(R).fill(0.25);
  assert.equal(spreadThresholds({ values: [flat, flat], above: false, loops: 3 }, 8).length, 1);
});

test('the best point has the fewest loops among those that are good enough', () => {
  const point = (loops: number, loss: number) => ({
    criterion: null,
    threshold: null,
    loops,
    loss,
    time: 1,
  });
  const points = [point(6, 2), point(5, 2.009), point(4, 2.02), point(3, 2.005), point(2, 3)];
  assert.equal(cheapest(points, 2.01)?.loops, 3);
  assert.equal(cheapest(points, 1.9), null);
});

const T = 24;
const B = 2;
/** Five batches of two sequences, and a rest that is left out. */
const ids = Uint16Array.from({ length: 5 * B * T + 20 }, (_, i) => (i * i + 3 * i) % 31);
const source: TokenSource = {
  name: 'tokens',
  length: ids.length,
  read: async (offset, count) => ids.slice(offset, offset + count),
};

function build(config: Record<string, unknown>): GPT {
  const shape = { vocabSize: 31, blockSize: T, nLayer: 1, nHead: 2, nEmbd: 16 };
  const backend = onEngine(new NativeBackend('f32'));
  const model = new GPT(parseModelConfig({ ...shape, ...config }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const gain = p.role === 'norm' ? 1 : 0;
    backend.write(
      p.storage,
      normal(5, p.name, p.size, 0.3).map((x) => x + gain),
    );
  }
  return model;
}

const OPTIONS: ExitSweepOptions = { points: 3, B, maxTokens: 5 * B * T, tolerance: 0.01 };

test('every point is what an evaluation with that exit finds; time is told against full depth', async () => {
  const model = build({ depth: 'loop', nLoop: 4, halting: 'geometric' });
  const said = new Set<string>();
  const onProgress = (_: number, what: string) => said.add(what.split(' ')[0]);
  const sweep = await sweepExits(model, source, { ...OPTIONS, onProgress }, nodeClock);
  assert.deepEqual([sweep.tokens, sweep.batches], [5 * B * T, 5]);
  const part = { ...source, length: 5 * B * T + 1 };
  for (const [n, point] of sweep.fixed.entries()) {
    const run = { B, bytes: null, loops: n + 1, earlyExit: false };
    const { loss } = await evaluate(model, part, run, nodeClock);
    assert.deepEqual([point.loops, point.loss, point.criterion], [n + 1, loss, null]);
  }
  assert.deepEqual(
    sweep.criteria.map(({ criterion }) => criterion),
    ['change', 'second-difference', 'kl', 'entropy', 'confidence', 'geometric'],
  );
  for (const { criterion, points, quantiles } of sweep.criteria) {
    assert.ok(said.has(criterion));
    assert.ok(points.length >= 2, `${criterion}: ${points.length}`);
    const means = points.map(({ loops }) => loops);
    assert.deepEqual(
      means,
      [...means].sort((a, b) => b - a),
    );
    for (const { threshold, loops, loss, time } of points) {
      const exit = { criterion, threshold: threshold! };
      const found = await evaluate(model, part, { B, bytes: null, exit }, nodeClock);
      assert.equal(loops, found.meanSteps);
      close(loss, found.loss);
      assert.ok(time > 0);
    }
    const first = { change: 1, 'second-difference': 2, kl: 2, entropy: 1, confidence: 1 }[
      criterion as string
    ];
    assert.deepEqual(
      quantiles.map(({ exit }) => exit),
      first === undefined ? [] : [1, 2, 3].slice(first - 1),
    );
    for (const { at } of quantiles) assert.ok(at[0] <= at[1] && at[1] <= at[2]);
  }
  assert.equal(model.runtime.pool.live, 0, 'buffers left over');

  const { header, rows } = exitTable(sweep);
  assert.equal(rows.length, 4 + sweep.criteria.reduce((sum, { points }) => sum + points.length, 0));
  assert.ok(rows.every((row) => row.length === header.length));
  const sentences = exitSentences(sweep);
  assert.equal(sentences.length, 8);
  assert.match(
    sentences.pop()!,
    /^Least time within 0\.01 nats of full depth: .*(alike|threshold [\d.e-]+), .* time\.$/,
  );
  for (const sentence of sentences) {
    assert.match(
      sentence,
      /: nothing tried stays within 0\.01 nats|of 4 loops at [+−]0\.\d{4} nats and .* time, the fewest within 0\.01/,
    );
  }
  const page = renderHtml('Exits', exitSections(sweep, [['model', '<tiny>']]));
  assert.equal(page.match(/<svg /g)?.length, 2);
  assert.match(page, /&lt;tiny&gt;/);
});

test('thresholds of one’s own, other full depths, and a rule without a threshold', async () => {
  const model = build({ depth: 'universal', nLoop: 3, halting: 'multinomial' });
  const own = { ...OPTIONS, criteria: ['change'], thresholds: [0.1, 0.9, 5], loops: 5 } as const;
  const { fixed, criteria } = await sweepExits(model, source, own, nodeClock);
  assert.equal(fixed.length, 5);
  assert.deepEqual(criteria[0].points.map(({ threshold }) => threshold).sort(), [0.1, 0.9, 5]);
  const chosen = { ...OPTIONS, criteria: ['multinomial'] } as const;
  const [{ points, quantiles }] = (await sweepExits(model, source, chosen, nodeClock)).criteria;
  assert.deepEqual([points.length, points[0].threshold, quantiles.length], [1, null, 0]);
  const coda = build({ depth: 'loop', nLayer: 2, nCoda: 1, nLoop: 3 });
  const found = await sweepExits(coda, source, OPTIONS, nodeClock);
  assert.deepEqual(
    found.criteria.map(({ criterion }) => criterion),
    ['change', 'second-difference'],
  );
});

test('what says nothing of a model is named with its reason: two loops, a coda, values that are all alike', async () => {
  const found = async (config: Record<string, unknown>, options: Partial<ExitSweepOptions> = {}) => {
    const model = build(config);
    const sweep = await sweepExits(model, source, { ...OPTIONS, ...options }, nodeClock);
    const sentences = exitSentences(sweep);
    for (const { criterion, reason } of sweep.unmeasured) {
      assert.ok(sentences.includes(`${criterion}: not measured, ${reason}.`), sentences.join('\n'));
    }
    for (const { points } of sweep.criteria) assert.ok(points.length > 0);
    return [sweep.criteria, sweep.unmeasured].map((list) => list.map(({ criterion }) => criterion));
  };
  const two = { depth: 'loop', nLoop: 2 };
  const [measured, not] = [
    ['change', 'entropy', 'confidence'],
    ['second-difference', 'kl'],
  ];
  assert.deepEqual(await found(two), [measured, not]);
  assert.deepEqual(await found({ depth: 'universal', nLoop: 2 }), [measured, not]);
  assert.deepEqual(await found({ depth: 'adaptive', nLayer: 2 }), [measured, not]);
  assert.deepEqual(await found({ depth: 'loop', nLoop: 3 }, { loops: 2 }), [measured, not]);
  assert.deepEqual(await found(two, { loops: 3 }), [[...CRITERIA], []]);
  const coda = { ...two, nLayer: 2, nCoda: 1 };
  assert.deepEqual(await found(coda), [['change'], ['second-difference', 'kl', 'entropy', 'confidence']]);
  assert.deepEqual(await found(two, { criteria: ['entropy'] }), [['entropy'], []]);

  // Gates of 0 leave every state and prediction as the first loop found them.
  const still = build({ depth: 'loop', nLoop: 3 });
  const gates = still.parameters.all.find(({ name }) => name.endsWith('gates'))!;
  still.runtime.backend.write(gates.storage, new Float32Array(gates.size));
  const { criteria, unmeasured } = await sweepExits(still, source, OPTIONS, nodeClock);
  assert.deepEqual(
    criteria.map(({ criterion }) => criterion),
    ['entropy', 'confidence'],
  );
  assert.deepEqual(
    unmeasured.map(({ criterion, reason }) => [criterion, reason]),
    ['change', 'second-difference', 'kl'].map((name) => [name, 'its values leave no threshold to choose']),
  );
});

test('a model without early exits, and criteria or thresholds that it does not have, are refused', async () => {
  const refused = (config: Record<string, unknown>, options: Partial<ExitSweepOptions>, message: RegExp) =>
    assert.rejects(
      sweepExits(build(config), source, { ...OPTIONS, ...options }, nodeClock),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
    );
  const loop = { depth: 'loop', nLoop: 3 };
  await refused({}, {}, /^model: must have exits that a token can take early; a model of depth gpt2 has a/);
  await refused({ ...loop, halting: 'act' }, {}, /^model: .*halting is act/);
  await refused(
    loop,
    { criteria: ['geometric'] },
    /^criterion: must be change, .* for this model with 3 loops, got 'geometric'; it is learned/,
  );
  await refused(loop, { thresholds: [1] }, /^thresholds: must be given for a single criterion, got 5/);
  await refused(loop, { criteria: ['kl'], thresholds: [-1] }, /^exit\.threshold: must be a number above 0/);
  await refused(loop, { loops: 1 }, /^model: must have exits .*; a single loop has no exit before its end$/);
  await refused(
    { ...loop, nLoop: 2 },
    { criteria: ['change', 'kl'] },
    /^criterion: must be change, entropy, confidence for this model with 2 loops, got 'kl'; it compares two/,
  );
});

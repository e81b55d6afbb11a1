/**
 * The law of what loops are worth: a fit finds it again, its interval of φ is honest, and it says when φ is not
 * determined.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitLaw, unfit } from '../../src/experiments/law/fit.js';
import { effectiveParameters, type Law, lawLoss, type LawPoint } from '../../src/experiments/law/law.js';
import { leastSquares } from '../../src/experiments/law/least-squares.js';
import { plannedPoints } from '../../src/experiments/law/measured.js';
import { findSuite } from '../../src/operations/suites.js';
import { coverage, LAWS } from './synthetic-law.js';

const suite = findSuite('recurrence');
const points = plannedPoints(suite, suite.law[0], 257, 'f32');

function near(found: number, wanted: number, by: number): void {
  assert.ok(Math.abs(found - wanted) <= by, `${found}, and not ${wanted}`);
}

test('least squares finds a minimum inside bounds, and the bound where the minimum lies beyond', () => {
  // y = a·exp(−b·x), with one outlier that Huber's loss bears.
  const y = (x: number) => 3 * Math.exp(-0.7 * x);
  const xs = Array.from({ length: 20 }, (_, i) => i / 4);
  const problem = (upper: readonly number[], outlier: number) => ({
    length: xs.length,
    lower: [0, 0],
    upper,
    huber: 0.01,
    evaluate: ([a, b]: Float64Array, residuals: Float64Array, jacobian: Float64Array) => {
      for (const [i, x] of xs.entries()) {
        const power = Math.exp(-b * x);
        residuals[i] = a * power - y(x) - (i === 7 ? outlier : 0);
        jacobian.set([power, -a * x * power], 2 * i);
      }
    },
  });
  const exact = leastSquares(problem([10, 10], 0), [1, 0.1]);
  near(exact.params[0], 3, 1e-6);
  near(exact.params[1], 0.7, 1e-6);
  near(leastSquares(problem([10, 10], 5), [1, 0.1]).params[0], 3, 0.01);
  const held = leastSquares(problem([10, 0.5], 0), [1, 0.1]);
  assert.equal(held.params[1], 0.5);
});

test('the fit finds a law again from its losses, with tokens and without', () => {
  const lengths = [1e6, 2e6, 4e6];
  const varied = lengths.flatMap((tokens) => points.map((point) => ({ ...point, tokens })));
  const data = { B: 0.3 * 1e6 ** 0.4, beta: 0.4 };
  const cases: readonly (readonly [Law, readonly LawPoint[]])[] = [
    [{ ...LAWS['GPT-2'], phi: 0.46 }, points],
    [{ ...LAWS.modern, phi: 1 }, points],
    [{ ...LAWS.modern, phi: 0.3, data }, varied],
  ];
  for (const [law, own] of cases) {
    const losses = own.map((point) => lawLoss(law, point));
    const fit = fitLaw(
      own.map((point, i) => ({ ...point, losses: [losses[i]] })),
      20,
    );
    near(fit.law.phi, law.phi, 1e-3);
    near(fit.error, 0, 1e-5);
    for (const [i, model] of fit.models.entries()) {
      near(model.loss, losses[i], 1e-4);
      near(model.effectiveParameters / effectiveParameters(own[i], law.phi), 1, 1e-2);
    }
    assert.equal(fit.law.data === null, law.data === null);
    assert.equal(fit.undetermined, null);
  }
});

test('on the suite’s grid and with noise like that of seeds the interval holds the true φ, and is narrow', () => {
  const draws = 16;
  for (const [law, phi] of [
    [LAWS['GPT-2'], 0.46],
    [LAWS.modern, 1],
  ] as const) {
    const { inside, summary, undetermined } = coverage(
      points,
      { ...law, phi },
      suite.seeds,
      0.003,
      draws,
      60,
    );
    assert.ok(inside >= 0.8 * draws, `${inside} of ${draws}`);
    const [halfWidth, , error] = summary;
    assert.ok(halfWidth <= 0.1, `half-width ${halfWidth}`);
    near(error, 0, 0.03);
    assert.equal(undetermined, 0);
  }
});

test('what does not determine φ is told so, and why', () => {
  const flat = { ...LAWS['GPT-2'], A: 0, phi: 0.5 };
  const losses = (seed: number) =>
    points.map((point, i) => lawLoss(flat, point) + 0.003 * Math.sin(31 * i + seed));
  const [a, b] = [losses(1), losses(2)];
  const fit = fitLaw(
    points.map((point, i) => ({ ...point, losses: [a[i], b[i]] })),
    100,
  );
  assert.match(fit.undetermined ?? '', /wider than 0\.5|reaches the end of what is tried, −1 to 2/);
  const unlooped = points.filter(({ loops }) => loops === 1);
  const looped = points.filter(({ loops }) => loops > 1);
  assert.equal(unfit(points), null);
  assert.match(unfit([...unlooped.slice(0, 2), ...looped]) ?? '', /three sizes .* and there are 2/);
  assert.match(unfit([...unlooped, looped[0]]) ?? '', /two looped models are needed, and there are 1/);
  assert.match(
    unfit([...unlooped.slice(0, 3), ...looped.slice(0, 2)]) ?? '',
    /7 models are needed, and there are 5/,
  );
});

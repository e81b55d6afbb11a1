/** What a comparison tells of its recipes' loops: from losses to tables, sentences and charts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chartFiles, renderHtml, renderMarkdown } from '../../src/experiments/document.js';
import { intervalChart } from '../../src/experiments/interval-plot.js';
import { type Law, lawLoss } from '../../src/experiments/law/law.js';
import { measureLaws, plannedPoints } from '../../src/experiments/law/measured.js';
import { onlyRecipes } from '../../src/experiments/law/models.js';
import { lawSections } from '../../src/experiments/law/report.js';
import type { RunResult } from '../../src/experiments/result.js';
import { runConfig } from '../../src/experiments/suites.js';
import { findSuite } from '../../src/operations/suites.js';
import { LAWS } from './synthetic-law.js';

const suite = onlyRecipes(findSuite('recurrence'), ['plain', 'stable']);
const PHIS = new Map([
  ['plain', 0.46],
  ['stable', 0.8],
]);

/** Two seeds of every model, as the law has them. */
const results = suite.law.flatMap((recipe) => {
  const points = plannedPoints(suite, recipe, 257, 'f32');
  const law: Law = { ...LAWS.modern, phi: PHIS.get(recipe.name)! };
  return recipe.models.flatMap((name, i) => {
    // What recipes share is trained once.
    if (recipe !== suite.law[0] && suite.law[0].models.includes(name)) return [];
    const model = suite.models.find((own) => own.name === name)!;
    const config = runConfig(suite, model, 257, 'f32');
    return [-0.001, 0.001].map((noise) => {
      return { name, label: model.label, config, valLoss: lawLoss(law, points[i]) + noise } as RunResult;
    });
  });
});

test('each recipe has its φ, with the models without loops that it shares', () => {
  const laws = measureLaws(suite, results);
  assert.deepEqual(
    laws.map(({ name, undetermined, models }) => [name, undetermined, models.length]),
    [
      ['plain', null, 12],
      ['stable', null, 12],
    ],
  );
  for (const { name, fit, models } of laws) {
    const phi = PHIS.get(name)!;
    assert.ok(Math.abs(fit!.law.phi - phi) < 0.01, `${fit!.law.phi}`);
    assert.ok(fit!.interval.low < phi && phi < fit!.interval.high);
    for (const { losses, loss, residuals } of models) {
      assert.equal(losses.length, 2);
      assert.ok(Math.abs(Math.log(losses[0] / loss!) - residuals![0]) < 1e-9);
    }
  }
  assert.deepEqual(measureLaws(findSuite('demo'), results), []);
});

test('the report has tables, sentences and charts of them, and what is not determined says why', () => {
  const sections = lawSections(measureLaws(suite, results), []);
  const markdown = renderMarkdown('Loops', sections);
  assert.match(markdown, /\| modern, plain \| 0\.46 \| 0\.4\d to 0\.\d\d \|/);
  assert.match(markdown, /modern, stable injection: a block that is run 6 times is worth 4\.2 blocks \(/);
  assert.match(
    markdown,
    /B·D\^−β is left out, since it takes 3 token counts, the largest 4 times the smallest/,
  );
  assert.match(markdown, /\| modern, plain, 1 \+ 1 × 6 \| 6 \| .* \| [+−]0\.00\d\d \|/);
  assert.deepEqual(
    chartFiles(sections).map(([name]) => name),
    ['phi.svg', 'law-plain.svg', 'law-stable.svg'],
  );
  assert.ok(renderHtml('Loops', sections).includes('looped 6 times'));

  const begun = results.filter(
    ({ name }) => !['layers-3', 'layers-5', 'layers-6', 'layers-7'].includes(name),
  );
  const [plain] = measureLaws(suite, begun);
  assert.equal(plain.fit, null);
  const early = renderMarkdown('Loops', lawSections([plain], []));
  assert.match(
    early,
    /φ is not determined: three sizes of models without loops are needed, and there are 2\./,
  );
  assert.match(early, /\| modern, plain \| not determined \|/);
  assert.deepEqual(lawSections([], []), []);
});

test('intervals stand over one axis', () => {
  const rows = [
    { label: 'a & b', color: '#123456', value: 0.5, low: 0.4, high: 0.6 },
    { label: 'beyond', color: '#654321', value: 1.4, low: 1.2, high: 1.6 },
  ];
  const svg = intervalChart('φ', 'exponent', rows, [0, 1]);
  assert.ok(svg.includes('a &amp; b: 0.50') && svg.includes('>1.6<'));
  const places = [...svg.matchAll(/<circle cx="([\d.]+)"/g)].map(([, x]) => Number(x));
  assert.ok(places[0] < places[1] && places[1] < 440);
});

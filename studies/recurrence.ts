/**
 * Tests whether a suite's grid determines what loops are worth: draws losses of its models from a known law, with noise
 * like that of seeds, and fits the law to them. For each φ, prints in how many draws the interval contains it, half the
 * interval's width, and how far the estimates lie from it.
 *
 *     node dist/studies/recurrence.js [SUITE] [DRAWS] [NOISE]
 */
import { plannedPoints } from '../src/experiments/law/measured.js';
import { coverage, LAWS } from '../test/experiments/synthetic-law.js';
import { findSuite } from '../src/operations/suites.js';

const [name = 'recurrence', draws = '100', noise = '0.003'] = process.argv.slice(2);
const suite = findSuite(name);
const [recipe] = suite.law;
const points = plannedPoints(suite, recipe, 257, 'f32');
const layers =
  points.reduce((sum, { once, looped, loops }) => sum + once + loops * looped, 0) / points[0].once;
console.log(
  `${name}: ${points.length} models, ${layers.toFixed(0)} applications, ${suite.seeds} seeds, ` +
    `noise of ${noise} nats, ${draws} draws`,
);
console.log('| losses like | φ | in the interval | half-width, mean | largest | error of φ, mean |');
console.log('| --- | ---: | ---: | ---: | ---: | ---: |');
for (const [like, law] of Object.entries(LAWS)) {
  for (const phi of [0, 0.3, 0.46, 1]) {
    const found = coverage(points, { ...law, phi }, suite.seeds, Number(noise), Number(draws));
    const cells = [like, phi, `${found.inside} of ${draws}`, ...found.summary.map((x) => x.toFixed(3))];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

/** Benchmarks: the figures of lm-evaluation-harness and of CORE on the same items, from files of either's form. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PythonRandom } from '../../src/evaluate/tasks/python-random.js';
import { type Choice, readQuestions } from '../../src/evaluate/tasks/questions.js';
import { scoreSequences } from '../../src/evaluate/tasks/scoring.js';
import { type TaskTokenizer, taskOf } from '../../src/evaluate/tasks/task.js';
import { loadRun, openRun } from '../../src/node/run.js';
import { nodeClock } from '../../src/node/store.js';

const at = (path: string) => fileURLToPath(new URL(`../../../test/${path}`, import.meta.url));
const run = await openRun(at('fixtures/35e8274/run'));
const tokenizer = await run.tokenizer();
const { model } = await loadRun(run, { precision: 'f32' });
after(() => model.dispose());
const tokens: TaskTokenizer = { tokenizer, prefix: tokenizer.eot!, blockSize: model.config.blockSize };
const NONE = { shots: 0, delimiter: ' ' };

function questions(path: string, shots = 0) {
  const lines = readFileSync(at(path), 'utf8').trimEnd().split('\n');
  const records = lines.map((line, i) => ({
    name: `${path}, line ${i + 1}`,
    value: JSON.parse(line) as unknown,
  }));
  return readQuestions(path, records, { shots, delimiter: ' ' });
}

const score = (sequences: Parameters<typeof scoreSequences>[2], loops?: number) =>
  scoreSequences(model, tokenizer, sequences, loops === undefined ? {} : { loops }, nodeClock);

const near = (got: number, expected: number, what: string) =>
  assert.ok(
    Math.abs(got - expected) <= 1e-5 * Math.max(1, Math.abs(expected)),
    `${what}: ${got}, not ${expected}`,
  );

interface HarnessFigures {
  /** Of each question, what was found of each thing scored. */
  readonly scores: readonly unknown[];
  readonly [metric: string]: unknown;
}
const harness = JSON.parse(readFileSync(at('evaluate/lm-eval/golden.json'), 'utf8')).results as Record<
  string,
  Record<string, HarnessFigures>
>;

for (const name of ['toy_choice', 'toy_last_word', 'toy_text']) {
  test(`${name}: scores and figures are lm-evaluation-harness's, at one, two and three loops`, async () => {
    const task = taskOf(questions(`evaluate/lm-eval/samples_${name}.jsonl`), tokens);
    for (const loops of [1, 2, 3]) {
      const { scores: expected, ...figures } = harness[loops][name];
      const scores = await score(task.sequences, loops);
      if (task.kind !== 'rolling') {
        const pairs = expected.flat(1) as [number, boolean][];
        assert.equal(scores.length, pairs.length);
        for (const [i, [logprob, greedy]] of pairs.entries()) {
          near(scores[i].logprob, logprob, `${loops} loops, sequence ${i}`);
          assert.equal(scores[i].greedy, greedy);
        }
      }
      const found = task.figures(scores);
      assert.deepEqual(Object.keys(found).sort(), Object.keys(figures).sort());
      for (const [metric, value] of Object.entries(figures)) near(found[metric], value as number, metric);
    }
  });
}

const core = JSON.parse(readFileSync(at('evaluate/core/golden.json'), 'utf8')) as Record<
  string,
  Record<string, { acc: number; means: number[][] }>
>;

for (const [name, guessing] of [
  ['choices', (1 / 2 + 1 / 3) / 2],
  ['schemas', 1 / 2],
  ['modelling', 0],
] as const) {
  test(`CORE's ${name}: mean losses and accuracy, with and without examples; centred accuracy`, async () => {
    for (const shots of [0, 1]) {
      const task = taskOf(questions(`evaluate/core/${name}.jsonl`, shots), tokens);
      const scores = await score(task.sequences);
      const { acc, means } = core[name][shots];
      assert.equal(scores.length, means.flat().length);
      for (const [i, expected] of means.flat().entries()) {
        near(-scores[i].logprob / scores[i].tokens, expected, `${shots} shots, sequence ${i}`);
      }
      const found = task.figures(scores);
      near(found.acc, acc, 'acc');
      near(found.centred, (acc - guessing) / (1 - guessing), 'centred');
    }
  });
}

test('random numbers are Python’s', () => {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  // random.Random(1337).shuffle, random.Random(1234).sample(range(40), 10) and so on, of CPython 3.11.
  assert.deepEqual(
    new PythonRandom(1337).shuffled(range(30)),
    [
      4, 7, 28, 0, 2, 24, 3, 15, 27, 8, 14, 13, 21, 16, 1, 29, 6, 20, 9, 26, 12, 10, 5, 23, 25, 18, 11, 22,
      17, 19,
    ],
  );
  assert.deepEqual(new PythonRandom(1234).sample(range(40), 10), [28, 7, 0, 5, 2, 36, 6, 22, 15, 37]);
  assert.deepEqual(
    new PythonRandom(1235).sample(range(400), 10),
    [352, 217, 274, 303, 240, 200, 76, 362, 178, 369],
  );
  assert.deepEqual(new PythonRandom(1240).sample(range(25), 3), [20, 14, 11]);
});

test('records that are no questions are refused by their names', () => {
  const read = (...values: unknown[]) =>
    readQuestions(
      'q.jsonl',
      values.map((value, i) => ({ name: `q.jsonl, line ${i + 1}`, value })),
      NONE,
    );
  const refused = (values: unknown[], message: RegExp) => assert.throws(() => read(...values), message);
  refused([], /DataError: q\.jsonl: must hold a question, got 'none'/);
  refused([[1]], /q\.jsonl, line 1: must be a JSON object/);
  refused(
    [{ question: 'x' }],
    /q\.jsonl, line 1: continuation: must be a text; a record has the fields arguments;/,
  );
  refused([{ query: 'x', choices: ['a'], gold: 0 }], /line 1: choices: must be a list of at least two texts/);
  refused(
    [{ query: 'x', choices: ['a', 'b'], gold: 2 }],
    /line 1: gold: must be a place from 0 to 1, got '2'/,
  );
  refused([{ text: 'a' }, { text: 5 }], /line 2: text: must be a text/);
  refused(
    [{ arguments: [[1]] }],
    /line 1: arguments: must hold texts; only tasks that score texts have them/,
  );
  const pair = { arguments: [['a', ' b']], target: ' b' };
  const choice = {
    arguments: [
      ['a', ' b'],
      ['a', ' c'],
    ],
    target: 1,
  }; // the older form of a log
  refused([pair, choice], /must hold questions of one kind, got 'continuation, choice'/);
  refused([{ ...choice, target: 2 }], /line 1: target: must name one of 2 options, got '2'/);
  assert.deepEqual((read(choice).questions[0] as Choice).gold, [1]);
  assert.deepEqual((read({ ...choice, target: 'b' }).questions[0] as Choice).gold, [0]);
  const lines = [0, 1].map((gold) => ({ query: 'x', choices: ['a', 'b'], gold }));
  assert.throws(
    () =>
      readQuestions(
        'q.jsonl',
        lines.map((value) => ({ name: 'q', value })),
        { shots: 2, delimiter: ' ' },
      ),
    /must hold more questions than the 2 shown before each, got 2/,
  );
});

test('a sequence whose scored tokens alone are too many is refused', async () => {
  const ids = Array.from({ length: 40 }, (_, i) => i);
  await assert.rejects(score([{ ids, from: 5 }]), /sequence: must have fewer than 33 tokens to score/);
  const [whole] = await score([{ ids, from: 8 }]);
  assert.equal(whole.tokens, 32);
});

/**
 * A small suite end to end: pilots, seeds, stopping and going on, a run that fails, and the report in all its forms.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { Agenda } from '../../src/experiments/agenda.js';
import { compare, type ComparisonOptions } from '../../src/experiments/compare.js';
import type { ComparisonEvent } from '../../src/experiments/comparison-events.js';
import { chartFiles, renderHtml, renderMarkdown } from '../../src/experiments/document.js';
import { Outcome } from '../../src/experiments/outcome.js';
import { planComparison } from '../../src/experiments/plan.js';
import { reportSections } from '../../src/experiments/report.js';
import type { RunResult } from '../../src/experiments/result.js';
import type { Suite } from '../../src/experiments/suites.js';
import { verdict } from '../../src/statistics.js';
import { measureTimings } from '../../src/experiments/timing.js';
import { ConfigError } from '../../src/errors.js';
import { Runtime } from '../../src/tensor/tensor.js';
import type { TokenSource } from '../../src/evaluate/batches.js';
import { MemoryStore, source, testClock, VOCAB } from '../train/helpers.js';
import { memoryPeers } from '../train/memory-peers.js';

const suite: Suite = {
  name: 'tiny',
  where: 'suite tiny',
  scale: 'mini',
  title: 'A tiny suite',
  models: [
    { name: 'gpt2', label: '1 layer', model: { depth: 'gpt2', nLayer: 1 }, paper: { valLoss: 3.98 } },
    { name: 'loop', label: '1 × 2', model: { depth: 'loop', nLayer: 1, nLoop: 2, nInnerLoop: 2 } },
    {
      name: 'adaptive',
      label: 'adaptive',
      model: { depth: 'adaptive', nLayer: 2, halting: 'geometric' },
      train: { exitLoss: 'uniform' },
    },
    { name: 'act', label: 'act', model: { depth: 'universal', nLayer: 1, nLoop: 3, halting: 'act' } },
  ],
  groups: [{ title: 'All', baseline: 'gpt2', others: ['loop', 'adaptive', 'act'] }],
  law: [],
  data: null,
  model: { nEmbd: 8, nHead: 2, blockSize: 16 },
  train: {
    batchSize: 2,
    maxSteps: 20,
    warmupSteps: 2,
    evalInterval: 5,
    evalBatches: 2,
    checkpointInterval: 5,
  },
  budget: null,
  grid: { lr: [1e-3, 1e-2] },
  seeds: 2,
  prompt: '',
};

const provenance = { machine: 'test', backend: 'test', commit: 'test' };

function comparison(change: Partial<Suite> = {}, train: TokenSource = source(4000)) {
  const stores = new Map<string, MemoryStore>();
  const options: ComparisonOptions = {
    suite: { ...suite, ...change },
    seeds: 2,
    data: { train, val: source(900), valBytes: 1800, tokenizer: null, vocabSize: VOCAB },
    runtime: new Runtime(onEngine(new NativeBackend('f32'))),
    clock: testClock,
    provenance,
    store: (name) => {
      if (!stores.has(name)) stores.set(name, new MemoryStore());
      return stores.get(name)!;
    },
  };
  return { options, stores };
}

async function collect(options: ComparisonOptions, stopAfter = Number.POSITIVE_INFINITY) {
  const controller = new AbortController();
  const events: ComparisonEvent[] = [];
  let steps = 0;
  for await (const event of compare(options, controller.signal)) {
    events.push(event);
    if (event.kind === 'train' && event.event.kind === 'step' && ++steps === stopAfter) controller.abort();
  }
  return { events, steps, results: events.flatMap((e) => (e.kind === 'result' ? [e.result] : [])) };
}

let former: ReturnType<typeof collect> | undefined;

/** What a comparison that nothing stops makes. */
function whole(): ReturnType<typeof collect> {
  former ??= collect(comparison().options);
  return former;
}

test('a suite stopped anywhere goes on where it was, ends with the same numbers, and repeats nothing', async () => {
  const { results: expected } = await whole();
  assert.equal(expected.length, 8);
  const { options } = comparison();
  let results: RunResult[] = [];
  let total = 0;
  // 8 pilots of 5 steps, of which 4 go on, and 4 runs of 20: stopped in pilots, in runs, and right after checkpoints.
  for (const stop of [1, 3, 7, 5, 11, 40, 60, 1000]) {
    const part = await collect(options, stop);
    results = part.results;
    total += part.steps;
  }
  const timeless = (all: readonly RunResult[]) => all.map((r) => ({ ...r, stepMs: 0 }));
  assert.deepEqual(timeless(results), timeless(expected));
  assert.equal(total, 8 * 5 + 4 * 15 + 4 * 20);
  assert.equal((await collect(options)).steps, 0);
});

test('processes share the runs out, stopped by any and resumed by more or fewer, with the same numbers', async () => {
  const { results: expected } = await whole();
  const { options, stores } = comparison();
  /** How each process sees a comparison that rank `by` stops at its `stopAt`th step. */
  const together = (ranks: number, by = 0, stopAt = Number.POSITIVE_INFINITY) =>
    Promise.all(
      memoryPeers(ranks).map(async (peers) => {
        const runtime = new Runtime(onEngine(new NativeBackend('f32')));
        const clock = { ...testClock, yield: () => setImmediate() };
        const outcome = new Outcome(suite);
        const end = new AbortController();
        let steps = 0;
        for await (const event of compare({ ...options, runtime, clock, peers }, end.signal)) {
          outcome.take(event);
          const own = event.rank === undefined;
          if (event.kind === 'stopped') end.abort();
          if (own && event.kind === 'train' && event.event.kind === 'step' && ++steps === stopAt) {
            if (peers.rank === by) end.abort();
          }
        }
        return { outcome, steps };
      }),
    );
  let total = 0;
  let last = await together(3, 0, 5);
  for (const next of [() => together(2, 1, 30), () => together(1, 0, 20), () => together(5)]) {
    assert.ok(last[0].outcome.results.length < 8);
    total += last.reduce((sum, { steps }) => sum + steps, 0);
    last = await next();
  }
  total += last.reduce((sum, { steps }) => sum + steps, 0);
  const timeless = (all: readonly RunResult[]) => all.map((r) => ({ ...r, stepMs: 0 }));
  assert.deepEqual(timeless(last[0].outcome.results), JSON.parse(JSON.stringify(timeless(expected))));
  assert.equal(last[0].outcome.tuned.length, 4);
  assert.equal(total, 8 * 5 + 4 * 15 + 4 * 20);
  assert.equal(stores.size, 12);
});

test('the longest runs are begun first where processes share them out, and pilots before them', () => {
  const order = (longestFirst: boolean) => {
    const agenda = new Agenda({ ...suite, models: suite.models.slice(0, 2) }, 2, VOCAB, 'f32', longestFirst);
    const names: string[] = [];
    for (let job = agenda.next(); job !== null; job = agenda.next()) {
      names.push(`${agenda.entrant(job).name}${job.seed === null ? ', a pilot' : ''}`);
      if (job.seed === null) Array.from(agenda.takePilot(job, job.choice));
    }
    return names;
  };
  const pilots = (model: string) => [
    `${model}-lr0.001-seed1337, a pilot`,
    `${model}-lr0.01-seed1337, a pilot`,
  ];
  const runs = (...of: string[]) => of.map((name) => name.replace('-', '-lr0.001-seed'));
  assert.deepEqual(order(false), [
    ...[...pilots('gpt2'), ...pilots('loop')],
    ...runs('gpt2-1337', 'loop-1337', 'gpt2-1338', 'loop-1338'),
  ]);
  assert.deepEqual(order(true), [
    ...[...pilots('loop'), ...pilots('gpt2')],
    ...runs('loop-1337', 'loop-1338', 'gpt2-1337', 'gpt2-1338'),
  ]);
});

test('combinations that differ in what a model does not read are one, and tried once', () => {
  const [adamw, loop] = suite.models;
  const models = [adamw, { ...loop, train: { optimizer: 'muon' } }];
  const grid = { lr: [1e-3, 1e-2], muonLr: [0.01, 0.02, 0.04] };
  const agenda = new Agenda({ ...suite, models, grid }, 1, VOCAB, 'f32');
  const names: string[] = [];
  for (let job = agenda.next(); job !== null; job = agenda.next()) names.push(agenda.entrant(job).name);
  assert.deepEqual(
    names.filter((name) => name.startsWith('gpt2')),
    ['gpt2-lr0.001-muonLr0.01-seed1337', 'gpt2-lr0.01-muonLr0.01-seed1337'],
  );
  assert.equal(names.length, 2 + 6);
  const planned = planComparison({ ...suite, models, grid }, 1, VOCAB, 'f32');
  assert.deepEqual(
    planned.map(({ pilots }) => pilots),
    [2, 6],
  );
});

test('a run that is stopped while it is scored is scored when the suite goes on', async () => {
  const { results: expected } = await whole();
  const { options } = comparison();
  const controller = new AbortController();
  let scoring = false;
  const clock = {
    now: () => options.clock.now(),
    yield: async () => {
      if (scoring) controller.abort();
    },
  };
  for await (const event of compare({ ...options, clock }, controller.signal)) {
    assert.notEqual(event.kind, 'result');
    scoring = event.kind === 'train' && event.event.kind === 'done';
  }
  assert.ok(controller.signal.aborted);
  const { results, events } = await collect(options);
  const timeless = (all: readonly RunResult[]) => all.map((r) => ({ ...r, stepMs: 0 }));
  assert.deepEqual(timeless(results), timeless(expected));
  assert.ok(!events.some(({ kind }) => kind === 'failed'));
});

test('pilots choose the rate with the lowest validation loss, each model from the same candidates', async () => {
  const { events } = await whole();
  const tuned = events.flatMap((e) => (e.kind === 'tuned' ? [e] : []));
  assert.equal(tuned.length, suite.models.length);
  for (const { fields, pilots } of tuned) {
    assert.deepEqual(
      pilots.map((p) => p.fields.lr),
      suite.grid.lr,
    );
    const best = Math.min(...pilots.map((p) => p.valLoss!));
    assert.equal(pilots.find((p) => p.fields.lr === fields.lr)!.valLoss, best);
  }
});

test('a run that fails is reported and skipped; the others are made', async () => {
  const { options } = comparison({ grid: {} });
  const broken = {
    name: 'broken',
    label: 'broken',
    model: { depth: 'gpt2', nLayer: 1 },
    train: { lr: 1e30 },
  };
  const models = [broken, ...suite.models];
  const { events, results } = await collect({ ...options, suite: { ...options.suite, models } });
  const failed = events.flatMap((e) => (e.kind === 'failed' ? [e] : []));
  assert.equal(failed.length, 2);
  assert.match(failed[0].error.message, /must be finite/);
  assert.equal(results.length, 8);
});

test('a pilot that diverges loses, is not trained again, and a model without pilots is named', async () => {
  const { options, stores } = comparison({ grid: { lr: [1e-3, 1e30] }, models: suite.models.slice(0, 1) });
  const first = await collect(options);
  const again = await collect(options);
  for (const { events, results } of [first, again]) {
    assert.equal(results.length, 2);
    const [tuned] = events.flatMap((e) => (e.kind === 'tuned' ? [e] : []));
    assert.deepEqual([tuned.fields.lr, tuned.pilots[1].valLoss], [1e-3, null]);
  }
  assert.equal(again.steps, 0);
  assert.ok(stores.has('gpt2-lr1e+30-seed1337'));

  const hopeless = comparison({ grid: { lr: [1e30] }, models: suite.models.slice(0, 1) });
  const { events } = await collect(hopeless.options);
  const messages = events.flatMap((e) =>
    e.kind === 'failed' ? [`${e.entrant.name}: ${e.error.message}`] : [],
  );
  assert.match(messages.at(-1)!, /^gpt2: .*no pilot finished/);
});

test('a damaged result is named, and the others stand; a lost last evaluation is made again', async () => {
  const { options, stores } = comparison({ grid: {}, models: suite.models.slice(0, 2) });
  const { results } = await collect(options);
  const [expected] = results;
  const store = stores.get('gpt2-seed1337')!;
  for (const damage of ['{', '{}']) {
    await store.replace('result.json', damage);
    const again = await collect(options);
    const failed = again.events.flatMap((e) => (e.kind === 'failed' ? [e.error.message] : []));
    assert.equal(failed.length, 1);
    assert.match(failed[0], /result.json: must be .*delete gpt2-seed1337\/result.json/);
    assert.equal(again.results.length, results.length - 1);
  }
  const folder = [...store.files.keys()].filter((name) => name !== 'result.json');
  assert.ok(folder.includes('metrics.jsonl'));
  store.files.delete('result.json');
  const log = store.text('metrics.jsonl').trimEnd().split('\n');
  await store.replace('metrics.jsonl', `${log.slice(0, -1).join('\n')}\n`);
  const [scored] = (await collect(options)).results;
  assert.equal(scored.trainLoss, expected.trainLoss);
  assert.equal(scored.valLoss, expected.valLoss);
  assert.equal(scored.tokensSeen, expected.tokensSeen);
});

test('text too short for a sequence is refused at once', async () => {
  const { options } = comparison({}, source(10));
  await assert.rejects(collect(options), /must hold at least 17 tokens/);
});

test('a wrong model anywhere in a suite is refused before any training', async () => {
  const { options, stores } = comparison();
  const models = [...suite.models, { name: 'bad', label: 'bad', model: { depth: 'gpt2', halting: 'act' } }];
  await assert.rejects(
    collect({ ...options, suite: { ...options.suite, models } }),
    (error: Error) =>
      error instanceof ConfigError && /suite tiny: bad: model.halting: must be none/.test(error.message),
  );
  assert.equal(stores.size, 0);
});

test('a folder of another suite’s run is refused', async () => {
  const { options } = comparison({ grid: {} });
  await collect(options, 3);
  const other = { ...options, suite: { ...options.suite, train: { ...suite.train, gradClip: 2 } } };
  const pathOf = (name: string) => `runs/tiny/${name}`;
  await assert.rejects(
    collect({ ...other, pathOf }),
    /runs\/tiny\/gpt2-seed1337: must hold a run of this suite, or none: train\.gradClip must be 2, got 1/,
  );
});

test('the report has every table, plot and list, in HTML and in Markdown', async () => {
  const { options } = comparison({ grid: {} });
  const { results } = await collect(options);
  const models = suite.models.map(({ name }) => ({
    name,
    config: results.find((r) => r.name === name)!.config,
    store: options.store(`${name}-seed1337`),
  }));
  const { val } = options.data;
  const timings = await measureTimings(models, val, options.runtime.backend, testClock, provenance, () => {});
  const context = {
    suite,
    facts: [['corpus', 'a <test>']] as [string, string][],
    timings,
    missing: ['one run is missing'],
    tokenText: (id: number) => `token ${id}`,
  };
  const sections = reportSections(results, context);
  const charts = chartFiles(sections);
  const names = [
    'loss-tokens',
    'loss-flops',
    'loss-time',
    'loss-loops',
    'sharpening',
    'state-rms',
    'gates',
    'change',
    'cosine',
    'steps',
    'halting',
  ];
  assert.deepEqual(charts.map(([name]) => name).sort(), names.map((name) => `${name}.svg`).sort());
  const html = renderHtml('Report', sections);
  assert.ok(html.includes('a &lt;test&gt;') && html.includes('±') && html.includes('3.98'));
  const markdown = renderMarkdown('Report', sections);
  for (const text of ['| 1 layer |', 'plots/gates.svg', 'one run is missing', 'seeds', 'most steps']) {
    assert.ok(markdown.includes(text), text);
  }
  assert.equal(timings.filter(({ skippingRatio }) => skippingRatio !== null).length, 2);
});

test('a difference inside the seeds’ spread is called that', () => {
  assert.equal(verdict([1, 1.2], [1.1, 1.3]).word, 'inside the spread');
  assert.equal(verdict([1, 1.05], [1.1, 1.3]).word, 'lower');
  assert.equal(verdict([1.4, 1.5], [1.1, 1.3]).word, 'higher');
  assert.equal(verdict([1], [2, 3]).word, 'one seed');
});

/** A misspelt option is refused with the right name, by every function of the library that takes options. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareCorpus } from '../../src/data/prepare.js';
import { ConfigError } from '../../src/errors.js';
import { createBackend } from '../../src/node/backend.js';
import { loadModel } from '../../src/node/load-model.js';
import { loadRun, openRun } from '../../src/node/run.js';
import { compareModels } from '../../src/operations/compare.js';
import { chooseConfig } from '../../src/operations/config.js';
import { measureExits } from '../../src/operations/exits.js';
import { exportModel } from '../../src/operations/export.js';
import { importModel } from '../../src/operations/import.js';
import { inspectText } from '../../src/operations/inspect.js';
import { planModels } from '../../src/operations/plan.js';
import { servePlayground } from '../../src/operations/play.js';
import { retrofitModel } from '../../src/operations/retrofit.js';
import { serveModel } from '../../src/operations/serve.js';
import { findSuite } from '../../src/operations/suites.js';
import { trainRun } from '../../src/operations/train.js';
import { watchRuns } from '../../src/operations/watch.js';
import { createBackend as createBackendOfPage } from '../../src/web/backend.js';
import { loadModel as loadModelOfPage } from '../../src/web/load-model.js';
import { trainRun as trainRunOfPage } from '../../src/web/train-run.js';

const PLAYGROUND = 'models/playground';

/** As JavaScript calls it, where no types warn. */
// biome-ignore lint/suspicious/noExplicitAny: the options are wrong on purpose
type Untyped = (options: any) => unknown;

const CALLS: readonly (readonly [call: Untyped, option: string, right: string])[] = [
  [createBackend, 'nme', 'name'],
  [createBackendOfPage, 'thread', 'threads'],
  [(options) => loadModel(PLAYGROUND, options), 'wights', 'weights'],
  [(options) => loadModelOfPage('nowhere', options), 'cached', 'cache'],
  [async (options) => loadRun(await openRun(PLAYGROUND), options), 'backends', 'backend'],
  [async (options) => chooseConfig(options), 'presets', 'preset'],
  [trainRun, 'resumed', 'resume'],
  [trainRunOfPage, 'overwite', 'overwrite'],
  [prepareCorpus, 'tokeniser', 'tokenizer'],
  [(fields) => prepareCorpus({ sources: [], out: '', tokenizer: '', seed: 1, fields }), 'feild', 'field'],
  [(hub) => prepareCorpus({ sources: [], out: '', tokenizer: '', seed: 1, hub }), 'subsets', 'subset'],
  [importModel, 'sorce', 'source'],
  [exportModel, 'fromat', 'format'],
  [retrofitModel, 'innerLoop', 'innerLoops'],
  [(options) => compareModels({ suite: findSuite('demo'), ...options }), 'seed', 'seeds'],
  [(options) => planModels({ suite: findSuite('demo'), ...options }), 'maxStep', 'maxSteps'],
  [inspectText, 'treshold', 'threshold'],
  [measureExits, 'maxToken', 'maxTokens'],
  [serveModel, 'modelName', 'modelNames'],
  [(limits) => serveModel({ model: 'nowhere', limits }), 'maxQueues', 'maxQueue'],
  [servePlayground, 'prot', 'port'],
  [watchRuns, 'run', 'runs'],
];

function misspelt(option: string, right: string) {
  return (error: unknown) =>
    error instanceof ConfigError &&
    error.message.endsWith(`: unknown option, got '${option}'; did you mean '${right}'?`);
}

for (const [call, option, right] of CALLS) {
  test(`${option} is refused in place of ${right}`, async () => {
    await assert.rejects(async () => call({ [option]: 1 }), misspelt(option, right));
  });
}

test('generate refuses misspelt options, those of exits and drafts too', async () => {
  await using model = await loadModel(PLAYGROUND);
  const generate: Untyped = (options) => model.generate('a', options).next();
  for (const [options, option, right] of [
    [{ temprature: 1 }, 'temprature', 'temperature'],
    [{ exit: { treshold: 0.5 } }, 'treshold', 'threshold'],
    [{ draft: { loops: 1, token: 2 } }, 'token', 'tokens'],
  ] as const) {
    await assert.rejects(async () => generate(options), misspelt(option, right));
  }
});

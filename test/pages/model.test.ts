/** The model that ships with the playground is what its preset makes, small enough for a page, and gains by looping. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { total } from '../../src/evaluate/evaluation.js';
import { readPreset } from '../../src/node/presets.js';
import { loadRun, openRun } from '../../src/node/run.js';
import type { RunConfig } from '../../src/train/config.js';

const FOLDER = fileURLToPath(new URL('../../../models/playground', import.meta.url));
/** With which a phone is still served. */
const MOST_BYTES = 10e6;
/** Of no speech that it has learned from. */
const TEXT =
  'My fellow citizens, the state of our union depends on the work of the people, and on the laws that the Congress makes for them.';

test('the playground’s model has its preset’s configuration and few bytes', () => {
  const { model, train } = JSON.parse(readFileSync(join(FOLDER, 'config.json'), 'utf8'));
  const preset = readPreset('playground') as RunConfig;
  assert.equal(model.vocabSize, 1024);
  for (const [name, value] of Object.entries(preset.model)) assert.equal(model[name], value, name);
  for (const [name, value] of Object.entries(preset.train)) assert.equal(train[name], value, name);
  const files = readdirSync(FOLDER, { recursive: true }).map((name) => join(FOLDER, String(name)));
  const bytes = total(files.map((file) => statSync(file)).map((file) => (file.isFile() ? file.size : 0)));
  assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
});

test('the playground’s model expects a text better after two loops than after one', async () => {
  const run = await openRun(FOLDER);
  const tokenizer = await run.tokenizer();
  const { model } = await loadRun(run, { backend: 'reference', precision: 'f32' });
  const ids = Int32Array.from(tokenizer.encode(TEXT));
  const targets = Int32Array.from(ids, (_, t) => ids[t + 1] ?? -1);
  const { exits } = await model.readings(ids, targets, 1);
  const losses = exits.map((exit) => total(exit.losses) / (ids.length - 1));
  assert.ok(losses[0] < 4, `${losses}`);
  assert.ok(losses[1] < losses[0], `${losses}`);
  model.dispose();
});

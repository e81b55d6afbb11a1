/** The scale of the initial weights: GPT-2's at every width, or in its ratio to the width. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presetNames, readPreset } from '../../src/node/presets.js';
import { findSuite } from '../../src/operations/suites.js';
import { initialStd, parseModelConfig } from '../../src/models/config.js';
import { GPTModules } from '../../src/models/modules.js';
import { huggingFaceConfig } from '../../src/convert/huggingface.js';
import { parseRunConfig } from '../../src/train/config.js';

/** The standard deviation that each of a model's parameters is drawn with. */
function scales(fields: object): Map<string, number> {
  const { slots } = new GPTModules(parseModelConfig({ nLayer: 2, ...fields }));
  return new Map(slots.flatMap(({ spec: { name, init } }) => ('std' in init ? [[name, init.std]] : [])));
}

test('weights have GPT-2’s scale whatever the width, unless the width counts', () => {
  for (const [fields, std] of [
    [{ nEmbd: 768, nHead: 12 }, 0.02],
    [{ nEmbd: 64, nHead: 2 }, 0.02],
    [{ nEmbd: 768, nHead: 12, initStd: 'width' }, 0.02],
    // 0.02·√12
    [{ nEmbd: 64, nHead: 2, initStd: 'width' }, 0.0692820323],
    [{ nEmbd: 64, nHead: 2, initStd: 0.5 }, 0.5],
  ] as const) {
    const found = scales(fields);
    for (const [name, scale] of found) {
      // Projections that end in a residual addition are divided by √(2·layers) = 2.
      const expected = name.endsWith('c_proj.weight') ? std / 2 : std;
      assert.ok(Math.abs(scale - expected) < 1e-9, `${name} of ${JSON.stringify(fields)}: ${scale}`);
    }
    assert.equal(found.size, 2 + 2 * 4);
  }
  assert.throws(
    () => parseModelConfig({ initStd: 'wide' }),
    /initStd: must be a number of at least 0 or 'width'/,
  );
});

test('narrow presets and the demo take the width into account, the paper’s sizes have GPT-2’s scale', () => {
  for (const name of presetNames()) {
    const { model } = parseRunConfig(readPreset(name), name);
    assert.equal(initialStd(model), 0.02 * Math.sqrt(768 / model.nEmbd), name);
  }
  const { model } = findSuite('demo', 'mini');
  assert.equal(initialStd(parseModelConfig({ ...model, nLayer: 1 })), 0.02 * Math.sqrt(768 / 64));
});

test('an exported configuration names the scale as a number', () => {
  const model = parseModelConfig({ nEmbd: 192, initStd: 'width' });
  assert.equal(huggingFaceConfig(model, { bos_token_id: 0, eos_token_id: 0 }).initializer_range, 0.04);
});

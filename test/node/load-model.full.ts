/** Long: loading a run, generating and disposing of it many times leaves no memory behind. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { loadModel, type Model } from '../../src/index.js';
import { writeRun } from '../data/helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const CYCLES = 1400;
/** Weights of about a megabyte, and as much again when they are packed. */
const WIDE = { nEmbd: 96, nHead: 2 };
/** Cycles until the process has taken the memory that it works with, what waits for V8's next collection included. */
const WARM = 500;
/**
 * Cycles between two readings, and readings on both sides: V8 and malloc keep 10 MB more at one moment than at another.
 */
const APART = 25;
const READINGS = 5;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Resident bytes after a collection, the JavaScript heap's own apart, and what of that heap is in use. */
function memory(): { resident: number; heap: number } {
  collect();
  const { rss, heapUsed } = process.memoryUsage();
  // What of the heap is resident: its young generation shrinks and grows by 16 MB, of which little ever was.
  return { resident: rss - getHeapStatistics().total_physical_size, heap: heapUsed };
}

async function loadAndDispose(backend: string): Promise<Model> {
  const model = await loadModel(join(folder, backend), { backend });
  for await (const { text } of model.generate('ab', { maxTokens: 2 })) assert.equal(typeof text, 'string');
  await model.dispose();
  return model;
}

for (const backend of ['native', 'reference']) {
  test(`${backend}: memory after ${WARM} and after ${CYCLES} cycles of loading and disposing is the same`, async () => {
    await writeRun(join(folder, backend), WIDE);
    const cycles = async (count: number) => {
      for (let i = 0; i < count; i++) await loadAndDispose(backend);
    };
    const readings = async () => {
      const found = [memory()];
      while (found.length < READINGS) {
        await cycles(APART);
        found.push(memory());
      }
      // The least: what comes for a moment is above it, and a leak raises it as well.
      return {
        resident: Math.min(...found.map(({ resident }) => resident)),
        heap: Math.min(...found.map(({ heap }) => heap)),
      };
    };
    const taken = (READINGS - 1) * APART;
    await cycles(WARM);
    const early = await readings();
    await cycles(CYCLES - WARM - 2 * taken);
    const late = await readings();
    assert.ok(late.resident - early.resident < 12e6, `resident: ${early.resident} to ${late.resident} bytes`);
    assert.ok(late.heap - early.heap < 2e6, `heap: ${early.heap} to ${late.heap} bytes`);
  });
}

test('native: disposing gives the memory back at once, without the garbage collector', async () => {
  await writeRun(join(folder, 'native'), WIDE);
  const held: Model[] = [];
  for (let i = 0; i < 10; i++) held.push(await loadAndDispose('native'));
  const early = memory();
  for (let i = 0; i < 100; i++) held.push(await loadAndDispose('native'));
  const late = memory();
  // The weights of the 100 and their packings were more than 150 MB.
  assert.ok(late.resident - early.resident < 15e6, `resident: ${early.resident} to ${late.resident} bytes`);
  assert.equal(held.length, 110);
});

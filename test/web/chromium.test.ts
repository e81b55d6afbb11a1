/** WebAssembly in a headless Chromium computes Node's bits, with one thread and with two. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wasmIsas } from '../../src/backend/wasm/module.js';
import { WasmBackend } from '../../src/backend/wasm/wasm.js';
import { createWasmModule } from '../../src/node/wasm.js';
import { findChromium, fromPage } from './chromium.js';
import { bitsOf } from './same-bits.js';

const browser = findChromium();
const skip = 'missing' in browser ? browser.missing : false;

interface Found {
  readonly isa: 'simd128' | 'relaxed-simd';
  readonly threads: number;
}
interface Answer {
  readonly found: readonly Found[];
  readonly warnings: readonly string[];
  readonly error?: string;
}

const page = `<!doctype html><script type="module">
const worker = new Worker('/dist/test/web/chromium-worker.js', { type: 'module' });
const tell = (found) => fetch('/found', { method: 'POST', body: JSON.stringify(found) });
worker.onmessage = ({ data }) => tell(data);
worker.onerror = ({ message }) => tell({ error: message ?? 'the worker did not load' });
</script>`;

for (const isolated of [true, false]) {
  const where = isolated ? 'an isolated page' : 'a page that shares no memory';
  test(`the bits of ${where} are Node's`, { skip, timeout: 120_000 }, async () => {
    const { found, warnings, error } = (await fromPage(
      (browser as { command: string }).command,
      page,
      isolated,
    )) as Answer;
    assert.equal(error, undefined);
    assert.deepEqual(warnings, []);
    assert.deepEqual(
      found.map(({ threads }) => threads),
      isolated ? [1, 2] : [1, 1],
    );
    for (const { isa, threads, ...bits } of found) {
      // Node 20 lacks the browser's relaxed SIMD: then the browser must agree with itself.
      if (!wasmIsas().includes(isa)) {
        const { isa: _, threads: __, ...first } = found[0];
        assert.deepEqual(bits, first);
        continue;
      }
      const module = await createWasmModule({ isa, threads: 3 });
      assert.deepEqual(bits, await bitsOf(new WasmBackend(module)), `${isa}, ${threads} threads`);
    }
  });
}

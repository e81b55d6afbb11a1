/** The browser's entry works without Node, and the library's entry loads no more than it needs. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

interface Found {
  readonly losses: readonly number[];
  readonly generated: string;
  readonly step: number;
  readonly files: readonly string[];
}

test('ten steps are trained and text is generated where Node’s globals are gone', async () => {
  const worker = new Worker(new URL('./browser-worker.js', import.meta.url));
  const [found] = (await once(worker, 'message')) as [Found];
  await worker.terminate();
  assert.equal(found.losses.length, 10);
  assert.ok(found.losses[9] < found.losses[0] - 0.3, `${found.losses}`);
  assert.equal(found.step, 10);
  assert.ok(found.generated.length > 0);
  assert.ok(found.files.includes('config.json') && found.files.includes('metrics.jsonl'), `${found.files}`);
});

/** The modules that an entry loads before anything is called: the project's own files, and packages by name. */
function loadedBy(entry: string): { own: Set<string>; packages: Set<string> } {
  const own = new Set<string>();
  const packages = new Set<string>();
  const visit = (url: URL) => {
    if (own.has(url.href)) return;
    own.add(url.href);
    const text = readFileSync(fileURLToPath(url), 'utf8');
    for (const [, name] of text.matchAll(/^(?:import|export)\b[^;]*?from '([^']+)';/gm)) {
      if (name.startsWith('.')) visit(new URL(name, url));
      else packages.add(name);
    }
  };
  visit(new URL(`../../src/${entry}`, import.meta.url));
  return { own, packages };
}

test('each entry loads what it needs', () => {
  const library = loadedBy('index.js');
  const outside = ({ packages }: { packages: Set<string> }) =>
    [...packages].filter((name) => !name.startsWith('node:'));
  assert.deepEqual(outside(library), [], 'no parquet, no hub, no server');
  const browser = loadedBy('browser.js');
  assert.deepEqual([...browser.packages], []);
  const data = loadedBy('data/index.js');
  assert.deepEqual(outside(data), ['fzstd'], 'neither parquet nor the hub');
  // A count that grows by accident is seen here: raise it where the growth is meant.
  assert.ok(library.own.size <= 175, `${library.own.size} modules of 'loopnn'`);
  assert.ok(browser.own.size <= 134, `${browser.own.size} modules of 'loopnn/browser'`);
});

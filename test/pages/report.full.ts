/**
 * Reports and inspect's page in a browser: readable on a phone, nothing over anything else, both schemes, accessible.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import type { ComparisonDocument } from '../../src/experiments/comparison-folder.js';
import { renderHtml } from '../../src/experiments/document.js';
import { inspect } from '../../src/experiments/inspect.js';
import { renderInspection } from '../../src/experiments/inspect-page.js';
import { reportSections } from '../../src/experiments/report.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { findSuite } from '../../src/operations/suites.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { parseRunConfig } from '../../src/train/config.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-pages-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The address of a page in a file. */
function written(name: string, html: string): string {
  const file = join(folder, name);
  writeFileSync(file, html);
  return pathToFileURL(file).href;
}

/** The committed results with most models, drawn anew. */
function systemsReport(): string {
  const path = new URL('../../../docs/results/systems/results.json', import.meta.url);
  const { results, timings, missing } = JSON.parse(
    readFileSync(fileURLToPath(path), 'utf8'),
  ) as ComparisonDocument;
  const complete = results.map((result) => {
    const given = Object.entries(result.config.model).filter(([, value]) => value !== null);
    const config = parseRunConfig({ ...result.config, model: Object.fromEntries(given) }, 'systems');
    return { ...result, config };
  });
  const suite = findSuite('systems', 'mini');
  const facts = [['command', 'loopnn compare --suite systems --out DIR']] as const;
  const context = { suite, timings, facts, missing, tokenText: String };
  return renderHtml(suite.title, reportSections(complete, context));
}

async function inspection(): Promise<string> {
  const shape = { vocabSize: 257, blockSize: 64, nLayer: 1, nHead: 2, nEmbd: 16 };
  const runtime = new Runtime(new ReferenceBackend('f32'));
  const config = parseModelConfig({ ...shape, depth: 'loop', nLoop: 3 });
  const model = new GPT(config, runtime, { train: false });
  model.parameters.initialise(5);
  const text = 'the café of <loops>';
  return renderInspection(await inspect(model, new BytesTokenizer(), text, { top: 3, threshold: 0.9 }), text);
}

/** Pixels of the smallest text that is shown. */
function smallestText(page: Page): Promise<number> {
  return page.evaluate(`Math.min(...[...document.body.querySelectorAll('*')].flatMap((element) => {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '');
    if (!own || element.tagName === 'style' || element.getClientRects().length === 0) return [];
    const svg = element.closest('svg');
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    return scale * Number.parseFloat(getComputedStyle(element).fontSize);
  }))`);
}

/** Texts of plots that touch each other, or leave their picture. */
function collisions(page: Page): Promise<string[]> {
  return page.evaluate(`[...document.querySelectorAll('svg.plot')].flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([words, box], i) => {
      const outside = box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
      const touched = texts.slice(i + 1).filter(([, other]) => {
        const across = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const down = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        return across > 0 && down > box.height / 3; // a line's box is higher than its letters
      });
      return [...(outside ? [words + ' leaves the picture'] : []), ...touched.map(([other]) => words + ' | ' + other)];
    });
  })`);
}

test('a report of 17 models and inspect’s page, on a phone and on a desk', { skip }, async () => {
  const addresses = [
    written('report.html', systemsReport()),
    written('inspect.html', await inspection()),
  ] as const;
  const browser = await openBrowser();
  try {
    for (const address of addresses) {
      const { page, problems } = await openPage(browser, address);
      assert.deepEqual(await collisions(page), []);
      const [first, second] = await page.locator('figure.plot').all();
      if (first) {
        const [a, b] = [await first.boundingBox(), await second.boundingBox()];
        assert.equal(a!.y, b!.y, 'two columns');
      }
      await page.setViewportSize({ width: 390, height: 844 });
      await page.emulateMedia({ colorScheme: 'dark' });
      assert.equal(await overflow(page), 0);
      assert.ok((await smallestText(page)) >= 11, `${address}: ${await smallestText(page)} px`);
      assert.deepEqual(await collisions(page), []);
      assert.deepEqual(await accessibilityProblems(page), []);
      assert.deepEqual(problems, []);
      await page.context().close();
    }
    const { page } = await openPage(browser, addresses[1]);
    assert.deepEqual(await accessibilityProblems(page), [], 'light');
    assert.match((await page.locator('tbody tr').first().textContent())!, /^theh[✓✗]/);
    assert.equal(await page.locator('mark', { hasText: 'é' }).count(), 2, 'a character, not its bytes');
  } finally {
    await browser.close();
  }
});

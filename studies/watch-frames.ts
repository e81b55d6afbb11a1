/**
 * Measures how smooth the page of `loopnn watch` is, with runs of many points each in headless Chromium: the median
 * frame over five seconds of zooming and panning, and, with --minutes, the memory of the page while a run grows.
 *
 *     node dist/studies/watch-frames.js [--runs 20] [--points 10000] [--minutes 30]
 */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import { spread } from '../src/statistics.js';
import { parseRunConfig } from '../src/train/config.js';
import { watchRuns } from '../src/operations/watch.js';
import { openBrowser, openPage } from '../test/pages/page.js';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20' },
    points: { type: 'string', default: '10000' },
    minutes: { type: 'string', default: '0' },
  },
});
const [runs, points, minutes] = [values.runs, values.points, values.minutes].map(Number);

/** Updates a second of the run whose log grows. */
const GROWTH = 20;

/** Lines of a log like a training's: a loss that falls, and noise. */
function lines(run: number, from: number, to: number): string {
  let text = '';
  for (let step = from; step <= to; step++) {
    const noise = Math.sin(step * 12.9898 + run * 78.233) * 43758.5453;
    const loss = 1.2 + 0.05 * run + 3 * Math.exp(-step / 1500) + 0.15 * (noise - Math.floor(noise) - 0.5);
    const tokensSeen = step * 2048;
    const rest = { lr: 3e-3 * Math.exp(-step / 9000), gradNorm: 0.3 + Math.abs(Math.sin(step + run)) };
    const speed = { stepMs: 12.3, tokensPerSecond: 166_000 + 1000 * Math.sin(step) };
    text += `${JSON.stringify({ kind: 'step', step, loss, ...rest, ...speed, tokensSeen })}\n`;
    if (step % 250 > 0) continue;
    const evaluated = { trainLoss: loss, valLoss: loss + 0.05, best: true, memoryBytes: 2e8 };
    text += `${JSON.stringify({ kind: 'eval', step, tokensSeen, ...evaluated })}\n`;
  }
  return text;
}

async function median5s(page: Page): Promise<string> {
  const box = (await page.locator('.plot').first().boundingBox())!;
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.evaluate(`{
    globalThis.frames = [];
    let last = performance.now();
    requestAnimationFrame(function frame(now) {
      frames.push(now - last);
      last = now;
      requestAnimationFrame(frame);
    });
  }`);
  const end = performance.now() + 5000;
  await page.mouse.move(x, y);
  for (let i = 0; performance.now() < end; i++) {
    // In for a second, to and fro for another, out again.
    const phase = Math.floor(i / 40) % 4;
    if (phase === 0) await ctrlWheel(page, -20);
    else if (phase === 2) await ctrlWheel(page, 20);
    else await page.mouse.wheel(phase === 1 ? 12 : -12, 0);
    await wait(8);
  }
  const frames = await page.evaluate<number[]>('frames');
  const { median, max } = spread(frames);
  const late = [...frames].sort((a, b) => a - b)[Math.floor(0.95 * frames.length)];
  return `${frames.length} frames, median ${median.toFixed(1)} ms, 95 % within ${late.toFixed(1)} ms, longest ${max.toFixed(0)} ms`;
}

async function ctrlWheel(page: Page, by: number): Promise<void> {
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, by);
  await page.keyboard.up('Control');
}

/** MB of the page's JavaScript heap after a collection. */
async function heap(page: Page): Promise<string> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize, backingStorageSize = 0 } = (await session.send('Runtime.getHeapUsage')) as {
    usedSize: number;
    backingStorageSize?: number;
  };
  await session.detach();
  return `heap ${(usedSize / 1e6).toFixed(1)} MB, buffers ${(backingStorageSize / 1e6).toFixed(1)} MB`;
}

const folder = mkdtempSync(join(tmpdir(), 'loopnn-frames-'));
const config = parseRunConfig(
  { model: { nLayer: 1, nEmbd: 64, nHead: 4 }, train: { maxSteps: 10 * points } },
  '',
);
for (let run = 0; run < runs; run++) {
  const own = join(folder, `run-${String(run).padStart(2, '0')}`);
  mkdirSync(own);
  writeFileSync(
    join(own, 'config.json'),
    JSON.stringify({ ...config, train: { ...config.train, seed: run } }),
  );
  writeFileSync(join(own, 'metrics.jsonl'), lines(run, 1, points));
}
const server = await watchRuns({ runs: [folder] });
const browser = await openBrowser();
try {
  const opened = performance.now();
  const { page, problems } = await openPage(browser, server.url);
  await page.getByText(`${runs} runs below`).waitFor();
  console.log(`${runs} runs of ${points} points, ${availableParallelism()} processors`);
  console.log(`shown after ${((performance.now() - opened) / 1000).toFixed(1)} s; ${await heap(page)}`);
  await wait(2000);
  console.log(`pan and zoom: ${await median5s(page)}`);
  let step = points;
  const until = performance.now() + minutes * 60_000;
  let told = performance.now();
  while (performance.now() < until) {
    await wait(1000);
    appendFileSync(join(folder, 'run-00', 'metrics.jsonl'), lines(0, step + 1, step + GROWTH));
    step += GROWTH;
    if (performance.now() - told < 120_000 && performance.now() < until) continue;
    told = performance.now();
    const resident = process.memoryUsage.rss() / 1e6;
    console.log(`step ${step}: page ${await heap(page)}; server resident ${resident.toFixed(0)} MB`);
  }
  for (const problem of problems) console.log(`problem: ${problem}`);
} finally {
  await browser.close();
  await server.close();
  rmSync(folder, { recursive: true });
}

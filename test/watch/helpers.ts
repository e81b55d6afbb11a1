/** Runs as files, without a training. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { parseRunConfig } from '../../src/train/config.js';

/** A folder of its own, gone after the tests. */
export function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-watch-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Log lines of updates `from` to `to`; `shift` is added to their losses. */
export function updates(from: number, to: number, shift = 0): string {
  return range(from, to)
    .map((step) => {
      const numbers = { loss: shift + 1 / step, lr: 1e-3, gradNorm: 0.5, stepMs: 10, tokensPerSecond: 6400 };
      return `${JSON.stringify({ kind: 'step', step, ...numbers, tokensSeen: 64 * step })}\n`;
    })
    .join('');
}

/** The log line of an evaluation. */
export function evaluation(step: number, more: object = {}): string {
  const losses = { trainLoss: 2, valLoss: 2.5, tokensSeen: 64 * step, best: true };
  return `${JSON.stringify({ kind: 'eval', step, ...losses, ...more })}\n`;
}

/** Writes a run's folder; returns the path of its log. */
export function writeRun(folder: string, log: string, train: object = {}): string {
  mkdirSync(folder, { recursive: true });
  const model = { nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 16, vocabSize: 257, depth: 'loop', nLoop: 2 };
  const config = parseRunConfig({ model, train: { maxSteps: 100, ...train } }, 'test');
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'metrics.jsonl'), log);
  return join(folder, 'metrics.jsonl');
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

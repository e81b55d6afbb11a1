/** Finished runs as a suite, for the same page as a comparison's: runs that differ by the seed alone are one model. */
import { grouped } from '../printable.js';
import { recipeFacts } from './report-facts.js';
import type { RunResult } from './result.js';
import type { Suite, SuiteModel } from './suites.js';

/** A run's result, and the folder that it is named by. */
export interface FoundResult {
  readonly run: string;
  readonly result: RunResult;
}

/**
 * The suite that the runs make up, and their results under its names. The first, or `baseline`, is what all others are
 * set against.
 */
export function suiteOfRuns(
  found: readonly FoundResult[],
  title: string,
  baseline = found[0].run,
): { suite: Suite; results: RunResult[] } {
  const byConfig = new Map<string, FoundResult[]>();
  for (const entry of found) {
    const { model, train } = entry.result.config;
    const key = JSON.stringify([model, { ...train, seed: 0 }]);
    byConfig.set(key, [...(byConfig.get(key) ?? []), entry]);
  }
  const models: SuiteModel[] = [];
  const results: RunResult[] = [];
  let against = '';
  for (const entries of byConfig.values()) {
    const [{ run, result }] = entries;
    const taken = models.some(({ label }) => label === result.label);
    const label = taken ? run : result.label;
    models.push({ name: run, label, model: {} });
    for (const entry of entries) {
      results.push({ ...entry.result, name: run, label });
      if (entry.run === baseline) against = run;
    }
  }
  const others = models.flatMap(({ name }) => (name === against ? [] : [name]));
  const suite: Suite = {
    ...{ name: 'runs', where: 'runs', scale: 'mini', title, models },
    groups: [{ title: others.length === 0 ? 'The run' : 'Side by side', baseline: against, others }],
    law: [],
    ...{ data: null, model: {}, train: {}, budget: null, grid: {}, seeds: 1, prompt: '' },
  };
  return { suite, results };
}

/** The conditions of the runs' numbers; and, in sentences, why they are not comparable. */
export function factsOfRuns(results: readonly RunResult[]): {
  facts: [name: string, value: string][];
  warnings: string[];
} {
  const distinct = (value: (result: RunResult) => string) => [...new Set(results.map(value))];
  // `train` names the folder too, a comparison only what is in it.
  const texts = distinct(({ heldOut }) => {
    const text = heldOut?.text ?? 'unknown';
    return /\d+ and \d+ tokens, tokenizer .*$/.exec(text)?.[0] ?? text;
  });
  const tokens = distinct(({ heldOut }) => (heldOut ? grouped(heldOut.tokens) : 'all'));
  const warnings: string[] = [];
  if (texts.length > 1) {
    warnings.push(`the runs’ losses are of different texts, and not to be compared: ${texts.join('; ')}`);
  } else if (tokens.length > 1) {
    warnings.push(`the runs’ losses are of different parts of the text: ${tokens.join(', ')} tokens`);
  }
  const training = distinct(({ config: { train }, tokensSeen }) => {
    return `${grouped(tokensSeen)} tokens in ${grouped(train.maxSteps)} steps, lr ${train.lr}`;
  });
  const machines = (of: 'machine' | 'backend' | 'commit') =>
    distinct(({ provenance }) => provenance[of]).join('; ');
  const facts: [string, string][] = [
    ['text', texts.join('; ')],
    ['training', training.join('; ')],
    ...recipeFacts(results),
    [
      'val loss',
      `nats per token on the first ${tokens.join(', ')} held-out tokens; curves use fixed batches`,
    ],
    ['step time', 'of the trainings themselves, beside whatever else ran'],
    [
      'FLOPs',
      'blocks, attention and the heads that are trained, forward and backward; no token halting early',
    ],
    ['spread', '± one standard deviation over seeds'],
    ['machine', machines('machine')],
    ['backend', machines('backend')],
    ['commit', machines('commit')],
  ];
  return { facts, warnings };
}

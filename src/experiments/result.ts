/** The result of each finished run, which a comparison keeps in the run's folder. */
import { CheckpointError } from '../errors.js';
import { forwardFlopsPerToken, type ModelCost } from '../models/cost.js';
import { exitCount } from '../models/config.js';
import { parseRunConfig, type RunConfig } from '../train/config.js';
import { meanLoops } from '../train/loops.js';
import { readJSON } from '../train/json.js';
import type { Store } from '../platform.js';
import type { Analysis } from './analysis.js';

/** A point of a learning curve. */
export interface CurvePoint {
  readonly step: number;
  readonly tokensSeen: number;
  readonly trainLoss: number;
  readonly valLoss: number;
}

/** The conditions of a measurement. */
export interface Provenance {
  readonly machine: string;
  readonly backend: string;
  readonly commit: string;
}

export interface RunResult {
  /** The suite's name of the model. */
  readonly name: string;
  readonly label: string;
  readonly seed: number;
  readonly config: RunConfig;
  readonly cost: ModelCost;
  readonly tokensSeen: number;
  /** Nats per token on fixed batches of the training text, at the end. */
  readonly trainLoss: number;
  /** Nats per token on the whole held-out text, at the end. */
  readonly valLoss: number;
  readonly bpb: number | null;
  /** Mean steps per token on the held-out text; null if none halts early. */
  readonly meanSteps: number | null;
  /** Median step of the training itself, which other work on the machine may have slowed. */
  readonly stepMs: number;
  readonly curve: readonly CurvePoint[];
  readonly analysis: Analysis;
  readonly sample: string;
  /** Where it was trained and scored: machine, backend, commit. */
  readonly provenance: Provenance;
  /**
   * What `valLoss` was measured on: the text in words, and how many tokens of it; absent in results of earlier
   * versions.
   */
  readonly heldOut?: { readonly text: string; readonly tokens: number };
}

export const RESULT_FILE = 'result.json';

export async function hasResult(store: Store): Promise<boolean> {
  return store.has(RESULT_FILE);
}

/** Reads a run's result. Throws CheckpointError if the file is damaged. */
export async function readResult(store: Store, name: string): Promise<RunResult> {
  const hint = `delete ${name}/${RESULT_FILE} to score the run again`;
  const value = (await readJSON(store, RESULT_FILE, hint)) as Partial<RunResult>;
  const whole =
    Number.isFinite(value.valLoss) && Array.isArray(value.curve) && value.config && value.analysis;
  if (!whole) throw new CheckpointError(`${name}/${RESULT_FILE}`, 'must be a whole result', undefined, hint);
  // What an earlier version wrote lacks the fields that are new.
  return { ...(value as RunResult), config: parseRunConfig(value.config, `${name}/${RESULT_FILE}: config`) };
}

export async function writeResult(store: Store, result: RunResult): Promise<void> {
  await store.replace(RESULT_FILE, `${JSON.stringify(result, null, 2)}\n`);
}

/**
 * FLOPs of training on a token, forward and backward, where no token halts early: the mean of the first `updates`
 * updates, by default all.
 */
export function trainingFlopsPerToken({ model, train }: RunConfig, updates = train.maxSteps): number {
  const { exitLoss, loopSampling, loopSchedule } = train;
  const constant = loopSampling === 'fixed' && loopSchedule === 'constant';
  const loops = constant ? undefined : meanLoops(train, model.nLoop, updates);
  const exits = loopSchedule === 'constant' ? exitCount(model) : loops!;
  const everyExit = exitLoss === 'uniform' || exitLoss === 'linear';
  const heads = everyExit || (exitLoss === 'mixed' && model.exitHead === 'separate') ? exits : 1;
  return 3 * forwardFlopsPerToken(model, model.blockSize, loops, heads);
}

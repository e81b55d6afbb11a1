/** What a comparison keeps of each finished run, in the run's own folder. */
import { forwardFlopsPerToken, type ModelCost } from '../models/cost.js';
import { applicationCount } from '../models/config.js';
import type { RunConfig } from '../train/config.js';
import type { Store } from '../train/store.js';
import type { Analysis } from './analysis.js';

/** A point of a learning curve. */
export interface CurvePoint {
  readonly step: number;
  readonly tokensSeen: number;
  readonly trainLoss: number;
  readonly valLoss: number;
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
  /** Mean steps a token on the held-out text; null where none halts early. */
  readonly meanSteps: number | null;
  /** Median step of the training itself, which other work on the machine may have slowed. */
  readonly stepMs: number;
  readonly curve: readonly CurvePoint[];
  readonly analysis: Analysis;
  readonly sample: string;
}

export const RESULT_FILE = 'result.json';

export async function hasResult(store: Store): Promise<boolean> {
  return (await store.list('.')).includes(RESULT_FILE);
}

export async function readResult(store: Store): Promise<RunResult> {
  return JSON.parse(new TextDecoder().decode(await store.read(RESULT_FILE))) as RunResult;
}

export async function writeResult(store: Store, result: RunResult): Promise<void> {
  await store.replace(RESULT_FILE, `${JSON.stringify(result, null, 2)}\n`);
}

/** Loops of an update, on average. */
function meanLoops({ model, train }: RunConfig): number | undefined {
  return train.loopSampling === 'uniform' ? (model.nLoop + 1) / 2 : undefined;
}

/** FLOPs of training on a token, forward and backward, where no token halts early. */
export function trainingFlopsPerToken(config: RunConfig): number {
  return 3 * forwardFlopsPerToken(config.model, config.model.blockSize, meanLoops(config));
}

/** Block applications of a training step, on average. */
export function trainingApplications(config: RunConfig): number {
  return applicationCount(config.model, meanLoops(config));
}

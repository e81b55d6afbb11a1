/** A run that is watched: its log, its configuration, its state, as its folder tells them at each look. */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { trainingFlopsPerToken } from '../experiments/result.js';
import { parseJSON } from '../formats/json.js';
import { modelCost } from '../models/cost.js';
import { isHeld } from '../node/folder-lock.js';
import { parseRunConfig } from '../train/config.js';
import { METRICS_FILE } from '../train/metrics.js';
import { CONFIG_FILE } from '../train/run.js';
import { readSmall, withFile } from './files.js';
import type { RunInfo, RunState } from './messages.js';
import { Tail } from './tail.js';

const MOST_BYTES = 4 << 20;

type Facts = Pick<RunInfo, 'model' | 'train' | 'maxSteps' | 'parameters' | 'flopsPerToken'>;
type Outcome = Pick<RunInfo, 'failure' | 'result'>;

export class WatchedRun {
  readonly tail: Tail;
  /** Null before the first look. */
  info: RunInfo | null = null;
  private facts: { readonly text: string; readonly facts: Facts } | null = null;

  constructor(
    readonly id: string,
    private readonly name: string,
    /** Its folder, no part of which is a link. */
    private readonly folder: string,
  ) {
    this.tail = new Tail(join(folder, METRICS_FILE));
  }

  /** Reads what is new; false where the run is gone. */
  async look(signal?: AbortSignal): Promise<boolean> {
    // A link may have taken a folder's place.
    if ((await realpath(this.folder).catch(() => null)) !== this.folder) return false;
    const config = await readSmall(join(this.folder, CONFIG_FILE), MOST_BYTES);
    const text = config?.toString('utf8') ?? '';
    if (this.facts?.text !== text) {
      const facts = factsOf(text);
      if (!facts) return this.info !== null && config !== null; // being replaced, or no run's
      this.facts = { text, facts };
    }
    const { facts } = this.facts;
    if ((await this.tail.read(signal)) === null) return false;
    const { log } = this.tail;
    const outcome = await this.outcome();
    const running = (await this.isLocked()) && (await isHeld(this.folder).catch(() => false));
    const done = facts.maxSteps !== null && log.step >= facts.maxSteps;
    const ended: RunState = outcome.failure !== undefined ? 'failed' : done ? 'finished' : 'stopped';
    this.info = {
      ...{ id: this.id, name: this.name, state: running ? 'running' : ended },
      ...{ step: log.step, stepsPerRow: log.stepsPerRow, damaged: log.damaged },
      ...facts,
      ...outcome,
    };
    return true;
  }

  /** Whether there is a lock that is a plain file. */
  private async isLocked(): Promise<boolean> {
    return (await withFile(join(this.folder, 'lock'), async () => true)) ?? false;
  }

  /** What was kept at its end. */
  private async outcome(): Promise<Outcome> {
    const failed = objectOf(await readSmall(join(this.folder, 'failed.json'), MOST_BYTES));
    if (typeof failed?.message === 'string') return { failure: failed.message.slice(0, 1000) };
    const result = objectOf(await readSmall(join(this.folder, 'result.json'), MOST_BYTES));
    if (typeof result?.valLoss !== 'number') return {};
    const number = (value: unknown) => (typeof value === 'number' ? value : null);
    const told = (result.provenance ?? {}) as Record<string, unknown>;
    const text = (value: unknown) => (typeof value === 'string' ? value : 'unknown');
    const { valLoss } = result;
    const found = { valLoss, bpb: number(result.bpb), meanSteps: number(result.meanSteps) };
    const { machine, backend, commit } = told;
    return { result: { ...found, machine: text(machine), backend: text(backend), commit: text(commit) } };
  }
}

/** What a configuration says; null where it is none. Of other versions', which this one can not read, the fields alone. */
function factsOf(text: string): Facts | null {
  const found = objectOf(text);
  const [model, train] = [found?.model, found?.train].map(objectIn);
  if (!model || !train) return null;
  const maxSteps = typeof train.maxSteps === 'number' ? train.maxSteps : null;
  try {
    const config = parseRunConfig(found, CONFIG_FILE);
    const parameters = modelCost(config.model).parameters.total;
    return { model, train, maxSteps, parameters, flopsPerToken: trainingFlopsPerToken(config) };
  } catch {
    return { model, train, maxSteps, parameters: null, flopsPerToken: null };
  }
}

function objectOf(content: Buffer | string | null): Record<string, unknown> | null {
  if (content === null) return null;
  try {
    return objectIn(parseJSON(content.toString()));
  } catch {
    return null; // half-written by another tool, or damaged
  }
}

function objectIn(value: unknown): Record<string, unknown> | null {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : null;
}

/** A run that is watched: its log, its configuration, its state, as its folder tells them at each look. */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { RESULT_FILE, trainingFlopsPerToken } from '../experiments/result.js';
import { tokensPerStep } from '../experiments/suites.js';
import { parseJSON } from '../formats/json.js';
import { modelCost } from '../models/cost.js';
import { isHeld } from '../node/folder-lock.js';
import { parseRunConfig, type RunConfig } from '../train/config.js';
import { loopChanges } from '../train/loops.js';
import { METRICS_FILE } from '../train/metrics.js';
import { CONFIG_FILE } from '../train/run.js';
import { SmallFile, withFile } from './files.js';
import type { RunInfo, RunState } from './messages.js';
import { Tail } from './tail.js';

/** A log that has grown in this time is being written. */
const RECENT_MS = 15_000;

type Facts = Pick<RunInfo, 'model' | 'train' | 'maxSteps' | 'parameters' | 'flopsPerToken' | 'flopsUntil'>;

export class WatchedRun {
  readonly tail: Tail;
  /** Null before the first look. */
  info: RunInfo | null = null;
  private grewAt = Number.NEGATIVE_INFINITY;
  private readonly config: SmallFile<Facts>;
  private readonly failed: SmallFile<string>;
  private readonly result: SmallFile<RunInfo['result']>;

  constructor(
    readonly id: string,
    private readonly name: string,
    /** Its folder, no part of which is a link. */
    readonly folder: string,
  ) {
    this.tail = new Tail(join(folder, METRICS_FILE));
    this.config = new SmallFile(join(folder, CONFIG_FILE), factsOf);
    this.failed = new SmallFile(join(folder, 'failed.json'), failureOf);
    this.result = new SmallFile(join(folder, RESULT_FILE), resultOf);
  }

  /** Reads what is new; false where the run is gone. */
  async look(signal?: AbortSignal): Promise<boolean> {
    // A link may have taken a folder's place.
    if ((await realpath(this.folder).catch(() => null)) !== this.folder) return false;
    const facts = await this.config.read();
    const grew = await this.tail.read(signal);
    if (facts === undefined || grew === null) return false;
    if (grew && this.info) this.grewAt = performance.now();
    if (facts === null) return this.info !== null; // damaged for the moment, or no run's
    const [failure, result] = [await this.failed.read(), await this.result.read()];
    const { log } = this.tail;
    const done = facts.maxSteps !== null && log.step >= facts.maxSteps;
    const ended: RunState = failure ? 'failed' : done ? 'finished' : 'stopped';
    this.info = {
      ...{ id: this.id, name: this.name, state: (await this.isHeld()) ? 'running' : ended },
      ...{ step: log.step, stepsPerRow: log.stepsPerRow, damaged: log.damaged },
      ...facts,
      ...(failure ? { failure } : {}),
      ...(result ? { result } : {}),
    };
    return true;
  }

  /**
   * Whether a process holds its folder; a lock that is no plain file is none. Where another machine's clock makes a
   * lock look
   * old, a log that grows tells.
   */
  private async isHeld(): Promise<boolean> {
    if ((await withFile(join(this.folder, 'lock'), async () => true)) === null) return false;
    return performance.now() - this.grewAt < RECENT_MS || isHeld(this.folder).catch(() => false);
  }
}

/** Why it failed. */
function failureOf(text: string): string | null {
  const message = objectOf(text)?.message;
  return typeof message === 'string' ? message.slice(0, 1000) : null;
}

/** What was kept at its end. */
function resultOf(text: string): RunInfo['result'] | null {
  const result = objectOf(text);
  if (typeof result?.valLoss !== 'number') return null;
  const number = (value: unknown) => (typeof value === 'number' ? value : null);
  const named = (value: unknown) => (typeof value === 'string' ? value : 'unknown');
  const { machine, backend, commit } = objectIn(result.provenance) ?? {};
  return {
    ...{ valLoss: result.valLoss, bpb: number(result.bpb), meanSteps: number(result.meanSteps) },
    ...{ machine: named(machine), backend: named(backend), commit: named(commit) },
  };
}

/**
 * What a configuration says; null if it is none. Of other versions', which this one can not read, the fields alone.
 */
function factsOf(text: string): Facts | null {
  const found = objectOf(text);
  const [model, train] = [found?.model, found?.train].map(objectIn);
  if (!model || !train) return null;
  const maxSteps = typeof train.maxSteps === 'number' ? train.maxSteps : null;
  try {
    const config = parseRunConfig(found, CONFIG_FILE);
    const parameters = modelCost(config.model).parameters.total;
    const flopsPerToken = trainingFlopsPerToken(config);
    return { model, train, maxSteps, parameters, flopsPerToken, ...flopsOfSchedule(config) };
  } catch {
    return { model, train, maxSteps, parameters: null, flopsPerToken: null };
  }
}

function flopsOfSchedule(config: RunConfig): Pick<Facts, 'flopsUntil'> {
  const { model, train } = config;
  if (train.loopSchedule === 'constant') return {};
  const steps = [...loopChanges(train, model.nLoop), train.maxSteps];
  const flops = (step: number) => step * tokensPerStep(config) * trainingFlopsPerToken(config, step);
  return { flopsUntil: steps.map((step) => ({ step, flops: flops(step) })) };
}

function objectOf(content: string): Record<string, unknown> | null {
  try {
    return objectIn(parseJSON(content));
  } catch {
    return null; // half-written by another tool, or damaged
  }
}

function objectIn(value: unknown): Record<string, unknown> | null {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : null;
}

/**
 * A run's log, `metrics.jsonl`: one update or evaluation per line, in the order of steps. It is a record for people and
 * plots. Training does not depend on it, so damaged lines are skipped and counted. It must not import the trainer.
 */
import { parseJSON } from '../formats/json.js';
import type { Store } from '../platform.js';
import type { EvalEvent, StepEvent } from './events.js';

export const METRICS_FILE = 'metrics.jsonl';

export type LoggedEvent = StepEvent | EvalEvent;

/** The end of a log's valid part: an interrupted run logs again what it logged beyond its checkpoint. */
export interface LogEnd {
  /** Updates made. */
  readonly step: number;
  /** Step of the latest evaluation; −1 before the first. */
  readonly evaluatedAt: number;
}

/** The events of a log, and its gaps. */
export interface Metrics {
  readonly events: readonly LoggedEvent[];
  /** Lines without an event, or with a repeated one; a last line cut off by a crash is not counted. */
  readonly damaged: number;
  /** Updates that no line reports. */
  readonly missing: number;
}

export const EMPTY_LOG: Metrics = { events: [], damaged: 0, missing: 0 };

/** Reads a log up to `end`, by default its own end. A run without a log has an empty one. */
export async function readMetrics(store: Store, end?: LogEnd): Promise<Metrics> {
  const exists = await store.has(METRICS_FILE);
  const lines = exists ? new TextDecoder().decode(await store.read(METRICS_FILE)).split('\n') : [''];
  lines.pop(); // after the last line break there is nothing, or a line that was cut off
  const events: LoggedEvent[] = [];
  const reached = { step: 0, eval: -1 };
  let damaged = 0;
  let missing = 0;
  for (const line of lines) {
    const event = parseEvent(line);
    if (!event || event.step <= reached[event.kind]) {
      damaged++;
      continue;
    }
    if (end && event.step > (event.kind === 'step' ? end.step : end.evaluatedAt)) continue;
    if (event.kind === 'step') missing += event.step - reached.step - 1;
    reached[event.kind] = event.step;
    events.push(event);
  }
  return { events, damaged, missing: missing + Math.max(0, (end?.step ?? 0) - reached.step) };
}

/** Rewrites a log's file with its events only. */
export async function writeMetrics(store: Store, { events }: Metrics): Promise<void> {
  await store.replace(METRICS_FILE, events.map(lineOf).join(''));
}

export function appendMetrics(store: Store, event: LoggedEvent): Promise<void> {
  return store.append(METRICS_FILE, lineOf(event));
}

/** A message on the gaps of a log; null if it is complete. */
export function gapsOf({ damaged, missing }: Metrics): string | null {
  const counted = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
  const parts = [
    ...(damaged > 0 ? [`left out ${counted(damaged, 'damaged or repeated line')}`] : []),
    ...(missing > 0 ? [`${counted(missing, 'update')} ${missing === 1 ? 'is' : 'are'} missing`] : []),
  ];
  return parts.length === 0 ? null : `${METRICS_FILE}: ${parts.join('; ')}: curves have gaps there`;
}

function lineOf(event: LoggedEvent): string {
  return `${JSON.stringify(event)}\n`;
}

/** The required numbers of each kind of event. */
const NUMBERS = {
  step: ['loss', 'lr', 'gradNorm', 'stepMs', 'tokensSeen'],
  eval: ['trainLoss', 'valLoss', 'tokensSeen'],
} as const;

/** Optional parts of an event: a function that returns the usable part of a value, or undefined. */
const PARTS: Readonly<Record<string, (value: unknown) => unknown>> = {
  tokensPerSecond: numberIn,
  waitMs: numberIn,
  loops: numberIn,
  plainValLoss: numberIn,
  auxLoss: numberIn,
  meanSteps: numberIn,
  memoryBytes: numberIn,
  sample: (value) => (typeof value === 'string' ? value : undefined),
  lossByLoops: (value) => listIn(value)?.filter((loss) => hasNumbers(loss, ['loops', 'valLoss'])),
  gates: summariesIn,
  loopParts: summariesIn,
  stateRms: (value) => listIn(value)?.filter((rms) => typeof rms === 'number'),
};
const SUMMARY = ['mean', 'std', 'min', 'max'];

function summariesIn(value: unknown): unknown {
  const summaries = Object.values(value ?? {}).map(listIn);
  const whole = summaries.every((loops) => loops?.every((loop) => hasNumbers(loop, SUMMARY)));
  return typeof value === 'object' && whole ? (value ?? undefined) : undefined;
}

/** The event of a line, without invalid parts; null if it is no event. */
export function parseEvent(line: string): LoggedEvent | null {
  let event: Record<string, unknown> | null;
  try {
    event = parseJSON(line) as Record<string, unknown> | null;
  } catch {
    return null;
  }
  const kind = event?.kind;
  if (!event || (kind !== 'step' && kind !== 'eval')) return null;
  if (!Number.isSafeInteger(event.step) || Number(event.step) < 0) return null;
  if (!hasNumbers(event, NUMBERS[kind])) return null;
  for (const [name, usable] of Object.entries(PARTS)) {
    if (!Object.hasOwn(event, name)) continue;
    event[name] = usable(event[name]);
    if (event[name] === undefined) delete event[name];
  }
  return event as unknown as LoggedEvent;
}

function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function listIn(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

function hasNumbers(value: unknown, names: readonly string[]): boolean {
  const fields = value as Readonly<Record<string, unknown>> | null;
  return typeof fields === 'object' && names.every((name) => typeof fields?.[name] === 'number');
}

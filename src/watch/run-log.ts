/**
 * A run's log as columns, bounded: beyond so many rows, neighbours are merged into their means, so that a page stays
 * fluid and
 * memory flat however long a run is. Which lines count, `train/metrics.ts` says.
 */
import type { GateSummary } from '../evaluate/gates.js';
import type { EvalEvent, StepEvent } from '../train/events.js';
import { parseEvent } from '../train/metrics.js';
import { COLUMNS, type Column, type Columns, type Evaluated } from './messages.js';

/** Rows, and evaluations, that are kept at most. */
const MOST_ROWS = 16_384;
const MOST_EVALS = 2048;
/** A longer line is no event. */
const LONGEST_LINE = 1 << 20;

/** Of an optional field that is a list; and characters of a sample. */
const MOST_ITEMS = 256;
const LONGEST_SAMPLE = 4000;

type Row = Record<Column, number>;

/** Columns of a group's last update; of all others the mean counts. */
const LAST: readonly Column[] = ['step', 'tokens', 'ms'];

export class RunLog {
  readonly columns: Record<Column, number[]> = emptyColumns();
  evals: Evaluated[] = [];
  /** Counts how often rows that were there have changed; then all are to be read anew. */
  generation = 0;
  evalGeneration = 0;
  /** Updates that a row stands for. */
  stepsPerRow = 1;
  damaged = 0;
  private reached = { step: 0, eval: -1 };
  private ms = 0;
  private group: Row[] = [];
  private rest = '';
  private readonly decoder = new TextDecoder();

  /** Updates made, as far as it tells. */
  get step(): number {
    return Math.max(this.reached.step, this.reached.eval);
  }

  get rows(): number {
    return this.columns.step.length;
  }

  /** Reads on; what follows the last line break waits for the rest of its line. */
  take(bytes: Uint8Array): void {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split('\n');
    this.rest = lines.pop()!;
    if (this.rest.length > LONGEST_LINE) this.rest = '{'; // is no event, whatever follows
    for (const line of lines) this.line(line);
  }

  private line(line: string): void {
    const event = parseEvent(line);
    if (!event || event.step <= this.reached[event.kind]) {
      this.damaged++;
      return;
    }
    this.reached[event.kind] = event.step;
    if (event.kind === 'step') this.update(event);
    else this.evaluation(event);
  }

  private update(event: StepEvent): void {
    const { step, tokensSeen: tokens, loss, lr, gradNorm, stepMs, tokensPerSecond } = event;
    this.ms += stepMs;
    const others = { tokensPerSecond: orNaN(tokensPerSecond), meanSteps: orNaN(event.meanSteps) };
    this.group.push({ step, tokens, ms: this.ms, loss, lr, gradNorm, ...others });
    if (this.group.length < this.stepsPerRow) return;
    const { group } = this;
    this.group = [];
    for (const name of COLUMNS) {
      this.columns[name].push(
        merged(
          name,
          group.map((row) => row[name]),
        ),
      );
    }
    if (this.rows >= MOST_ROWS) this.halve();
  }

  private halve(): void {
    for (const name of COLUMNS) {
      const values = this.columns[name];
      for (let i = 0; i < values.length / 2; i++) values[i] = merged(name, values.slice(2 * i, 2 * i + 2));
      values.length /= 2;
    }
    this.stepsPerRow *= 2;
    this.generation++;
  }

  private evaluation(event: EvalEvent): void {
    this.evals.push(evaluated(event, this.ms));
    if (this.evals.length < MOST_EVALS) return;
    this.evals = this.evals.filter((_, i) => i % 2 === 1);
    this.evalGeneration++;
  }
}

/** A part of the columns, with numbers of six digits where more would not show. */
export function columnsFrom(columns: RunLog['columns'], from: number, to: number): Columns {
  const part = (name: Column) =>
    columns[name].slice(from, to).map((value) => {
      if (Number.isNaN(value)) return null;
      return Number.isInteger(value) ? value : Number(value.toPrecision(name === 'ms' ? 9 : 6));
    });
  return Object.fromEntries(COLUMNS.map((name) => [name, part(name)])) as unknown as Columns;
}

function merged(name: Column, values: readonly number[]): number {
  if (values.length === 1 || LAST.includes(name)) return values[values.length - 1];
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function orNaN(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN;
}

/** An evaluation as a page is told it, bounded: anybody can have written the log. */
function evaluated(event: EvalEvent, ms: number): Evaluated {
  const { step, trainLoss, valLoss, tokensSeen: tokens, best, meanSteps, memoryBytes } = event;
  const losses = event.lossByLoops?.slice(0, MOST_ITEMS) ?? [];
  const bounded = <T>(named: EvalEvent['gates'], of: (summary: GateSummary) => T) =>
    Object.entries(named ?? {})
      .slice(0, MOST_ITEMS)
      .map(([name, loops]) => [name, loops.slice(0, MOST_ITEMS).map(of)]);
  const means = bounded(event.gates, ({ mean }) => ({ mean }));
  const parts = bounded(event.loopParts, ({ mean, min, max }) => ({ mean, min, max }));
  const rms = event.stateRms?.slice(0, MOST_ITEMS) ?? [];
  return {
    ...{ step, trainLoss, valLoss, tokens, ms, best },
    ...(meanSteps === undefined ? {} : { meanSteps }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(event.loops === undefined ? {} : { loops: event.loops }),
    ...(event.plainValLoss === undefined ? {} : { plainValLoss: event.plainValLoss }),
    ...(losses.length > 0 ? { lossByLoops: losses } : {}),
    ...(means.length > 0 ? { gates: Object.fromEntries(means) } : {}),
    ...(parts.length > 0 ? { loopParts: Object.fromEntries(parts) } : {}),
    ...(rms.length > 0 ? { stateRms: rms } : {}),
    ...(event.sample === undefined ? {} : { sample: event.sample.slice(0, LONGEST_SAMPLE) }),
  };
}

function emptyColumns(): Record<Column, number[]> {
  return Object.fromEntries(COLUMNS.map((name) => [name, [] as number[]])) as Record<Column, number[]>;
}

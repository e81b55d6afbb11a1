/** All runs that the server has sent, with derived data. */
import {
  COLUMNS,
  type Column,
  type Columns,
  type Evaluated,
  type Message,
  type RunInfo,
} from '../../watch/messages.js';
import { Growing } from './growing.js';

/** The axis of the curves. */
export const AXES = ['tokens', 'steps', 'flops', 'time'] as const;
export type Axis = (typeof AXES)[number];

/** Rows at the end of a run whose mean speed predicts how long the rest takes. */
const RECENT_ROWS = 50;

export class Run {
  readonly columns = Object.fromEntries(COLUMNS.map((name) => [name, new Growing()])) as Record<
    Column,
    Growing
  >;
  evals: Evaluated[] = [];
  /** Counts the changes of the data that is drawn. */
  version = 0;
  /** Counts how often existing rows have changed. */
  private generation = 0;
  private readonly kept = new Map<string, { generation: number; values: Growing }>();

  constructor(
    public info: RunInfo,
    /** Its place in the order of arrival, which determines its colour. */
    readonly place: number,
  ) {}

  takeRows(from: number, columns: Columns): void {
    if (from < this.columns.step.length) this.generation++;
    for (const name of COLUMNS) this.columns[name].set(from, columns[name]);
    this.version++;
  }

  takeEvals(from: number, evals: readonly Evaluated[]): void {
    this.evals = [...this.evals.slice(0, from), ...evals];
    this.version++;
  }

  /** The x of each row on an axis. */
  x(axis: Axis): Float64Array {
    const { columns, info } = this;
    if (axis === 'steps') return columns.step.values;
    if (axis === 'tokens') return columns.tokens.values;
    if (axis === 'time') return this.derived('time', columns.ms, (ms) => ms / MINUTE);
    if (info.flopsUntil) return this.derived('flops', columns.step, (step) => this.flops(step));
    const each = info.flopsPerToken ?? Number.NaN;
    return this.derived('flops', columns.tokens, (tokens) => tokens * each);
  }

  /** FLOPs of the first `step` updates, if a schedule changes the loops; between changes all updates take as many. */
  private flops(step: number): number {
    const until = this.info.flopsUntil ?? [];
    const next = until.findIndex((at) => at.step >= step);
    const [from, to] = [until[next - 1] ?? { step: 0, flops: 0 }, until[next] ?? until[until.length - 1]];
    return from.flops + ((step - from.step) * (to.flops - from.flops)) / (to.step - from.step);
  }

  /** The x of each evaluation on an axis. */
  evalX(axis: Axis): Float64Array {
    if (axis === 'flops' && this.info.flopsUntil) {
      return Float64Array.from(this.evals, ({ step }) => this.flops(step));
    }
    const each = this.info.flopsPerToken ?? Number.NaN;
    const place = { steps: 'step', tokens: 'tokens', flops: 'tokens', time: 'ms' } as const;
    const factor = { steps: 1, tokens: 1, flops: each, time: 1 / MINUTE }[axis];
    return Float64Array.from(this.evals, (found) => found[place[axis]] * factor);
  }

  /**
   * A column smoothed by an exponential moving average: m ← w m + (1 − w) y, divided by the sum of the weights so far,
   * so that its beginning is not biased towards 0.
   */
  smoothed(name: Column, weight: number): Float64Array {
    if (weight === 0) return this.columns[name].values;
    let [mean, weights] = [0, 0];
    const step = (y: number) => {
      if (Number.isNaN(y)) return Number.NaN;
      mean = weight * mean + (1 - weight) * y;
      weights = weight * weights + (1 - weight);
      return mean / weights;
    };
    return this.derived(`${name} ${weight}`, this.columns[name], step, false);
  }

  /** Seconds that the rest takes at the current speed; null if the run is not running, or they are unknown. */
  get secondsLeft(): number | null {
    const { info, columns } = this;
    const rows = columns.step.length;
    if (info.state !== 'running' || info.maxSteps === null || rows < 2) return null;
    const first = Math.max(0, rows - RECENT_ROWS);
    const [steps, times] = [columns.step.values, columns.ms.values];
    const work = (from: number, to: number) =>
      info.flopsUntil ? this.flops(to) - this.flops(from) : to - from;
    const ms = times[rows - 1] - times[first];
    return (work(info.step, info.maxSteps) * ms) / work(steps[first], steps[rows - 1]) / 1000;
  }

  /** A cached function of a column. If it depends on each value alone (`alone`), only new values are computed. */
  private derived(name: string, from: Growing, of: (value: number) => number, alone = true): Float64Array {
    const found = this.kept.get(name);
    const { generation } = this;
    if (found && found.generation === generation && found.values.length === from.length)
      return found.values.values;
    const fresh = !found || found.generation !== generation || !alone;
    const values = fresh ? new Growing() : found.values;
    const start = fresh ? 0 : found.values.length;
    values.set(start, from.values.subarray(start).map(of));
    // Drops this column with other smoothing weights, which are no longer in use.
    if (!alone)
      for (const key of this.kept.keys()) if (key.startsWith(`${name.split(' ')[0]} `)) this.kept.delete(key);
    this.kept.set(name, { generation, values });
    return values.values;
  }
}

const MINUTE = 60_000;

export class Runs {
  readonly all = new Map<string, Run>();
  boot = '';
  folders: readonly string[] = [];
  /** Whether all existing data has been received. */
  complete = false;
  /** Runs that were received before the current connection, and not since. */
  private former = new Set<string>();
  private next = 0;

  take(message: Message): void {
    const run = 'id' in message ? this.all.get(message.id) : undefined;
    switch (message.kind) {
      case 'hello':
        this.boot = message.boot;
        this.folders = message.folders;
        this.complete = false;
        this.former = new Set(this.all.keys());
        break;
      case 'run': {
        const { id } = message.run;
        const known = this.all.get(id);
        this.former.delete(id);
        if (known) known.info = message.run;
        else this.all.set(id, new Run(message.run, this.next++));
        break;
      }
      case 'rows':
        run?.takeRows(message.from, message.columns);
        break;
      case 'evals':
        run?.takeEvals(message.from, message.evals);
        break;
      case 'gone':
        this.all.delete(message.id);
        break;
      case 'complete':
        for (const id of this.former) this.all.delete(id);
        this.former.clear();
        this.complete = true;
    }
  }
}

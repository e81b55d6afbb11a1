/** The server's counters, in Prometheus's text format (version 0.0.4). It must not import HTTP. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Load } from './messages.js';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

type Labels = Readonly<Record<string, string | number>>;

/** Seconds, from a fast token to a long wait in the queue. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Milliseconds between two checks of the event loop; a free loop is late by as much, which does not count as delay. */
const RESOLUTION = 10;
const QUANTILES = [0.5, 0.99, 1];

/** A sum that grows, for each combination of labels. */
class Counter {
  readonly #values = new Map<string, number>();

  constructor(
    readonly name: string,
    readonly help: string,
  ) {}

  add(amount: number, labels: Labels = {}): void {
    const key = labelText(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + amount);
  }

  lines(): string[] {
    const values = [...this.#values].map(([labels, value]) => `${this.name}${labels} ${value}`);
    return [...heading(this.name, this.help, 'counter'), ...values];
  }
}

/** How many observations are at most each bound. */
class Histogram {
  readonly #counts = BUCKETS.map(() => 0);
  #count = 0;
  #sum = 0;

  constructor(
    readonly name: string,
    readonly help: string,
  ) {}

  observe(value: number): void {
    this.#count++;
    this.#sum += value;
    for (const [i, bound] of BUCKETS.entries()) if (value <= bound) this.#counts[i]++;
  }

  /** The mean of all observations, 0 before the first. */
  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  lines(): string[] {
    const bucket = (bound: string | number, count: number) =>
      `${this.name}_bucket${labelText({ le: bound })} ${count}`;
    return [
      ...heading(this.name, this.help, 'histogram'),
      ...BUCKETS.map((bound, i) => bucket(bound, this.#counts[i])),
      bucket('+Inf', this.#count),
      `${this.name}_sum ${this.#sum}`,
      `${this.name}_count ${this.#count}`,
    ];
  }
}

export class Metrics {
  readonly requests = new Counter(
    'loopnn_requests_total',
    'Requests by route and status; 499 is a client that left.',
  );
  readonly promptTokens = new Counter('loopnn_prompt_tokens_total', 'Tokens of prompts that were answered.');
  readonly tokens = new Counter('loopnn_generated_tokens_total', 'Tokens made for answers.');
  readonly loops = new Counter('loopnn_loops_total', 'Loops, steps or layers spent on tokens made.');
  readonly firstToken = new Histogram(
    'loopnn_time_to_first_token_seconds',
    'From a request to the first token of each of its choices.',
  );
  readonly betweenTokens = new Histogram('loopnn_time_per_token_seconds', 'Between two tokens of a choice.');
  readonly answers = new Histogram('loopnn_answer_seconds', 'From a request to the end of its answer.');
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION });

  constructor() {
    for (const counter of [this.promptTokens, this.tokens, this.loops]) counter.add(0);
    this.#delay.enable();
  }

  /** All metrics, with the current state. The event loop's delay is that since the last call. */
  render({ running, waiting }: Load): string {
    const delays = QUANTILES.map((q) => {
      const late = this.#delay.count === 0 ? 0 : this.#delay.percentile(100 * q) / 1e9 - RESOLUTION / 1e3;
      return `loopnn_event_loop_delay_seconds${labelText({ quantile: q })} ${Math.max(0, late)}`;
    });
    this.#delay.reset();
    const series = [
      this.requests,
      this.promptTokens,
      this.tokens,
      this.loops,
      this.firstToken,
      this.betweenTokens,
      this.answers,
    ];
    const lines = [
      ...series.flatMap((one) => one.lines()),
      ...gauge('loopnn_running_sequences', 'Sequences in the running batch.', running),
      ...gauge('loopnn_waiting_sequences', 'Sequences that wait for a place in it.', waiting),
      ...gauge('process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss()),
      ...heading('loopnn_event_loop_delay_seconds', 'Delay of the HTTP thread since the last look.', 'gauge'),
      ...delays,
    ];
    return `${lines.join('\n')}\n`;
  }

  dispose(): void {
    this.#delay.disable();
  }
}

function heading(name: string, help: string, type: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function gauge(name: string, help: string, value: number): string[] {
  return [...heading(name, help, 'gauge'), `${name} ${value}`];
}

/** {a="1",b="2"}; values here need no escapes: routes, statuses and numbers. */
function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

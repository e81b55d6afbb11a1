/** All runs below some folders, looked at again and again. Writes nothing, and knows no page. */
import { randomUUID } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { basename, join, resolve, sep } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { findRuns } from './discovery.js';
import { WatchedRun } from './watched-run.js';

/** How often logs are read on. */
const POLL_MS = 1000;
/** How many such times pass between two searches for new runs, or how often the time of one, where a tree is large. */
const LOOKS_PER_SEARCH = 3;
const TIMES_OF_SEARCH = 20;

export class Watcher {
  /** Another one is another server. */
  readonly boot = randomUUID();
  readonly runs = new Map<string, WatchedRun>();
  private readonly stop = new AbortController();
  /** 0 where nobody but a caller has it look. */
  private pollMs = 0;
  private searchAt = 0;
  private wake: () => void = () => {};
  private changed = this.nextChange();
  private done: Promise<void> | null = null;

  /** `folders` need not be there yet. */
  constructor(readonly folders: readonly string[]) {}

  /** Looks until `close` is called. */
  start(pollMs = POLL_MS): void {
    const { signal } = this.stop;
    this.pollMs = pollMs;
    this.done = (async () => {
      while (!signal.aborted) {
        await this.look();
        await wait(pollMs, undefined, { signal }).catch(() => {});
      }
    })();
  }

  async close(): Promise<void> {
    this.stop.abort();
    this.wake();
    await this.done;
  }

  /** Settles when something may have changed, or all is over. */
  get change(): Promise<void> {
    return this.stop.signal.aborted ? Promise.resolve() : this.changed;
  }

  get closed(): boolean {
    return this.stop.signal.aborted;
  }

  /** Reads what is new. */
  async look(): Promise<void> {
    const begun = performance.now();
    if (begun >= this.searchAt) {
      await this.search();
      const took = performance.now() - begun;
      const pause = Math.max(LOOKS_PER_SEARCH * this.pollMs, TIMES_OF_SEARCH * took);
      this.searchAt = begun + (this.pollMs === 0 ? 0 : pause);
    }
    for (const [id, run] of this.runs) {
      if (this.closed) return;
      if (!(await run.look(this.stop.signal))) this.runs.delete(id);
    }
    const { wake } = this;
    this.changed = this.nextChange();
    wake();
  }

  /** Where folders overlap, a run counts as the first one's. */
  private async search(): Promise<void> {
    const known = new Set([...this.runs.values()].map(({ folder }) => folder));
    for (const [i, given] of this.folders.entries()) {
      const root = await realpath(given).catch(() => null);
      if (root === null) continue;
      for (const path of await findRuns(root)) {
        const folder = join(root, path);
        if (known.has(folder)) continue;
        known.add(folder);
        const id = `${i}/${path.split(sep).join('/')}`;
        this.runs.set(id, new WatchedRun(id, this.nameOf(given, path), folder));
      }
    }
  }

  private nameOf(given: string, path: string): string {
    const own = basename(resolve(given));
    if (path === '') return own;
    const name = path.split(sep).join('/');
    return this.folders.length > 1 ? `${own}/${name}` : name;
  }

  private nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}

/**
 * The events of one page: all existing data, then additions. What a page has been told stands here, not in a queue, so
 * that a
 * slow one costs nothing: it is told less often.
 */
import type { Message } from './messages.js';
import { columnsFrom } from './run-log.js';
import type { WatchedRun } from './watched-run.js';
import type { Watcher } from './watcher.js';

/** Rows, and evaluations, in a message. */
const MOST_ROWS = 4096;
const MOST_EVALS = 128;

/** How much of a run has been sent. */
interface Told {
  /** As JSON. */
  info: string;
  /** Of which log. */
  log: string;
  rows: number;
  evalLog: string;
  evals: number;
}

/** Messages to a page, until the watcher is closed or the page leaves. */
export async function* feed(watcher: Watcher): AsyncGenerator<Message> {
  const told = new Map<string, Told>();
  yield { kind: 'hello', boot: watcher.boot, folders: watcher.folders };
  let runs = -1;
  while (!watcher.closed) {
    const { change } = watcher;
    for (const id of told.keys()) {
      if (watcher.runs.has(id)) continue;
      told.delete(id);
      yield { kind: 'gone', id };
    }
    for (const run of watcher.runs.values()) {
      if (!run.info) continue;
      const before = told.get(run.id) ?? { info: '', log: '', rows: 0, evalLog: '', evals: 0 };
      told.set(run.id, before);
      yield* news(run, before);
    }
    if (runs !== told.size) yield { kind: 'complete', runs: told.size };
    runs = told.size;
    await change;
  }
}

/** The part of a run that a page does not have yet. */
function* news(run: WatchedRun, told: Told): Generator<Message> {
  const { id, tail } = run;
  const info = JSON.stringify(run.info);
  if (info !== told.info) {
    told.info = info;
    yield { kind: 'run', run: run.info! };
  }
  const { log, restarts } = tail;
  const version = `${restarts}.${log.generation}`;
  const anew = version !== told.log;
  if (anew) {
    told.log = version;
    told.rows = 0;
  }
  const until = log.rows;
  for (let first = anew; first || told.rows < until; first = false) {
    const from = told.rows;
    told.rows = Math.min(until, from + MOST_ROWS);
    yield { kind: 'rows', id, from, columns: columnsFrom(log.columns, from, told.rows) };
    if (tail.log !== log || `${restarts}.${log.generation}` !== version) return; // another one by now: next time
  }
  const evalVersion = `${restarts}.${log.evalGeneration}`;
  const evalsAnew = evalVersion !== told.evalLog;
  if (evalsAnew) {
    told.evalLog = evalVersion;
    told.evals = 0;
  }
  for (let first = evalsAnew; first || told.evals < log.evals.length; first = false) {
    const from = told.evals;
    const evals = log.evals.slice(from, from + MOST_EVALS);
    told.evals = from + evals.length;
    yield { kind: 'evals', id, from, evals };
    if (tail.log !== log || `${restarts}.${log.evalGeneration}` !== evalVersion) return;
  }
}

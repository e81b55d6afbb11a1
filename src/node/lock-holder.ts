/**
 * The holder of a folder's lock, and whether that process is still alive: within one boot of one machine by its number
 * and start time, elsewhere by the lock's heartbeat. It must not handle folders or the taking of locks.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { codeOf } from './file-errors.js';

/**
 * How often a holder writes to its lock. It uses a separate thread, so that computation does not delay it; flushing a
 * checkpoint to a slow disk may, by seconds.
 */
export const BEAT_MS = 10_000;
/** After this time without a beat, a holder that can not be looked up counts as dead: five beats may be missed. */
export const STALE_MS = 60_000;

/** A lock's data on the process that took it. */
export interface Holder {
  /** Unique. */
  readonly id: string;
  readonly pid: number;
  /** The process's start time, as the kernel counts; null if the system does not report it. */
  readonly started: string | null;
  /** The scope of `pid`: a machine's boot and a namespace. Null if the system does not report it. */
  readonly processes: string | null;
  readonly host: string;
  /** When the lock was taken, by the holder's clock (ISO 8601). */
  readonly since: string;
}

/** This process as a holder, with a new id at each call. */
export function thisProcess(): Holder {
  const { pid } = process;
  const started = startOf(pid) || null;
  return {
    id: randomUUID(),
    pid,
    started,
    processes: ownProcesses(),
    host: hostname(),
    since: new Date().toISOString(),
  };
}

/**
 * Parses a lock. One that no version of today wrote, or that was cut off, has an id by its time of change `mtimeMs`; of
 * the former versions, which wrote the process's number alone, it has the process too.
 */
export function parseHolder(text: string, mtimeMs: number): Holder {
  const unknown = { started: null, processes: null, host: '', since: new Date(mtimeMs).toISOString() };
  const id = `of-${Math.round(mtimeMs)}`;
  if (/^\d+$/.test(text)) return { ...unknown, id, pid: Number(text), processes: ownProcesses() };
  try {
    const { id: own, pid, started, processes, host, since } = JSON.parse(text) as Holder;
    const texts = [started ?? '', processes ?? '', host, since];
    const named = typeof own === 'string' && /^[0-9a-f-]{36}$/.test(own);
    if (named && Number.isInteger(pid) && texts.every((value) => typeof value === 'string')) {
      return { id: own, pid, started, processes, host, since };
    }
  } catch {
    // Not JSON: a lock that is just being written, or was damaged.
  }
  return { ...unknown, id, pid: 0 };
}

/** Whether a holder is still alive; `beatMs` is the time since its last beat. */
export function isAlive(holder: Holder, beatMs: number): boolean {
  const { pid, started } = holder;
  if (isOwn(holder)) {
    const found = startOf(pid);
    if (found === '') return false;
    if (found !== null && started !== null) return found === started;
  }
  // A clock that was set back must not keep a lock alive forever.
  return Math.abs(beatMs) < STALE_MS;
}

/** The remedy for a rejected user, given a holder whose last beat was `beatMs` ago. */
export function remedy(holder: Holder, beatMs: number): string {
  const { pid, host } = holder;
  const since = `since ${holder.since.slice(0, 19).replace('T', ' ')} UTC`;
  if (isOwn(holder)) return `it works there ${since}: wait for its end, or stop it (kill ${pid})`;
  const seconds = (ms: number) => `${Math.max(0, Math.ceil(ms / 1000))} s`;
  const free = `free in ${seconds(STALE_MS - Math.abs(beatMs))}`;
  if (pid === 0) return `its lock does not say which: if none does, the folder is ${free}`;
  return (
    `it works there from host ${host} or a container of that name ${since}, last seen ${seconds(beatMs)} ago: ` +
    `stop it there; if it is gone already, the folder is ${free}`
  );
}

/** Whether a holder's number is in this process's scope. */
function isOwn({ processes, pid }: Holder): boolean {
  return pid > 0 && processes !== null && processes === ownProcesses();
}

/**
 * Containers of one machine share its boot but not their processes, and hosts of one name share neither. Systems other
 * than Linux are known by their host's name.
 */
function ownProcesses(): string | null {
  if (process.platform !== 'linux') return hostname();
  try {
    // A /proc of another namespace shows other processes.
    if (readlinkSync('/proc/self') !== String(process.pid)) return null;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}

/**
 * When a process began, in ticks since the machine's boot; '' if there is none, null if the system does not report it.
 */
function startOf(pid: number): string | null {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) !== 'EPERM') return ''; // EPERM: another user's
  }
  try {
    // The name, in parentheses, may hold anything; after it come the fields from the third on (proc(5)).
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    // Ended, and not yet reaped by its parent.
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : fields[19];
  } catch {
    return null;
  }
}

/**
 * Who holds a folder's lock, and whether that process is still there: within one boot of one machine by its number and the
 * time it began, elsewhere by the lock's heartbeat. Knows processes; knows neither folders nor how a lock is taken.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { codeOf } from './file-errors.js';

/**
 * How often a holder writes to its lock. It does so in a thread of its own, so that no computation delays it; flushing a
 * checkpoint to a slow disk may, by seconds.
 */
export const BEAT_MS = 10_000;
/** Without a beat for so long, a holder that can not be looked up is gone: five beats may be missed, and no more. */
export const STALE_MS = 60_000;

/** What a lock says of the process that took it. */
export interface Holder {
  /** Never comes twice. */
  readonly id: string;
  readonly pid: number;
  /** When the process began, as the kernel counts; null where the system does not tell. */
  readonly started: string | null;
  /** Among which processes `pid` is a number: a machine's boot and a namespace. Null where the system does not tell. */
  readonly processes: string | null;
  readonly host: string;
  /** When the lock was taken, by the holder's clock (ISO 8601). */
  readonly since: string;
}

/** This process, as the holder of another lock at each call. */
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
 * Parses a lock. One that no version of today wrote, or that was cut off, has an id by its time of change `mtimeMs`; of the
 * former versions, which wrote the process's number alone, it has the process too.
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

/** Whether a holder is still there; `beatMs` is the time since its last beat. */
export function isAlive(holder: Holder, beatMs: number): boolean {
  const { pid, started } = holder;
  if (isOwn(holder)) {
    const found = startOf(pid);
    if (found === '') return false;
    if (found !== null && started !== null) return found === started;
  }
  // A clock that was set back must not keep a lock alive for ever.
  return Math.abs(beatMs) < STALE_MS;
}

/** What a user who is refused can do about a holder whose last beat was `beatMs` ago. */
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

/** Whether a holder's number counts among the processes that this one sees. */
function isOwn({ processes, pid }: Holder): boolean {
  return pid > 0 && processes !== null && processes === ownProcesses();
}

/**
 * Containers of one machine share its boot but not their processes, and hosts of one name share neither. Systems other than
 * Linux are known by their host's name.
 */
function ownProcesses(): string | null {
  if (process.platform !== 'linux') return hostname();
  try {
    // A /proc of another namespace tells of other processes.
    if (readlinkSync('/proc/self') !== String(process.pid)) return null;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}

/** When a process began, in ticks since the machine's boot; '' where there is none, null where the system does not tell. */
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
    // Ended, and not yet asked for by its parent.
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : fields[19];
  } catch {
    return null;
  }
}

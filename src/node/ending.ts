/**
 * A thread's orderly end. V8 compiles hot functions in threads of its own; one that finds the heap at its limit asks
 * the thread that owns the heap for a collection, and waits. Node waits for the compilation when a thread ends: in Node
 * 20 and 22 when nothing is left to do, in every version in `process.exit`. Then no thread collects, and the process
 * hangs; a worker of Node 20 may abort instead. Memory outside the heap counts, so a small program that has loaded a
 * model is soon at the limit. Node's own report is "Deadlock at process shutdown".
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Collects garbage, which sets the heap's limit well above the memory in use, so that compilation at the end needs no
 * collection. For a thread to call last.
 */
export function makeRoomToEnd(): void {
  setFlagsFromString('--expose-gc');
  const collect: (() => void) | undefined = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  collect?.();
}

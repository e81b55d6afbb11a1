/** Synchronous work with a time limit. */
import { createContext, Script } from 'node:vm';

/** Thrown by `within` when the time is over. */
export class TimeOver extends Error {}

const script = new Script('work()');
const realm: { work?: () => unknown } = {};
const context = createContext(realm);

/**
 * Runs `work` and returns its result; throws TimeOver after `ms` milliseconds, at any point of `work`, whose objects
 * must then not be used again.
 *
 * It runs in this thread and in its own realm: V8's watchdog over the script that calls it stops it anywhere.
 */
export function within<Result>(ms: number, work: () => Result): Result {
  realm.work = work;
  try {
    return script.runInContext(context, { timeout: ms }) as Result;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw new TimeOver(`took longer than ${ms} ms`);
  } finally {
    delete realm.work;
  }
}

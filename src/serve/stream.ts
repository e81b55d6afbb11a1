/** Streams that wait: their first value, and keep-alive comments between values. */
import { setTimeout as delay } from 'node:timers/promises';

/** A comment in a stream of server-sent events, which clients skip. */
const WAITING = Buffer.from(': waiting\n\n');

const LATER: unique symbol = Symbol('later');

/**
 * The same values, once the first of them has come or `ms` milliseconds are over. Throws what the iterator throws
 * before that; afterwards its reader does.
 */
export async function soonOrLater<Value>(
  values: AsyncGenerator<Value, void>,
  ms: number,
): Promise<AsyncGenerator<Value, void>> {
  const first = values.next();
  const timer = after(ms);
  try {
    await Promise.race([first, timer.promise]);
  } finally {
    timer.clear();
  }
  return resumed(first, values);
}

/** A promise of LATER, and its timer, which does not keep the process alive. */
function after(ms: number) {
  const controller = new AbortController();
  const promise: Promise<typeof LATER> = delay(ms, LATER, { signal: controller.signal, ref: false }).then(
    () => LATER,
    () => LATER,
  );
  return { promise, clear: () => controller.abort() };
}

/** An iterator whose first value is already requested. */
async function* resumed<Value>(
  first: Promise<IteratorResult<Value, void>>,
  rest: AsyncGenerator<Value, void>,
): AsyncGenerator<Value, void> {
  try {
    const { done, value } = await first;
    if (!done) yield value as Value;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/**
 * The pieces of a stream, and a comment where there are none: at the beginning, and after `ms` to twice `ms`
 * milliseconds of silence.
 */
export async function* keptAlive(
  chunks: AsyncGenerator<Uint8Array, void>,
  ms: number,
): AsyncGenerator<Uint8Array, void> {
  let timer = after(0);
  try {
    let next = chunks.next();
    for (let silent = true; ; ) {
      const found = await Promise.race([next, timer.promise]);
      if (found === LATER) {
        if (silent) yield WAITING;
        silent = true;
        timer = after(ms);
        continue;
      }
      if (found.done) return;
      silent = false;
      yield found.value;
      next = chunks.next();
    }
  } finally {
    timer.clear();
    await chunks.return();
  }
}

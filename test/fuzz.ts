/** Shared by the fuzz tests: a fixed sequence of random numbers, hostile values, and damage to bytes and to JSON. */
import assert from 'node:assert/strict';
import { hashWords } from '../src/random.js';

/** Most milliseconds that one input may take, far above what any takes. */
const SLOWEST = 5000;
/** Most bytes that the process may grow by, thousands of inputs together. */
const MOST_MEMORY = 600e6;

export class Fuzz {
  private counter = 0;

  constructor(private readonly seed: number) {}

  /** The next whole number in [0, end). */
  below(end: number): number {
    return hashWords(this.seed, this.counter++) % end;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  /** A copy with a few bytes changed, cut out, doubled or cut off. */
  bytes(original: Uint8Array): Uint8Array {
    let bytes = Uint8Array.from(original);
    for (let wounds = 1 + this.below(4); wounds > 0; wounds--) {
      const at = this.below(bytes.length + 1);
      const end = Math.min(bytes.length, at + 1 + this.below(20));
      switch (this.below(5)) {
        case 0:
          if (at < bytes.length) bytes[at] ^= 1 << this.below(8);
          break;
        case 1:
          bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(end)]);
          break;
        case 2:
          bytes = Uint8Array.from([...bytes.subarray(0, end), ...bytes.subarray(at)]);
          break;
        case 3:
          bytes = bytes.slice(0, at);
          break;
        default:
          for (let i = at; i < end; i++) bytes[i] = this.pick([0, 0xff, 0x22, 0x5b, 0x7b, 0x2c, 0x39]);
      }
    }
    return bytes;
  }

  /** A value that no field expects. */
  hostile(): unknown {
    return this.pick<() => unknown>([
      () => null,
      () => true,
      () => -1,
      () => 0,
      () => 0.5,
      () => 65_535,
      () => 65_536,
      () => 2 ** 31,
      () => 2 ** 53,
      () => 1e308,
      () => '',
      () => 'x'.repeat(this.below(5000)),
      () => '__proto__',
      () => 'constructor',
      () => '\ud800\n\u001b[2J',
      () => [],
      () => ({}),
      () => [[], [null]],
      () => Array.from({ length: this.below(1000) }, (_, i) => i),
      () => JSON.parse('['.repeat(60) + ']'.repeat(60)),
      () => JSON.parse('{"__proto__":{"a":1},"length":-1}'),
    ])();
  }

  /** A copy of a JSON value with a few of its parts replaced, removed, doubled or exchanged. */
  json(original: unknown): unknown {
    const root = { value: structuredClone(original) };
    for (let wounds = 1 + this.below(3); wounds > 0; wounds--) {
      let holder = root as Record<string, unknown>;
      let key = 'value';
      // Go down a random way, and stop on it somewhere.
      for (;;) {
        const below = holder[key];
        if (typeof below !== 'object' || below === null || this.below(5) === 0) break;
        const keys = Object.keys(below);
        if (keys.length === 0) break;
        holder = below as Record<string, unknown>;
        key = this.pick(keys);
      }
      const others = Object.keys(holder);
      switch (this.below(4)) {
        case 0:
          if (Array.isArray(holder)) holder.splice(Number(key), 1);
          else if (holder !== root) delete holder[key];
          break;
        case 1:
          holder[key] = structuredClone(holder[this.pick(others)]);
          break;
        case 2:
          if (Array.isArray(holder)) holder.push(structuredClone(holder[Number(key)]));
          else if (holder !== root) holder[String(this.hostile())] = structuredClone(holder[key]);
          break;
        default:
          holder[key] = this.hostile();
      }
    }
    // What a file can hold: what was removed at the top is null.
    return JSON.parse(JSON.stringify(root.value ?? null));
  }
}

/**
 * Gives `count` inputs to `run`: each must work, or throw an error of one of the classes named, on one line of readable
 * length, within bounded time and memory; and some must do each.
 */
export async function fuzz(
  count: number,
  errors: readonly string[],
  run: (n: number) => unknown,
): Promise<void> {
  const memory = process.memoryUsage.rss();
  let worked = 0;
  for (let n = 0; n < count; n++) {
    const start = performance.now();
    try {
      await run(n);
      worked++;
    } catch (error) {
      const { name, message, stack } = error as Error;
      assert.ok(errors.includes(name), `input ${n}: ${stack}`);
      assert.ok(message.length < 4100 && !message.includes('\n'), `input ${n}: ${message}`);
    }
    const took = performance.now() - start;
    assert.ok(took < SLOWEST, `input ${n} took ${took} ms`);
  }
  const grown = process.memoryUsage.rss() - memory;
  assert.ok(grown < MOST_MEMORY, `grew by ${grown} bytes`);
  assert.ok(worked > 0 && worked < count, `${worked} of ${count} worked`);
}

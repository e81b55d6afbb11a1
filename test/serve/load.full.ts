/** 64 streams at once for 90 s, many of which leave: answers stay those computed alone, memory flat, nobody starves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashWords } from '../../src/random.js';
import { clientOf, ENDLESS, metric, serveProcess, trainedRun, until } from './helpers.js';

const STREAMS = 64;
const SECONDS = 90;
/** Share of it in which memory may grow: newer Nodes take 45 s until their heap has the size that it works with. */
const WARM = 2 / 3;
/** Different requests; each is asked again and again, whole and interrupted, among always other ones. */
const KINDS = 48;
/** Longest time without a token, in a stream, before it counts as stalled. */
const STALL_MS = 10_000;

const sizes = ['--max-concurrency', '16', '--max-queue', String(2 * STREAMS)];
const { url, stop } = await serveProcess(await trainedRun(), ...sizes);
const client = clientOf(url);

function request(kind: number) {
  const word = (i: number) => hashWords(kind, i) >>> 0;
  return {
    model: 'tiny',
    prompt: `Line ${word(0) % 60} of document `.repeat(1 + (word(1) % 4)),
    max_tokens: 4 + (word(2) % 60),
    seed: kind,
    temperature: kind % 5 === 0 ? 0 : 1,
    loops: 1 + (word(3) % 4),
    ...ENDLESS,
  };
}

test(`${STREAMS} streams with random cancels for ${SECONDS} s`, async () => {
  const alone: string[] = [];
  for (let kind = 0; kind < KINDS; kind++) {
    alone.push((await client.completions.create(request(kind))).choices[0].text);
  }
  const end = performance.now() + SECONDS * 1000;
  let [finished, cancelled, longest] = [0, 0, 0];
  const resident: number[] = [];
  const stream = async (worker: number) => {
    for (let round = 0; performance.now() < end; round++) {
      const kind = (hashWords(worker, round, 1) >>> 0) % KINDS;
      const leavesAfter =
        (hashWords(worker, round, 2) >>> 0) % 3 === 0 ? (hashWords(worker, round, 3) >>> 0) % 8 : null;
      let [text, pieces, last] = ['', 0, performance.now()];
      for await (const { choices } of await client.completions.create({ ...request(kind), stream: true })) {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
        text += choices[0].text;
        if (pieces++ === leavesAfter) break;
      }
      if (leavesAfter !== null && pieces > leavesAfter) {
        assert.ok(alone[kind].startsWith(text), `kind ${kind}`);
        cancelled++;
      } else {
        assert.equal(text, alone[kind], `kind ${kind}`);
        finished++;
      }
    }
  };
  const watch = async () => {
    for (let second = 0; second < SECONDS - 5; second += 5) {
      await new Promise((resolve) => setTimeout(resolve, 5000));
      resident.push(await metric(url, 'process_resident_memory_bytes'));
    }
  };
  await Promise.all([watch(), ...Array.from({ length: STREAMS }, (_, worker) => stream(worker))]);
  assert.ok(
    finished > 2 * STREAMS && cancelled > STREAMS / 2,
    `${finished} finished, ${cancelled} cancelled`,
  );
  assert.ok(longest < STALL_MS, `a stream stood still for ${longest} ms`);
  await until(async () => (await metric(url, 'loopnn_running_sequences')) === 0, 'an idle engine');
  assert.equal(await metric(url, 'loopnn_waiting_sequences'), 0);
  assert.doesNotMatch(await stop(), / 5\d\d /, 'no failure in the log');
  // From there to the end memory may breathe, and must not grow.
  const warm = Math.floor(resident.length * WARM);
  const most = (values: readonly number[]) => Math.max(...values);
  const growth = most(resident.slice(warm)) / most(resident.slice(0, warm));
  assert.ok(
    growth < 1.1,
    `resident memory grew by a factor of ${growth}: ${resident.map((b) => b >> 20).join(', ')} MiB`,
  );
  console.log(
    `${finished} finished, ${cancelled} cancelled, longest wait ${longest.toFixed(0)} ms, ${resident.map((b) => b >> 20).join(', ')} MiB`,
  );
});

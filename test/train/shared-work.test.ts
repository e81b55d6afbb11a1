/** Tasks that are shared out over processes: each is done once, rank 0 hears of all, and an end anywhere ends all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { receiveText, sendText } from '../../src/train/peers.js';
import { type SharedWork, shareOut } from '../../src/train/shared-work.js';
import { memoryPeers } from './memory-peers.js';

/** A task that takes so many turns of the event loop. */
interface Task {
  readonly name: string;
  readonly turns: number;
}

/** Where a task was begun, and where it came to. */
interface News {
  readonly kind: 'begun' | 'ended' | 'cut off';
  readonly rank: number;
}

/** Does tasks on so many processes; `after` are added when the first of `tasks` has ended. */
async function share(ranks: number, tasks: Task[], after: Task[] = [], ends: AbortController[] = []) {
  const waiting = [...tasks];
  const told = await Promise.all(
    memoryPeers(ranks).map(async (peers) => {
      const { rank } = peers;
      const work: SharedWork<Task, News> = {
        next: () => waiting.shift() ?? null,
        async *run({ turns }, signal) {
          yield { kind: 'begun', rank };
          for (let turn = 0; turn < turns && !signal.aborted; turn++) await setImmediate();
          yield { kind: signal.aborted ? 'cut off' : 'ended', rank };
        },
        write: (news) => news.kind,
        read: (kind, _, from) => ({ kind, rank: from }) as News,
      };
      const own: string[] = [];
      for await (const { task, news } of shareOut(
        peers,
        work,
        (ends[rank] ?? new AbortController()).signal,
      )) {
        own.push(`${task.name} ${news.kind} on ${news.rank}`);
        if (rank === 0 && task === tasks[0] && news.kind === 'ended') waiting.push(...after);
        if (rank === 0 && news.kind === 'cut off') ends[0]?.abort();
      }
      return own;
    }),
  );
  return { told, waiting };
}

const tasks = Array.from({ length: 9 }, (_, i) => ({ name: `t${i}`, turns: 40 - 4 * i }));

for (const ranks of [1, 2, 3, 12]) {
  test(`${ranks} processes do each task once; others wait for what an earlier one brings`, async () => {
    const after = [
      { name: 'later', turns: 2 },
      { name: 'last', turns: 1 },
    ];
    const { told, waiting } = await share(ranks, tasks, after);
    assert.deepEqual(waiting, []);
    const ended = told[0].filter((line) => line.includes('ended')).map((line) => line.split(' ')[0]);
    assert.deepEqual(ended.sort(), [...tasks, ...after].map(({ name }) => name).sort());
    for (const [rank, own] of told.entries()) {
      assert.ok(own.length > 0 || rank >= tasks.length, 'nobody is idle while there are tasks');
      const theirs = told[0].filter((line) => line.endsWith(` on ${rank}`));
      assert.deepEqual(
        own.filter((line) => line.endsWith(` on ${rank}`)),
        theirs,
      );
    }
  });
}

for (const by of [0, 2]) {
  test(`a signal to rank ${by} ends the tasks of all, and no more are begun`, async () => {
    const ends = [0, 1, 2].map(() => new AbortController());
    const long = Array.from({ length: 8 }, (_, i) => ({ name: `t${i}`, turns: 100_000 }));
    const working = share(3, long, [], ends);
    for (let i = 0; i < 30; i++) await setImmediate();
    ends[by].abort();
    const { told, waiting } = await working;
    assert.equal(waiting.length, 5);
    assert.equal(told[0].filter((line) => line.includes('cut off')).length, 3);
  });
}

test('an error is thrown where the task ran', async () => {
  const [first, second] = memoryPeers(2);
  const tasks = [1, 2];
  const work = (fails: boolean): SharedWork<number, never> => ({
    next: () => tasks.shift() ?? null,
    // biome-ignore lint/correctness/useYield: it has no news
    async *run() {
      await setImmediate();
      if (fails) throw new Error('no disk');
    },
    write: () => null,
    read: () => assert.fail('there is no news'),
  });
  const { signal } = new AbortController();
  void shareOut(first, work(false), signal).next();
  await assert.rejects(shareOut(second, work(true), signal).next(), /no disk/);
});

test('texts of any length go from one process to another, in their order', async () => {
  const [first, second] = memoryPeers(2);
  const texts = ['', 'Müller', 'x'.repeat(70_000), ''];
  const sending = texts.map((text) => sendText(first, 1, text));
  for (const text of texts) assert.equal(await receiveText(second, 0), text);
  await Promise.all(sending);
});

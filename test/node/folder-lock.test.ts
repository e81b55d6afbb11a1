/**
 * The lock of a folder: one holder, wherever others are or have gone, and no write once the folder is another's or
 * moved.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { FolderLock } from '../../src/node/folder-lock.js';
import { type Holder, parseHolder, STALE_MS, thisProcess } from '../../src/node/lock-holder.js';
import { NodeStore } from '../../src/node/store.js';
import { LockError } from '../../src/errors.js';

const home = mkdtempSync(join(tmpdir(), 'loopnn-lock-'));
after(() => rmSync(home, { recursive: true, force: true }));

let folders = 0;
function newFolder(): string {
  const folder = join(home, `run-${folders++}`);
  mkdirSync(folder);
  return folder;
}

/** A folder with a lock of this content, last beaten so long ago. */
function lockedFolder(content: string | Holder, agoMs = 0): string {
  const folder = newFolder();
  const path = join(folder, 'lock');
  writeFileSync(path, typeof content === 'string' ? content : `${JSON.stringify(content)}\n`);
  const at = (Date.now() - agoMs) / 1000;
  utimesSync(path, at, at);
  return folder;
}

async function free(folder: string): Promise<void> {
  const lock = await FolderLock.take(folder);
  assert.deepEqual(readdirSync(folder), ['lock'], 'nothing else stays');
  await assert.rejects(
    FolderLock.take(folder),
    /must not be in use by another process, got \d+; it works there since/,
  );
  await lock[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(folder), []);
}

async function held(folder: string, message: RegExp): Promise<void> {
  const before = readFileSync(join(folder, 'lock'), 'utf8');
  await assert.rejects(FolderLock.take(folder), (error: Error) => {
    assert.ok(error instanceof LockError, error.stack);
    assert.match(error.message, message);
    return true;
  });
  assert.equal(readFileSync(join(folder, 'lock'), 'utf8'), before);
  assert.deepEqual(readdirSync(folder), ['lock']);
}

/** A process that has ended. */
async function deadProcess(): Promise<number> {
  const child = spawn('true');
  await new Promise((resolve) => child.on('exit', resolve));
  return child.pid!;
}

const linux = process.platform === 'linux';
const own = thisProcess();
const parent = { ...own, pid: process.ppid };

test('a folder nobody holds is taken, and given back', () => free(newFolder()));

test('a lock whose process is gone is succeeded, whatever version left it', async () => {
  const pid = await deadProcess();
  await free(lockedFolder({ ...own, pid }));
  await free(lockedFolder(String(pid)));
});

test('a process of the same number that began at another time is another', async (t) => {
  if (!linux) return t.skip('the system does not tell when a process began');
  // As in a container that was started again: its first process has number 1 once more.
  await free(lockedFolder({ ...parent, started: '1' }));
  const begun = /.*\) (.*)/s.exec(readFileSync(`/proc/${process.ppid}/stat`, 'utf8'))![1].split(' ')[19];
  const since =
    /got \d+; it works there since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: wait for its end, or stop it \(kill \d+\)/;
  await held(lockedFolder({ ...parent, started: begun }), since);
  // A machine that slept has not beaten for long.
  await held(lockedFolder({ ...parent, started: begun }, 100 * STALE_MS), since);
});

test('a process that has ended, and that its parent has not asked for, is gone', async (t) => {
  if (!linux) return t.skip('the system does not tell the state of a process');
  const shell = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    const pid = Number(await new Promise((resolve) => shell.stdout.once('data', resolve)));
    const state = () => /\) (.)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))![1];
    while (state() !== 'Z') await setTimeout(5);
    await free(lockedFolder({ ...own, pid }));
  } finally {
    shell.kill();
  }
});

test('a holder elsewhere holds until its heart has stopped', async () => {
  const pid = await deadProcess(); // a number says nothing of another host
  const elsewhere = [
    { ...own, pid, host: 'node-7', processes: 'another-boot pid:[4026531836]' },
    { ...own, pid, host: 'node-7', processes: own.processes?.replace(/\[.*/, '[1]') ?? 'none' },
    { ...own, pid, host: 'node-7', processes: null },
  ];
  const message = new RegExp(
    `got ${pid}; it works there from host node-7 or a container of that name since .* UTC, last seen 3\\d s ago: ` +
      'stop it there; if it is gone already, the folder is free in [23]\\d s',
  );
  for (const holder of elsewhere) {
    await held(lockedFolder(holder, 0.55 * STALE_MS), message);
    await free(lockedFolder(holder, STALE_MS + 1000));
    await free(lockedFolder(holder, -STALE_MS - 1000)); // its clock was set back
  }
});

test('a lock that says nothing is held for as long', async () => {
  for (const content of ['', '{"id":', '{"id":"../../x","pid":1}', '[]', 'null', '\0'.repeat(200)]) {
    assert.equal(parseHolder(content, 1).pid, 0);
    const folder = lockedFolder(content);
    await held(
      folder,
      /must not be in use by another process; its lock does not say which: .* free in (60|5\d) s/,
    );
    await free(lockedFolder(content, STALE_MS + 1000));
  }
});

test('who died while it took a lock over is succeeded too', async () => {
  const pid = await deadProcess();
  const [first, second] = [thisProcess(), thisProcess()].map((holder) => ({ ...holder, pid }));
  const folder = lockedFolder(first);
  writeFileSync(join(folder, `lock.${first.id}`), JSON.stringify(second));
  writeFileSync(join(folder, `lock.${second.id}.draft`), JSON.stringify(second));
  await free(folder);
  // And one that lives is not, though the first lock is that of a dead one.
  const taken = lockedFolder(first);
  writeFileSync(join(taken, `lock.${first.id}`), JSON.stringify(own));
  await assert.rejects(FolderLock.take(taken), new RegExp(`in use by another process, got ${process.pid}`));
});

test('of eight who take a stale lock at once, one gets it', async () => {
  const pid = await deadProcess();
  for (let trial = 0; trial < 20; trial++) {
    const folder = lockedFolder(trial % 2 === 0 ? { ...thisProcess(), pid } : String(pid));
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => FolderLock.take(folder)));
    const locks = tries.flatMap((t) => (t.status === 'fulfilled' ? [t.value] : []));
    assert.equal(locks.length, 1);
    for (const t of tries)
      if (t.status === 'rejected') assert.match(String(t.reason), /LockError.*in use by another/);
    await locks[0].requireOwn();
    await locks[0][Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(folder), []);
  }
});

test('the heart changes the time of its own lock, and of no other', async () => {
  const folder = newFolder();
  const path = join(folder, 'lock');
  const text = 'this one\n';
  const longAgo = () => {
    writeFileSync(path, readFileSync(path));
    utimesSync(path, 1000, 1000);
  };
  writeFileSync(path, text);
  longAgo();
  const heart = new Worker(new URL('../../src/node/lock-heartbeat.js', import.meta.url), {
    workerData: { path, text, everyMs: 5 },
  });
  try {
    while (statSync(path).mtimeMs === 1e6) await setTimeout(5);
    assert.equal(readFileSync(path, 'utf8'), text);
    rmSync(path); // a beat without a lock does nothing
    await setTimeout(50);
    assert.deepEqual(readdirSync(folder), []);
    writeFileSync(path, 'another\n');
    longAgo();
    await setTimeout(100);
    assert.equal(statSync(path).mtimeMs, 1e6);
    assert.equal(readFileSync(path, 'utf8'), 'another\n');
  } finally {
    await heart.terminate();
  }
});

/** The content of all files below a folder, by their paths. */
function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true }) as string[];
  // A file that this process has begun under another name may stay: the next writer sweeps it away.
  const files = names.filter(
    (name) => name !== 'config.json.partial' && statSync(join(folder, name)).isFile(),
  );
  return Object.fromEntries(files.sort().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

const bytes = new TextEncoder();
/** Everything that writes, each also in the middle of its work: `then` is called where that is possible. */
const WRITES: Record<string, (store: NodeStore, then: () => void) => Promise<void>> = {
  append: (store) => store.append('metrics.jsonl', 'more\n'),
  replace: (store) => store.replace('config.json', 'other'),
  'replace below': (store) => store.replace('plots/a.svg', 'other'),
  createFolder: (store) => store.createFolder('checkpoints/last-2', [['a', [bytes.encode('other')]]]),
  remove: (store) => store.remove('checkpoints/last-1'),
  'replace in pieces': (store, then) =>
    store.replace(
      'config.json',
      (function* () {
        yield bytes.encode('be');
        then();
        yield bytes.encode('gun');
      })(),
    ),
  'createFolder in pieces': (store, then) =>
    store.createFolder(
      'checkpoints/last-1',
      (function* (): Generator<[string, Uint8Array[]]> {
        yield ['a', [bytes.encode('other')]];
        then();
        yield ['b', [bytes.encode('other')]];
      })(),
    ),
};

/** What may happen to a folder; each returns where its files are then. */
const MISHAPS: Record<string, (folder: string) => string | null> = {
  moved: (folder) => {
    renameSync(folder, `${folder}-elsewhere`);
    return `${folder}-elsewhere`;
  },
  'moved, another in its place': (folder) => {
    MISHAPS.moved(folder);
    fill(folder);
    writeFileSync(join(folder, 'lock'), `${JSON.stringify({ ...parent, id: thisProcess().id })}\n`);
    return `${folder}-elsewhere`;
  },
  removed: (folder) => {
    rmSync(folder, { recursive: true });
    return null;
  },
  'taken over': (folder) => {
    const next = `${folder}.next`;
    writeFileSync(next, `${JSON.stringify({ ...parent, id: thisProcess().id })}\n`);
    renameSync(next, join(folder, 'lock'));
    return null;
  },
};

function fill(folder: string): void {
  mkdirSync(join(folder, 'checkpoints/last-1'), { recursive: true });
  for (const name of ['config.json', 'metrics.jsonl', 'checkpoints/last-1/a'])
    writeFileSync(join(folder, name), name);
  // What another process is just writing.
  mkdirSync(join(folder, 'checkpoints/last-1.partial'));
  writeFileSync(join(folder, 'checkpoints/last-1.partial/a'), 'a');
}

for (const [write, run] of Object.entries(WRITES)) {
  for (const [mishap, happen] of Object.entries(MISHAPS)) {
    test(`${write}: a folder that was ${mishap} is not written to`, async () => {
      const inPieces = write.endsWith('in pieces');
      const folder = newFolder();
      fill(folder);
      const store = new NodeStore(folder);
      const lock = await store.lock();
      await store.append('metrics.jsonl', '1\n');
      let there: Record<string, string> = {};
      const now = () => {
        happen(folder);
        there = existsSync(folder) ? contents(folder) : {};
      };
      if (!inPieces) now();
      await assert.rejects(run(store, now), (error: Error) => {
        assert.ok(error instanceof LockError, error.stack);
        const taken = new RegExp(
          `must be this process’s until it ends, but process ${process.ppid} has taken it`,
        );
        const gone = /must stay where it is while this process works in it, but it was moved or removed/;
        assert.match(error.message, /taken over|another/.test(mishap) ? taken : gone);
        return true;
      });
      assert.deepEqual(existsSync(folder) ? contents(folder) : {}, there, 'nothing of another’s is touched');
      await lock[Symbol.asyncDispose]();
      assert.deepEqual(existsSync(folder) ? contents(folder) : {}, there, 'nor when the lock is given back');
    });
  }
}

test('folders made for a lock go with it, unless something came to lie in them', async () => {
  const above = join(home, 'made');
  const store = new NodeStore(join(above, 'run'));
  await (await store.lock())[Symbol.asyncDispose]();
  assert.equal(existsSync(above), false);
  const lock = await store.lock();
  await store.append('log', 'a line');
  await lock[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(join(above, 'run')), ['log']);
});

for (const [mishap, writes] of [
  ['moved', Object.keys(WRITES)],
  ['moved, another in its place', ['append']],
] as const) {
  test(`a folder that is ${mishap} between a look at its lock and the write after it is not touched`, async () => {
    for (const write of writes) {
      const run = WRITES[write];
      for (let looks = 1, looked = looks; looked >= looks; looks++) {
        const folder = newFolder();
        fill(folder);
        const store = new NodeStore(folder);
        const lock = await store.lock();
        let there: Record<string, string> = {};
        looked = 0;
        const look = FolderLock.prototype.requireOwn;
        FolderLock.prototype.requireOwn = async function requireOwn() {
          await look.call(this);
          if (++looked !== looks) return;
          MISHAPS[mishap](folder);
          there = existsSync(folder) ? contents(folder) : {};
        };
        try {
          await run(store, () => {}).catch((error) => assert.ok(error instanceof LockError, error.stack));
        } finally {
          FolderLock.prototype.requireOwn = look;
        }
        if (looked >= looks) {
          const found = existsSync(folder) ? contents(folder) : {};
          assert.deepEqual(found, there, `${write}, look ${looks}`);
        }
        await lock[Symbol.asyncDispose]();
      }
    }
  });
}

test('a store within another needs that one’s lock as well', async () => {
  const folder = newFolder();
  const outer = new NodeStore(folder);
  const lock = await outer.lock();
  const inner = outer.within('run');
  await inner.replace('config.json', '1');
  const own = await inner.lock();
  assert.deepEqual(readdirSync(join(folder, 'run')), ['config.json', 'lock']);
  renameSync(folder, `${folder}-elsewhere`);
  await assert.rejects(inner.append('metrics.jsonl', '1'), LockError);
  await assert.rejects(outer.within('next').replace('config.json', '1'), LockError);
  await assert.rejects(outer.within('next').lock(), LockError);
  assert.equal(existsSync(folder), false);
  await own[Symbol.asyncDispose]();
  await lock[Symbol.asyncDispose]();
});

/**
 * Long: runs that are killed, stopped, damaged and out of room at random moments lose nothing, and say what happened.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { eventStep, eventText, isRestart } from '../../src/formats/tfevents.js';
import { readTfRecords } from '../../src/formats/tfrecord.js';
import { hashWords } from '../../src/random.js';
import {
  loopnn,
  MAIN,
  MOUNTING,
  mountsDisks,
  outcome,
  SMALL,
  start,
  temporaryFolder,
  trainSmall,
} from './helpers.js';

const KILLS = 60;
const DAMAGES = 50;
const RIVALS = 4;

const folder = temporaryFolder();
/** The learning rate does not depend on where the run ends, so that it can end wherever the kills have brought it. */
const STEADY = ['--min-lr', '0.01', '--checkpoint-interval', '7', '--eval-interval', '50', '--tensorboard'];
const { data, run } = await trainSmall(folder, 'run', ...STEADY, '--max-steps', '40');

const begin = (out: string, ...args: string[]) => [
  'train',
  ...SMALL,
  ...STEADY,
  '--data',
  data,
  '--out',
  out,
  ...args,
];
const resume = (out: string, ...args: string[]) => [
  'train',
  '--data',
  data,
  '--out',
  out,
  '--resume',
  ...args,
];

/** Draws a number below `end`, the same in every run of the test. */
let draws = 0;
const random = (end: number) => hashWords(7, draws++) % end;

/** What a run goes on from: a kill may leave an older checkpoint beside it, and one half written or removed. */
const lastCheckpoint = (out: string) =>
  readdirSync(join(out, 'checkpoints'))
    .filter((name) => /^last-\d+$/.test(name))
    .sort()
    .at(-1)!;

/** What a run has come to, without timings. */
function result(out: string): Record<string, unknown> {
  const last = lastCheckpoint(out);
  const files = ['model.safetensors', 'optimizer.safetensors', 'state.json', 'checksums.json'];
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  const events = readFileSync(join(out, 'events.out.tfevents.loopnn'));
  return {
    last,
    ...Object.fromEntries(files.map((name) => [name, readFileSync(join(out, 'checkpoints', last, name))])),
    metrics: lines.map((line) => {
      const { stepMs, tokensPerSecond, memoryBytes: _, ...rest } = JSON.parse(line);
      assert.ok(rest.kind === 'eval' || (stepMs > 0 && tokensPerSecond > 0));
      return rest;
    }),
    curves: stepsOf(events),
  };
}

/**
 * The steps that a reader of TensorBoard's log keeps: where a run began again, it forgets what it has from there on.
 */
function stepsOf(log: Uint8Array): number[] {
  let steps: number[] = [];
  for (const { data: event } of readTfRecords(log)) {
    const step = eventStep(event, 'test');
    if (isRestart(event, 'test')) steps = steps.filter((former) => former < step);
    // Where `maxSteps` changed, the configuration comes once more.
    else if (eventText(event, 'config', 'test') === undefined) steps.push(step);
  }
  return steps;
}

function sameAs(out: string, whole: string): void {
  const [found, expected] = [result(out), result(whole)];
  for (const name of Object.keys(expected)) assert.deepEqual(found[name], expected[name], name);
}

test(`a run killed or stopped ${KILLS} times, at any moment, is that of a run left alone`, async (t) => {
  const out = join(folder, 'killed');
  const log = join(out, 'metrics.jsonl');
  const size = () => (existsSync(log) ? readFileSync(log).length : 0);
  const ends: Record<string, number> = {};
  for (let kill = 0; kill < KILLS; kill++) {
    const signal = kill % 5 === 4 ? 'SIGTERM' : 'SIGKILL';
    const args = existsSync(join(out, 'checkpoints')) ? resume(out) : begin(out);
    const child = start([...args, '--max-steps', '1000000']);
    const ended = outcome(child);
    // Every fourth one while it starts, the others some time after they have gone on.
    const early = kill % 4 === 3;
    const before = size();
    if (early) await setTimeout(random(500));
    else while (size() === before && child.exitCode === null) await setTimeout(2);
    await setTimeout(random(early ? 100 : 300));
    child.kill(signal);
    const { code, signal: by, stderr } = await ended;
    const end = by ?? String(code);
    ends[end] = (ends[end] ?? 0) + 1;
    // A process that has not yet begun to listen ends as any does.
    if (signal === 'SIGKILL') assert.equal(end, 'SIGKILL', stderr);
    else assert.match(end, /^(143|SIGTERM)$/, stderr);
    assert.ok(!/missing|damaged/.test(stderr), stderr);
  }
  const last = lastCheckpoint(out);
  const steps = String(Number(last.split('-')[1]) + 3);
  const ending = await loopnn(resume(out, '--max-steps', steps));
  assert.equal(ending.code, 0, ending.stderr);
  const whole = join(folder, 'left-alone');
  assert.equal((await loopnn(begin(whole, '--max-steps', steps))).code, 0);
  sameAs(out, whole);
  assert.deepEqual(readdirSync(out).sort(), readdirSync(whole).sort());
  t.diagnostic(
    `${KILLS} ends (${JSON.stringify(ends)}) in ${steps} updates: weights, moments, state and logs are the same`,
  );
});

/** Ways to damage a file of this many bytes; each changes it. */
const DAMAGE: Record<string, (bytes: Buffer) => Buffer | null> = {
  'a flipped bit': (bytes) => {
    bytes[random(bytes.length)] ^= 1 << random(8);
    return bytes;
  },
  'a byte of zeros': (bytes) => {
    let at = random(bytes.length);
    while (bytes[at] === 0) at = random(bytes.length);
    bytes[at] = 0;
    return bytes;
  },
  'a lost sector': (bytes) => {
    const sector = bytes.subarray(512 * random(Math.ceil(bytes.length / 512))).subarray(0, 512);
    sector.fill(sector.every((byte) => byte === 0) ? 0xff : 0);
    return bytes;
  },
  'a cut': (bytes) => bytes.subarray(0, random(bytes.length)),
  'a tail': (bytes) => Buffer.concat([bytes, Buffer.alloc(1 + random(4096))]),
  'nothing left': () => null,
};

test(`${DAMAGES} damaged checkpoints: none is trained on, and the way out leads on`, async (t) => {
  const wayOut: Record<string, number> = {};
  for (let i = 0; i < DAMAGES; i++) {
    const out = join(folder, `damaged-${i}`);
    cpSync(run, out, { recursive: true });
    const last = lastCheckpoint(out);
    const files = readdirSync(join(out, 'checkpoints', last)).filter((name) => name !== 'checksums.json');
    const path = join(out, 'checkpoints', last, files[i % files.length]);
    const names = Object.keys(DAMAGE);
    const how = names[Math.floor(i / files.length) % names.length];
    const intact = readFileSync(path);
    const changed = DAMAGE[how](Buffer.from(intact));
    assert.ok(!changed?.equals(intact), how);
    if (changed) writeFileSync(path, changed);
    else rmSync(path);
    const before = readdirSync(out, { recursive: true }).sort();
    const { code, stderr } = await loopnn(resume(out, '--max-steps', '41'));
    const what = `${how} in ${path}: ${stderr}`;
    assert.equal(code, 1, what);
    const found =
      /^loopnn: (\S+): .*; it is damaged: move (\S+) away and try again from the checkpoint of step (\d+)\n$/.exec(
        stderr,
      );
    assert.ok(found, what);
    assert.equal(join(out, found[1]), path);
    assert.deepEqual(readdirSync(out, { recursive: true }).sort(), before, 'nothing is touched');
    wayOut[how] = (wayOut[how] ?? 0) + 1;
    if (i % 5 === 0) {
      const child = start(resume(out, '--max-steps', '41'));
      const ended = outcome(child);
      await setTimeout(random(400));
      child.kill('SIGTERM');
      const { code: end, signal, stderr: said } = await ended;
      assert.match(signal ?? String(end), /^(SIGTERM|143|1)$/, said);
      const found = readdirSync(out, { recursive: true })
        .filter((name) => name !== 'lock')
        .sort();
      assert.deepEqual(found, before, 'nothing is touched where it was stopped, either');
    }
    if (i % 10 === 0) {
      rmSync(join(out, found[2]), { recursive: true });
      assert.equal((await loopnn(resume(out, '--max-steps', '41'))).code, 0, what);
    }
    rmSync(out, { recursive: true });
  }
  t.diagnostic(`${DAMAGES} refused, by ${JSON.stringify(wayOut)}`);
});

test(`of ${RIVALS} trainings that begin on one run at once and are stopped, one has it, and it goes on`, async (t) => {
  const out = join(folder, 'rivals');
  const log = join(out, 'metrics.jsonl');
  const size = () => (existsSync(log) ? readFileSync(log).length : 0);
  assert.equal((await loopnn(begin(out, '--max-steps', '3', '--eval-interval', '3'))).code, 0);
  const ends: Record<string, number> = {};
  for (let round = 0; round < 12; round++) {
    const rivals = Array.from({ length: RIVALS }, () => start(resume(out, '--max-steps', '1000000')));
    const all = Promise.all(rivals.map(outcome));
    // Some while they start, the others when one of them trains.
    const before = size();
    if (round % 3 === 0) await setTimeout(random(500));
    else while (size() === before && rivals.some(({ exitCode }) => exitCode === null)) await setTimeout(2);
    await setTimeout(random(200));
    for (const rival of rivals) rival.kill('SIGTERM');
    for (const { code, signal, stderr } of await all) {
      const end = signal ?? String(code);
      ends[end] = (ends[end] ?? 0) + 1;
      assert.match(end, /^(SIGTERM|143|1)$/, stderr);
      if (code === 1)
        assert.match(
          stderr,
          /(?:^|\n)loopnn: \S+rivals: must not be in use by another process, got \d+; [^\n]+\n$/,
        );
    }
    const left = readdirSync(out, { recursive: true }) as string[];
    assert.deepEqual(
      left.filter((name) => /partial|draft/.test(name)),
      [],
    );
  }
  const steps = lastCheckpoint(out).split('-')[1];
  assert.ok(Number(steps) > 3, steps);
  const until = ['--max-steps', String(Number(steps) + 3)];
  const ending = await loopnn(resume(out, ...until));
  assert.equal(ending.code, 0, ending.stderr);
  const whole = join(folder, 'alone');
  assert.equal((await loopnn(begin(whole, '--max-steps', '3', '--eval-interval', '3'))).code, 0);
  assert.equal((await loopnn(resume(whole, ...until))).code, 0);
  sameAs(out, whole);
  t.diagnostic(`${RIVALS} at once, ended by ${JSON.stringify(ends)}; the run has ${Number(steps) + 3} steps`);
});

test('stopped where the checkpoint has no room: one line names it, and the former one goes on', async (t) => {
  if (!mountsDisks()) return t.skip('this system does not let a process mount a disk');
  const disk = join(folder, 'stopped-disk');
  const out = join(folder, 'stopped');
  mkdirSync(disk);
  const size = ['--checkpoint-interval', '1000000', '--eval-interval', '1000000'];
  const goesOn = ['--data', data, '--resume', '--max-steps', '1000000', ...size];
  // What is left of the disk is taken while the run goes on, so that what it has done cannot be saved.
  const script = `mount -t tmpfs -o size=16m none ${disk} && cp -r ${run} ${disk}/run || exit 99
    "$@" --out ${disk}/run & training=$!
    until [ -e ${disk}/run/lock ]; do sleep 0.01; done
    sleep 0.5; head -c 32m /dev/zero > ${disk}/rest 2> /dev/null; kill -TERM $training; wait $training; code=$?
    rm ${disk}/rest; cp -r ${disk}/run ${out}; exit $code`;
  const shell = ['sh', '-c', script, 'sh', process.execPath, MAIN, 'train', ...goesOn];
  const [command, ...args] = [...MOUNTING, ...shell];
  const { code, stderr } = await outcome(spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
  assert.equal(code, 1, stderr);
  const said = stderr.trimEnd().split('\n').at(-1)!;
  assert.match(
    said,
    /^loopnn: \S+\/run\/\S+: could not be written, the disk is full; free some space and try again: /,
  );
  assert.deepEqual(
    readdirSync(out, { recursive: true }).filter((name) => /partial|draft|lock/.test(String(name))),
    [],
  );
  const ending = await loopnn(resume(out, '--max-steps', '60'));
  assert.equal(ending.code, 0, ending.stderr);
  t.diagnostic(said.slice(0, 200));
});

test('out of room in any file of a run: one line names it, and with room the run goes on as if nothing had been', async (t) => {
  if (process.platform === 'win32') return t.skip('needs a shell with ulimit');
  const whole = join(folder, 'with-room');
  const steps = ['--max-steps', '60'];
  assert.equal((await loopnn(begin(whole, ...steps))).code, 0);
  const named: Record<string, number> = {};
  const mounts = mountsDisks();
  if (!mounts) t.diagnostic('no small disks: this system does not let a process mount one');
  const blocks = [0, 1, 2, 4, 8, 12, 24, 66, 100, 140];
  const kibibytes = mounts ? [4, 8, 12, 20, 40, 64, 128, 200, 280, 400] : [];
  for (const [kind, limit] of [
    ...blocks.map((n) => ['ulimit', n] as const),
    ...kibibytes.map((n) => ['disk', n] as const),
  ]) {
    const out = join(folder, `${kind}-${limit}`);
    const disk = join(folder, `${kind}-${limit}-mounted`);
    // With 12 blocks no checkpoint comes before the log is full.
    const late = limit === 12 && kind === 'ulimit' ? ['--checkpoint-interval', '1000'] : [];
    const first = begin(kind === 'disk' ? join(disk, 'run') : out, ...steps, ...late).filter(
      (flag) => late.length === 0 || flag !== '--tensorboard',
    );
    // Without a run yet there is nothing to continue: it begins anew.
    const script =
      kind === 'disk'
        ? `mkdir ${disk} && mount -t tmpfs -o size=${limit}k none ${disk} || exit 99
           "$@"; code=$?
           mount -o remount,size=64m ${disk} && cp -r ${disk}/run ${out} 2> ${out}.err; exit $code`
        : `ulimit -f ${limit}; exec "$@"`;
    const shell = ['sh', '-c', script, 'sh', process.execPath, MAIN, ...first];
    const [command, ...args] = kind === 'disk' ? [...MOUNTING, ...shell] : shell;
    const { code, stderr } = await outcome(spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
    const what = `${kind} ${limit}: ${code} ${stderr}`;
    assert.ok(code === 0 || code === 1, what);
    if (code === 1) {
      const said = stderr.trimEnd().split('\n').at(-1)!;
      const found =
        /^loopnn: \S+?\/(?:run|ulimit-\d+)\/(\S+): could not be written, (?:the disk is full; free some space and try again|files may not become so large here; raise the limit \(ulimit -f\), or choose another disk): what was there before is intact$/.exec(
          said,
        );
      assert.ok(found, what);
      const file = found[1].replace(/-\d+$/, '');
      named[file] = (named[file] ?? 0) + 1;
    }
    const partial = existsSync(out)
      ? (readdirSync(out, { recursive: true }) as string[]).filter((n) => /partial|draft|lock/.test(n))
      : [];
    assert.deepEqual(partial, [], what);
    const again = existsSync(join(out, 'checkpoints')) ? resume(out, ...steps) : begin(out, ...steps);
    const ending = await loopnn(again);
    assert.equal(ending.code, 0, `${what}, then ${ending.stderr}`);
    sameAs(out, whole);
    rmSync(out, { recursive: true });
  }
  t.diagnostic(
    `${blocks.length} limits of a file and ${kibibytes.length} full disks, noticed in ${JSON.stringify(named)}`,
  );
});

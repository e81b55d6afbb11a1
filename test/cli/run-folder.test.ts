/**
 * A run belongs to one process and to the folder it began in; what is damaged is not used; and what went wrong is said.
 */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  loopnn,
  loopnnWithin,
  type Outcome,
  outcome,
  refused,
  SMALL,
  start,
  temporaryFolder,
  trainSmall,
} from './helpers.js';

const folder = temporaryFolder();
const { data, run } = await trainSmall(folder, 'run', '--max-steps', '6', '--checkpoint-interval', '3');

const resume = (out: string, ...args: string[]) => [
  'train',
  '--data',
  data,
  '--out',
  out,
  '--resume',
  ...args,
];

/** A copy of the run. */
function copy(name: string): string {
  const out = join(folder, name);
  cpSync(run, out, { recursive: true });
  return out;
}

/** The updates and evaluations in a run's log, as step 7, eval 8. */
function logged(out: string): string[] {
  const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line)).map(({ kind, step }) => `${kind} ${step}`);
}

const ENDLESS = ['--max-steps', '100000', '--checkpoint-interval', '100'];

test('of two that begin or continue a run at once, one trains and the other is refused', async () => {
  const [fresh, begun] = [join(folder, 'new', 'twice'), copy('twice')];
  for (const [out, args] of [
    [fresh, ['train', ...SMALL, '--data', data, '--out', fresh, ...ENDLESS]],
    [begun, resume(begun, ...ENDLESS)],
  ] as const) {
    const both = [0, 1].map(() => start(args));
    const ends = both.map(outcome);
    const other = await Promise.race(ends);
    assert.match(
      other.stderr,
      /^loopnn: .*twice: must not be in use by another process, got \d+; it works there since [^\n]*\n$/,
    );
    assert.equal(other.code, 1);
    await grown(out, 40);
    for (const child of both) child.kill('SIGTERM');
    assert.deepEqual((await Promise.all(ends)).map(({ code }) => code).sort(), [1, 143]);
    const steps = logged(out).filter((line) => line.startsWith('step'));
    assert.deepEqual(
      steps,
      Array.from(steps, (_, i) => `step ${i + 1}`),
    );
  }
});

/** Waits until a run's log has some lines. */
async function grown(out: string, lines: number): Promise<void> {
  const log = join(out, 'metrics.jsonl');
  while (!existsSync(log) || readFileSync(log, 'utf8').split('\n').length <= lines) await setTimeout(5);
}

/** Trains without end; there, once the log has some lines. */
async function training(out: string, ...args: string[]) {
  const child = start([
    'train',
    ...SMALL,
    '--data',
    data,
    '--out',
    out,
    ...ENDLESS,
    '--tensorboard',
    ...args,
  ]);
  const ended = outcome(child);
  await grown(out, 20);
  return { ended };
}

/** Paths and contents of the files below a folder. */
function contents(out: string): Record<string, string> {
  const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map(({ parentPath, name }) => [
      join(parentPath, name),
      readFileSync(join(parentPath, name), 'latin1'),
    ]),
  );
}

function stopped({ code, stderr }: Outcome, out: string): void {
  assert.equal(code, 1, stderr);
  const last = stderr.trimEnd().split('\n').at(-1);
  const rule = 'must stay where it is while this process works in it, but it was moved or removed';
  assert.equal(
    last,
    `loopnn: ${out}: ${rule}; nothing was written there since: go on where the folder is now`,
  );
}

test('a run whose folder is moved stops and says so; it goes on where the folder is', async () => {
  const out = join(folder, 'moving');
  const { ended } = await training(out, '--checkpoint-interval', '5');
  renameSync(out, `${out}-elsewhere`);
  stopped(await ended, out);
  assert.equal(existsSync(out), false, 'no new folder in its place');
  const again = await loopnn(resume(`${out}-elsewhere`, '--max-steps', '30'));
  assert.equal(again.code, 0, again.stderr);
});

test('a run that is started where another was moved away from is left alone', async () => {
  const out = join(folder, 'place');
  const { ended } = await training(out);
  renameSync(out, `${out}-elsewhere`);
  cpSync(run, out, { recursive: true });
  const there = contents(out);
  stopped(await ended, out);
  assert.deepEqual(contents(out), there);
});

test('a run whose folder is removed stops and says so', async () => {
  const out = join(folder, 'removed');
  const { ended } = await training(out);
  renameSync(out, `${out}-gone`); // at once, unlike the removal of one file after the other
  rmSync(`${out}-gone`, { recursive: true });
  stopped(await ended, out);
  assert.equal(existsSync(out), false);
});

test('a comparison whose folder is moved stops; no run of it is trained by two', async () => {
  const out = join(folder, 'comparison');
  const args = ['compare', '--suite', 'demo', '--data', data, '--out', out];
  const child = start(args);
  const ended = outcome(child);
  const begun = (name: string) => ['lock', 'config.json'].every((file) => existsSync(join(out, name, file)));
  const trained = () => readdirSync(out).find(begun);
  while (!existsSync(out) || !trained()) await setTimeout(5);
  await refused(resume(join(out, trained()!)), /must not be in use by another process/);
  renameSync(out, `${out}-elsewhere`);
  const { code, stderr } = await ended;
  assert.equal(code, 1, stderr);
  assert.match(stderr, /comparison[^:]*: must stay where it is while this process works in it/);
  assert.equal(existsSync(out), false);
});

/** Flips a bit in the middle of a file. */
function damage(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] ^= 4;
  writeFileSync(path, bytes);
}

test('every command that reads weights refuses damaged ones, and a way out is named', async () => {
  const out = copy('damaged');
  const folders = readdirSync(join(out, 'checkpoints'));
  const best = folders.find((name) => name.startsWith('best'))!;
  damage(join(out, 'checkpoints', best, 'model.safetensors'));
  const message = new RegExp(
    `checkpoints/${best}/model\\.safetensors: must hold the \\d+ bytes with CRC-32C [0-9a-f]{8} in checksums\\.json, ` +
      `got '.*'; it is damaged: move checkpoints/${best} away and try again from the checkpoint of step 6`,
  );
  for (const args of [
    ['eval', '--model', out, '--data', data],
    ['generate', '--model', out, '--prompt', 'x'],
    ['inspect', '--model', out, '--prompt', 'x'],
    ['exits', '--model', out, '--data', data],
    ['export', '--model', out, '--out', join(folder, 'exported')],
    ['export', '--model', out, '--out', join(folder, 'exported'), '--format', 'onnx'],
  ]) {
    await refused(args, message);
  }
  const served = await loopnn(['serve', '--model', out, '--port', '0']);
  assert.equal(served.code, 1);
  assert.match(served.stderr, message);
  // It was not asked for.
  assert.equal((await loopnn(resume(out, '--max-steps', '7'))).code, 0);
  damage(join(out, 'checkpoints', 'last-0000007', 'optimizer.safetensors'));
  await refused(resume(out, '--max-steps', '8'), /last-0000007\/optimizer\.safetensors: .* it is damaged: /);
});

test('a run without checksums, as former versions left it, is continued with the same bits', async () => {
  const [old, whole] = [copy('old'), copy('whole')];
  for (const name of readdirSync(join(old, 'checkpoints')))
    rmSync(join(old, 'checkpoints', name, 'checksums.json'));
  for (const out of [old, whole]) {
    const result = await loopnn(resume(out, '--max-steps', '9'));
    assert.equal(result.code, 0, result.stderr);
    assert.ok(!/damaged|missing/.test(result.stderr), result.stderr);
  }
  const files = (out: string) =>
    ['model.safetensors', 'optimizer.safetensors', 'state.json', 'checksums.json'].map((name) =>
      readFileSync(join(out, 'checkpoints/last-0000009', name)),
    );
  assert.deepEqual(files(old), files(whole));
});

test('a log with damaged and missing lines is said', async () => {
  const out = copy('log');
  const path = join(out, 'metrics.jsonl');
  const lines = readFileSync(path, 'utf8').split('\n');
  writeFileSync(path, lines.toSpliced(2, 1, 'damaged').join('\n'));
  appendFileSync(path, 'x\n');
  const result = await loopnn(resume(out, '--max-steps', '8'));
  assert.equal(result.code, 0, result.stderr);
  assert.match(
    result.stderr,
    /log\/metrics\.jsonl: left out 2 damaged or repeated lines; 1 update is missing: curves have gaps there/,
  );
  assert.equal(logged(out).filter((line) => line.startsWith('step')).length, 7);
});

test('a loss above that of guessing is said at the end', async () => {
  const out = join(folder, 'high');
  const args = ['train', ...SMALL, '--lr', '10', '--data', data, '--out', out, '--max-steps', '20'];
  const result = await loopnn([...args, '--json']);
  assert.equal(result.code, 0, result.stderr);
  const { valLoss } = JSON.parse(result.stdout);
  assert.ok(valLoss > Math.log(257), String(valLoss));
  const loss = valLoss.toFixed(4).replace('.', '\\.');
  assert.match(
    result.stderr,
    new RegExp(
      `high: validation loss ${loss} is above 5\\.5491, the loss of guessing among 257 tokens: try a lower --lr`,
    ),
  );
  assert.ok(!/guessing/.test((await loopnn(resume(copy('low'), '--max-steps', '60'))).stderr));
});

test('a resumed run that goes on with fewer loops says so', async () => {
  const out = copy('fewer');
  const fewer = ['--loop-schedule', 'switch', '--loop-start', '0.9'];
  const { code, stderr } = await loopnn(resume(out, ...fewer, '--max-steps', '10'));
  assert.equal(code, 0, stderr);
  const said =
    /^update 7 runs 1 loop, update 6 ran 2: loopSchedule switch with loopStart 0\.9 counts in maxSteps = 10/m;
  assert.match(stderr, said);
  const all = ['--loop-schedule', 'constant', '--loop-start', '0'];
  const longer = await loopnn(resume(out, ...all, '--max-steps', '12'));
  assert.equal(longer.code, 0, longer.stderr);
  assert.ok(!/loopSchedule/.test(longer.stderr), longer.stderr);
});

test('a folder that can not be written to is named, with what to do', async (t) => {
  if (process.platform === 'win32') return t.skip('needs a shell with ulimit');
  const out = join(folder, 'no-room');
  const result = await loopnnWithin(0, ['train', ...SMALL, '--data', data, '--out', out]);
  assert.equal(result.code, 1);
  assert.match(
    result.stderr,
    /^loopnn: .*no-room\/lock: could not be written, files may not become so large here; raise the limit/,
  );
  writeFileSync(join(folder, 'file'), '');
  const below = join(folder, 'file', 'run');
  await refused(['train', ...SMALL, '--data', data, '--out', below], /file\/run/);
});

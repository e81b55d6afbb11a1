/** Trainings on many processes that do not end well: who runs, what is lost, and that nothing is left over. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { MAIN, type Outcome, outcome, printed, SMALL, writeCorpus } from '../cli/helpers.js';
import type { Mpi } from './mpi.js';

/** Seconds in which all are to end when one is lost. */
export const PROMISED = 30;

/** A training of an update in six micro-steps; the learning rate does not depend on where the run ends. */
export const STEADY = [
  ...[...SMALL, '--min-lr', '0.01', '--grad-accum-steps', '6', '--verify-every', '1'],
  ...['--eval-interval', '10', '--checkpoint-interval', '4'],
];
/** Steps of a training that is not to end by itself. */
export const ENDLESS = '1000000';

/** Prepares a small corpus as bytes; returns the folder of its tokens. */
export async function prepareBytes(folder: string): Promise<string> {
  const [corpus, data] = ['corpus', 'data'].map((name) => join(folder, name));
  mkdirSync(corpus);
  await printed('prepare', writeCorpus(corpus), '--out', data, '--tokenizer', 'bytes');
  return data;
}

let drills = 0;

/** What was launched, which is told from all else by a word in the environment. */
export class Drill {
  private readonly mark = `LOOPNN_DRILL=${process.pid}-${drills++}`;
  readonly launcher: ChildProcess;
  readonly ended: Promise<Outcome>;
  private exited = false;

  /** Starts a program of Node on so many ranks, `before` being what starts the launcher. */
  constructor(
    mpi: Mpi,
    ranks: number,
    program: readonly string[],
    { before = [], env = {} }: { before?: readonly string[]; env?: Readonly<Record<string, string>> } = {},
  ) {
    const [command, ...args] = [...before, ...mpi.launch(ranks), process.execPath, ...program];
    const [name, word] = this.mark.split('=');
    this.launcher = spawn(command, args, {
      env: { ...process.env, LOOPNN_NUM_THREADS: '1', ...mpi.env, ...env, [name]: word },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.launcher.on('exit', () => {
      this.exited = true;
    });
    this.ended = outcome(this.launcher);
  }

  /** The processes that run, with their ranks; launchers and daemons have none. */
  running(): { pid: number; rank: number | null; command: string }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        const of = (file: string) => read(join('/proc', pid, file)).split('\0');
        const environment = of('environ');
        if (!environment.includes(this.mark)) return [];
        const command = of('cmdline');
        const [, rank = null] =
          (command[0] === process.execPath &&
            /^(?:OMPI_COMM_WORLD|PMI)_RANK=(\d+)$/m.exec(environment.join('\n'))) ||
          [];
        return [{ pid: Number(pid), rank: rank === null ? null : Number(rank), command: command.join(' ') }];
      });
  }

  /** Waits until something is so; an end before it fails the test. */
  async until(what: string, holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.exited) assert.fail(`ended before ${what}: ${JSON.stringify(await this.ended)}`);
      await setTimeout(2);
    }
  }

  /** Sends a signal to a rank, which runs after this. */
  async signal(rank: number, name: NodeJS.Signals): Promise<number> {
    const find = () => this.running().find((one) => one.rank === rank);
    await this.until(`rank ${rank} has started`, () => find() !== undefined);
    const { pid } = find()!;
    process.kill(pid, name);
    return pid;
  }

  /** The launcher's outcome, and after how many seconds; fails where anything still runs after the promised time. */
  async end(promised = PROMISED): Promise<Outcome & { seconds: number }> {
    const start = performance.now();
    const seconds = () => (performance.now() - start) / 1000;
    let ended: (Outcome & { seconds: number }) | null = null;
    void this.ended.then((how) => {
      ended = { ...how, seconds: seconds() };
    });
    while (true) {
      const left = this.running();
      if (ended !== null && left.length === 0) return ended;
      if (seconds() > promised) {
        for (const { pid } of left) process.kill(pid, 'SIGKILL');
        const { stderr } = await this.ended;
        assert.fail(
          `after ${promised} s there is: ${left.map(({ command }) => command).join('\n')}\n${stderr}`,
        );
      }
      await setTimeout(20);
    }
  }
}

/** A training in `out`: a new one, or one that goes on. */
export const training = (data: string, out: string, ...flags: string[]) => [
  ...[MAIN, 'train', '--data', data, '--out', out],
  ...(existsSync(join(out, 'checkpoints')) ? ['--resume'] : STEADY),
  ...flags,
];

/** The last update that is logged in a run; 0 where none is. */
export function stepsIn(out: string): number {
  const [, step = '0'] = /.*"kind":"step","step":(\d+)/s.exec(read(join(out, 'metrics.jsonl'))) ?? [];
  return Number(step);
}

/** The steps of a run's checkpoints to go on from, in order. */
export function checkpointsIn(out: string): number[] {
  const folder = join(out, 'checkpoints');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => /^last-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

export const completed = (out: string) => existsSync(join(out, 'completed.json'));

/** Asserts that two runs have come to the same bits: weights, moments, state, and a log that differs in times alone. */
export function assertSameRun(out: string, whole: string): void {
  for (const file of ['model.safetensors', 'optimizer.safetensors', 'state.json']) {
    const [found, expected] = [out, whole].map((run) => {
      const last = readdirSync(join(run, 'checkpoints'))
        .filter((name) => /^last-\d+$/.test(name))
        .sort()
        .at(-1)!;
      return { last, bytes: readFileSync(join(run, 'checkpoints', last, file)) };
    });
    assert.equal(found.last, expected.last);
    assert.ok(found.bytes.equals(expected.bytes), `${out}: ${file} has other bits`);
  }
  const [found, expected] = [out, whole].map((run) =>
    read(join(run, 'metrics.jsonl')).replace(/,"(stepMs|tokensPerSecond|waitMs|memoryBytes)":[^,}]+/g, ''),
  );
  assert.equal(found, expected);
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // not there yet, or no longer
  }
}

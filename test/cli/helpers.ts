/** Shared by the command-line tests: running `loopnn`, temporary folders, a small corpus. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '../../src/cli/program.js';

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `loopnn` with arguments and extra environment variables. */
export function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Waits for a process and collects what it prints. */
export function outcome(child: ChildProcess): Promise<Outcome> {
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]!.setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, ...printed })));
}

/** Runs `loopnn` in a process of its own: for what is about the process, or a variable that is read only once in it. */
export function spawned(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return outcome(start(args, env));
}

let former: Promise<unknown> = Promise.resolve();

/**
 * Runs `loopnn` in this process, without the time that a process takes to start; one command after the other, as what
 * is printed meanwhile is the command's.
 */
export function loopnn(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const own = former.then(() => runHere(args, env));
  former = own.catch(() => {});
  return own;
}

async function runHere(args: readonly string[], env: Record<string, string>): Promise<Outcome> {
  const printed = { stdout: '', stderr: '' };
  const { exitCode } = process;
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const);
  const releases = (['stdout', 'stderr'] as const).map((name) => {
    const own = Object.getOwnPropertyDescriptor(process, name)!;
    const stream = process[name];
    const write = (chunk: string | Uint8Array) => {
      // Bytes are not the command's: the test runner reports in them.
      if (typeof chunk !== 'string') return stream.write(chunk);
      printed[name] += chunk;
      return true;
    };
    const value = Object.create(stream, { write: { value: write } });
    Object.defineProperty(process, name, { configurable: true, enumerable: true, value });
    return () => Object.defineProperty(process, name, own);
  });
  process.exitCode = undefined;
  Object.assign(process.env, env);
  try {
    const code = (await run([process.execPath, MAIN, ...args])) ?? Number(process.exitCode ?? 0);
    return { code, signal: null, ...printed };
  } finally {
    for (const release of releases) release();
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    process.exitCode = exitCode;
  }
}

/** Runs `loopnn` where no file may grow beyond some blocks of 512 bytes. */
export function loopnnWithin(blocks: number, args: readonly string[]): Promise<Outcome> {
  const limited = ['-c', `ulimit -f ${blocks}; exec "$0" "$@"`, process.execPath, MAIN];
  return outcome(spawn('sh', [...limited, ...args], { stdio: ['ignore', 'pipe', 'pipe'] }));
}

/** Before a command, what lets it mount disks that nobody else sees. */
export const MOUNTING = ['unshare', '--user', '--map-root-user', '--mount'];

export function mountsDisks(): boolean {
  return spawnSync(MOUNTING[0], [...MOUNTING.slice(1), 'true']).status === 0;
}

/** Asserts that a command ends with `code` and a message, on one line where it is no wrong usage. */
export async function refused(
  args: readonly string[],
  message: RegExp,
  code = 1,
  env: Record<string, string> = {},
): Promise<void> {
  assertRefused(await loopnn(args, env), message, code);
}

export function assertRefused(result: Outcome, message: RegExp, code = 1): void {
  assert.match(result.stderr, message);
  assert.equal(result.code, code, result.stderr);
  if (code === 1) assert.equal(result.stderr.trim().split('\n').length, 1, `one line: ${result.stderr}`);
}

/** A folder that is removed after the test file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a small corpus of ten documents and returns its folder. */
export function writeCorpus(folder: string): string {
  for (let i = 0; i < 10; i++) {
    const lines = Array.from(
      { length: 60 },
      (_, j) => `Line ${j} of document ${i}: the same words come again and again.`,
    );
    writeFileSync(join(folder, `text-${i}.txt`), `${lines.join('\n')}\n`);
  }
  return folder;
}

/** A model that trains in a moment. */
export const SMALL = [
  ...[
    '--depth',
    'loop',
    '--n-layer',
    '1',
    '--n-loop',
    '2',
    '--n-head',
    '2',
    '--n-embd',
    '16',
    '--block-size',
    '32',
  ],
  ...['--batch-size', '4', '--warmup-steps', '2', '--eval-batches', '2', '--dropout', '0.1', '--lr', '0.01'],
];

/** Runs a command that must succeed, and returns what it prints as JSON. */
export async function printed(...args: string[]) {
  const result = await loopnn([...args, '--json']);
  assert.equal(result.code, 0, result.stderr);
  return JSON.parse(result.stdout);
}

/** Prepares the corpus as bytes below `folder`, and trains `SMALL` with `flags` on it. */
export async function trainSmall(folder: string, run: string, ...flags: string[]) {
  const [corpus, data, out] = ['corpus', 'data', run].map((name) => join(folder, name));
  mkdirSync(corpus);
  writeCorpus(corpus);
  const { meta } = await printed('prepare', corpus, '--out', data, '--tokenizer', 'bytes');
  const summary = await printed('train', ...SMALL, ...flags, '--data', data, '--out', out);
  return { data, run: out, meta, summary };
}

/**
 * The end of threads that a compilation would keep: programs that have a heap at its limit and a function that V8
 * begins to optimise when they are over. Without room, each of them stays for ever, or aborts, on some version of Node:
 * the workers on 20 and the first on 22 every time, the one that calls process.exit now and then on 22 and 24.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const ENDING = new URL('../../src/node/ending.js', import.meta.url).href;
/** Milliseconds after which V8 begins to optimise what it was asked to: the program is over by then. */
const DELAY = '--concurrent-recompilation-delay=300';

/** Brings the heap to its limit by memory outside it, asks for an optimisation that allocates, and makes room. */
const STAGE = `
  const { makeRoomToEnd } = await import('${ENDING}');
  const sums = Array.from({ length: 400 }, (_, i) => 'n += (\`\${' + (1e6 + i) + '.25}a\`).length ^ x;');
  const f = new Function('x', 'let n = 0;' + sums.join('') + 'return n');
  let garbage;
  for (let r = 0; r < 400; r++) for (let i = 0; i < 20000; i++) garbage = { i, r, garbage: null };
  const held = [];
  for (let i = 0; i < 16; i++) held.push(new ArrayBuffer(2 ** 20));
  %PrepareFunctionForOptimization(f);
  f(1);
  f(2);
  %OptimizeFunctionOnNextCall(f, 'concurrent');
  f(3);
  makeRoomToEnd();
`;
const inWorker = (end: string) => `
  import { Worker } from 'node:worker_threads';
  const code = ${JSON.stringify(`(async () => {${STAGE}${end}})()`)};
  new Worker(code, { eval: true }).once('exit', (code) => { process.exitCode = code; });
`;
const PROGRAMS = {
  'a program that is over': `${STAGE}process.exitCode = 3;`,
  'a program that calls process.exit': `${STAGE}process.exit(3);`,
  'a worker that is over': inWorker('process.exitCode = 3;'),
  'a worker that calls process.exit': inWorker('process.exit(3);'),
};

for (const [name, program] of Object.entries(PROGRAMS)) {
  test(`${name} ends, whatever still compiles`, async () => {
    const args = ['--allow-natives-syntax', DELAY, '--input-type=module', '--eval', program];
    const run = async () => {
      const child = promisify(execFile)(process.execPath, args, { timeout: 120_000, killSignal: 'SIGKILL' });
      await assert.rejects(child, (error: { code: number | null; stderr: string }) => {
        assert.deepEqual([error.code, error.stderr], [3, '']);
        return true;
      });
    };
    await Promise.all([run(), run()]);
  });
}

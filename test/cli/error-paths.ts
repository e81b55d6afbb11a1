/**
 * Every command fails in several ways, before and after it has loaded a model, and each time the process must end. Runs
 * each so many times: a process that waits at its end for a compilation, which waits for it, does so now and then only
 * (src/node/ending.ts).
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loopnn, outcome, start, temporaryFolder } from './helpers.js';

/**
 * A command that fails: its arguments, what it says, the exit code (1 by default), and variables of its environment.
 */
type Path = readonly [args: readonly string[], message: RegExp, code?: number, env?: Record<string, string>];

/** Processes at a time. */
const AT_ONCE = 2;
/** No command here takes a second on an idle machine. */
const LIMIT_MS = 120_000;

/** A process that has ended by itself within the limit. */
async function ended(args: readonly string[], env?: Record<string, string>) {
  const child = start(args, env);
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  const result = await outcome(child);
  clearTimeout(timer);
  assert.equal(result.signal, null, `${args.join(' ')}: must end by itself; it printed ${result.stderr}`);
  return result;
}

/** Does `work` for every item, some at a time. */
async function forAll<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const queue = [...items];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    }),
  );
}

/** Registers a test for each command, which takes each of its error paths so many times. */
export async function errorPathsEnd(times: number): Promise<void> {
  for (const [command, paths] of Object.entries(await errorPaths())) {
    test(`${command}: each of ${paths.length} error paths ends, times ${times}`, async () => {
      const runs = Array.from({ length: times }, () => paths).flat();
      await forAll(runs, async ([args, message, code = 1, env]) => {
        const result = await ended([command, ...args], env);
        assert.match(result.stderr, message);
        assert.equal(result.code, code, result.stderr);
      });
    });
  }
}

/**
 * What each command is given to fail at. The tokenizer's 4,096 tokens leave the heap near its limit when it has been
 * read.
 */
async function errorPaths(): Promise<Record<string, readonly Path[]>> {
  const folder = temporaryFolder();
  const at = (...names: string[]) => join(folder, ...names);
  const [data, run, gone] = [at('data'), at('run'), at('gone')];
  const must = async (...args: string[]) => {
    const { code, stderr } = await loopnn(args);
    assert.equal(code, 0, stderr);
  };
  await must('prepare', 'moby-dick', '--out', data, '--tokenizer', 'bpe:4096');
  const few = ['--max-steps', '1', '--warmup-steps', '0', '--batch-size', '1', '--eval-batches', '1'];
  await must('train', '--preset', 'mini-1x2', '--data', data, '--out', run, ...few);
  const [corrupt, empty, text, long] = [at('corrupt'), at('empty'), at('words.txt'), 'word '.repeat(600)];
  cpSync(run, corrupt, { recursive: true });
  for (const kind of readdirSync(join(corrupt, 'checkpoints'))) {
    truncateSync(join(corrupt, 'checkpoints', kind, 'model.safetensors'), 10_000);
  }
  mkdirSync(empty);
  writeFileSync(text, 'One line of text.\n'.repeat(100));
  writeFileSync(at('broken.jsonl'), '{"text": \n'.repeat(200));
  writeFileSync(at('template.jinja'), '{% for %}');
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  after(() => taken.close());
  const port = String((taken.address() as { port: number }).port);
  const model = ['--model', run] as const;
  const onto = ['--out', at('new')] as const;
  const damaged = /model\.safetensors: /;
  return {
    params: [
      [['mini-1x3'], /preset: unknown name/],
      [['--n-layer', 'two'], /must be a whole number/, 2],
    ],
    prepare: [
      [[gone, ...onto], /gone/],
      [[text, ...onto, '--tokenizer', join(gone, 'tokenizer.json')], /tokenizer\.json/],
      [[at('broken.jsonl'), ...onto, '--tokenizer', 'gpt2', '--workers', '2'], /broken\.jsonl/],
    ],
    train: [
      [['--data', gone, ...onto], /gone/],
      [['--data', data, '--out', run], /--out: must not hold a run yet/],
      [['--data', data, '--out', corrupt, '--resume', '--max-steps', '2'], damaged],
    ],
    eval: [
      [['--model', gone, '--data', data], /gone/],
      [['--model', corrupt, '--data', data], damaged],
      [[...model, '--data', data, '--exit-criterion', 'kl', '--exit-threshold', '1'], /exit\.criterion/],
      [[...model, '--text', gone], /gone/],
    ],
    generate: [
      [['--model', gone, '--prompt', 'a'], /gone/],
      [['--model', corrupt, '--prompt', 'a'], damaged],
      [[...model, '--prompt', long], /prompt: must have at most/],
      [[...model, '--prompt', 'a', '--tokens', '0'], /whole number of at least 1/, 2],
    ],
    serve: [
      [['--model', gone, '--port', '0'], /gone/],
      [['--model', corrupt, '--port', '0'], damaged],
      [[...model, '--port', port], /EADDRINUSE/],
      [[...model, '--port', '0', '--chat-template', at('template.jinja')], /chat.template/],
    ],
    play: [
      [['--model', gone, '--port', '0'], /gone/],
      [['--model', corrupt, '--port', '0'], damaged],
      [[...model, '--port', port], /EADDRINUSE/],
    ],
    inspect: [
      [[...model, '--prompt', ''], /prompt: must have 1 to blockSize/],
      [[...model, '--prompt', long], /prompt: must have 1 to blockSize/],
      [['--model', corrupt, '--prompt', 'a'], damaged],
      [[...model, '--prompt', 'a', '--html', join(gone, 'page.html')], /page\.html: could not be written/],
    ],
    exits: [
      [[...model, '--data', data, '--criterion', 'kl'], /criterion: must be change/],
      [[...model, '--data', gone], /gone/],
    ],
    import: [
      [[gone, ...onto], /gone/],
      [[empty, ...onto], /empty: must hold model\.safetensors/],
    ],
    export: [
      [[...model, '--out', run], /--out/],
      [['--model', corrupt, ...onto], damaged],
      [[...model, ...onto, '--weights', 'int8'], /--weights/],
    ],
    retrofit: [
      [[...model, ...onto, '--loops', '2'], /gpt2/],
      [['--model', gone, ...onto, '--loops', '2'], /gone/],
    ],
    compare: [
      [['--suite', 'nothing', ...onto], /nothing/],
      [['--suite', 'paper-1', '--scale', 'full', ...onto], /--data/],
    ],
    bench: [
      [['mini-1x3'], /preset: unknown name/],
      [['mini-1x2', '--precision', 'bf16'], /precision/, 1, { LOOPNN_BACKEND: 'reference' }],
    ],
    doctor: [
      [['--loops', '2'], /unknown option/, 2],
      [['again'], /too many arguments/, 2],
    ],
  };
}

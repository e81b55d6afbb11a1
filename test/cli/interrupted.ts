/**
 * Every command is ended by SIGTERM while it works: within a second, by the signal or with its exit code, and with
 * nothing half-written.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { hashWords } from '../../src/random.js';
import { loopnn, outcome, SMALL, start, temporaryFolder, trainSmall } from './helpers.js';

/** A command during its work. */
interface Work {
  /** `out` is what it makes, if it makes anything. */
  readonly args: (out: string) => readonly string[];
  /** Whether it is under way: so many milliseconds after it began, what it has printed, or what is below `out`. */
  readonly underWay: number | RegExp | ((out: string) => boolean);
  /** What must be there afterwards, by name below `out`; by default there is no `out`. */
  readonly keeps?: RegExp;
  /** Whether a file `out` is whole, where a fast machine may write it before the signal comes. */
  readonly whole?: (out: string) => boolean;
  /** The exit code, where it is not the signal's. */
  readonly code?: number;
}

/** The fastest of so many counts: other work on the machine makes none of them faster. */
const ATTEMPTS = 3;
/** Longest time for a command to get under way. */
const LIMIT_MS = 60_000;

/** Whether a file or folder below a folder has this beginning of a name, and is not empty. */
function has(folder: string, name: RegExp): boolean {
  if (!existsSync(folder)) return false;
  const found = (readdirSync(folder, { recursive: true }) as string[]).filter((path) => name.test(path));
  return found.some((path) => statSync(join(folder, path), { throwIfNoEntry: false })?.size);
}

/** Whether a run below a folder has logged an update: before the first there is nothing to save. */
function hasUpdated(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const logs = (readdirSync(folder, { recursive: true }) as string[]).filter((path) =>
    /metrics\.jsonl$/.test(path),
  );
  return logs.some((path) => readFileSync(join(folder, path), 'utf8').includes('"kind":"step"'));
}

/** Text of words that no tokenizer has seen. */
function words(count: number): string {
  const word = (_: unknown, i: number) => (hashWords(i) >>> 0).toString(36).replace(/\d/g, '');
  const all = Array.from({ length: 50_000 }, word);
  return Array.from({ length: count }, (_, i) => all[i % all.length]).join(' ');
}

/** Registers a test for each command. */
export async function interruptedEnds(mostMs: number, heavy: boolean): Promise<void> {
  const folder = temporaryFolder();
  for (const [name, work] of Object.entries(await works(folder, heavy))) {
    test(`${name}: SIGTERM ends it within ${mostMs} ms, with nothing half-written`, async (t) => {
      let fastest = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < ATTEMPTS && fastest >= mostMs; attempt++) {
        const home = join(folder, `home-${name.replace(/\W/g, '-')}-${attempt}`);
        mkdirSync(home);
        fastest = Math.min(fastest, await endsWhole(work, home));
      }
      t.diagnostic(`${name}: after ${fastest.toFixed(0)} ms`);
      assert.ok(fastest < mostMs, `${fastest} ms`);
    });
  }
}

/** Milliseconds until a command has ended; fails where it left something half-written in its folder. */
async function endsWhole(work: Work, home: string): Promise<number> {
  const { code, signal, stderr, ms } = await interrupted(work, join(home, 'out'));
  const what = `${code} ${signal} ${ms} ms: ${stderr}`;
  assert.ok(signal === 'SIGTERM' || code === (work.code ?? 143), what);
  assert.doesNotMatch(stderr, /loopnn: |unexpected/, what);
  const left = readdirSync(home, { recursive: true }) as string[];
  assert.deepEqual(
    left.filter((path) => /partial|draft|\block\b|former/.test(path)),
    [],
    what,
  );
  const { keeps, whole } = work;
  if (keeps)
    assert.ok(
      left.some((path) => keeps.test(path)),
      `${left}`,
    );
  else assert.deepEqual(left, left.length > 0 && whole?.(join(home, 'out')) ? ['out'] : [], what);
  return ms;
}

/** Ends a command as soon as it is under way, and measures how long that takes. */
async function interrupted({ args, underWay }: Work, out: string) {
  const child = start(args(out));
  let printed = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (text) => (printed += text));
  const ended = outcome(child);
  const begun = performance.now();
  const isUnderWay = () => {
    if (typeof underWay === 'number') return performance.now() - begun >= underWay;
    return underWay instanceof RegExp ? underWay.test(printed) : underWay(out);
  };
  while (!isUnderWay()) {
    assert.equal(child.exitCode, null, `it ended before it was under way: ${printed.slice(-500)}`);
    assert.ok(performance.now() - begun < LIMIT_MS, `it did not get under way: ${printed.slice(-500)}`);
    await setTimeout(5);
  }
  const asked = performance.now();
  child.kill('SIGTERM');
  return { ...(await ended), ms: performance.now() - asked };
}

/** What the commands do. The heavy works want a model of 170 MB. */
async function works(folder: string, heavy: boolean): Promise<Record<string, Work>> {
  const { data, run } = await trainSmall(folder, 'run', '--max-steps', '2');
  const text = join(folder, 'words.txt');
  writeFileSync(text, words(4_000_000));
  const tokens = join(folder, 'tokens');
  const prepared = await loopnn(['prepare', text, '--out', tokens, '--tokenizer', 'bytes']);
  assert.equal(prepared.code, 0, prepared.stderr);
  const model = ['--model', run] as const;
  const partial = /\.partial/;
  const light: Record<string, Work> = {
    params: { args: () => ['params'], underWay: 30 },
    doctor: { args: () => ['doctor'], underWay: 30 },
    'prepare: one thread': {
      args: (out) => ['prepare', text, '--out', out, '--tokenizer', 'gpt2', '--workers', '1'],
      underWay: (out) => has(`${out}.partial`, /train\.bin$/),
    },
    'prepare: workers': {
      args: (out) => ['prepare', text, '--out', out, '--tokenizer', 'gpt2', '--workers', '2'],
      underWay: (out) => has(`${out}.partial`, /train\.bin$/),
    },
    train: {
      args: (out) => ['train', ...SMALL, '--max-steps', '1000000', '--data', data, '--out', out],
      underWay: hasUpdated,
      keeps: /checkpoints\/last-/,
    },
    'train: before the first step': {
      args: (out) => ['train', ...SMALL, '--grad-accum-steps', '1000000', '--data', data, '--out', out],
      underWay: /step +0 /,
      keeps: /config\.json$/,
    },
    eval: { args: () => ['eval', ...model, '--data', tokens], underWay: 700 },
    'eval: a text': { args: () => ['eval', ...model, '--text', text], underWay: 700 },
    exits: {
      args: (out) => ['exits', ...model, '--data', tokens, '--max-tokens', '10000000', '--out', out],
      underWay: 700,
    },
    inspect: {
      args: (out) => ['inspect', ...model, '--prompt', 'x'.repeat(32), '--html', out],
      underWay: 150,
      whole: (out) => readFileSync(out, 'utf8').endsWith('</html>\n'),
    },
    bench: { args: () => ['bench', 'mini-1x2'], underWay: 700 },
    compare: {
      args: (out) => ['compare', '--suite', 'demo', '--out', out],
      underWay: hasUpdated,
      keeps: /checkpoints\/last-/,
    },
    'serve: idle': {
      args: () => ['serve', ...model, '--port', '0'],
      underWay: /is loaded/,
      code: 0,
    },
  };
  if (!heavy) return light;
  // A micro-step, which a signal waits for, takes a moment where the block is short.
  const big = join(folder, 'big');
  const size = [
    '--depth',
    'gpt2',
    '--n-layer',
    '6',
    '--n-head',
    '12',
    '--n-embd',
    '768',
    '--block-size',
    '128',
  ];
  const few = ['--batch-size', '1', '--max-steps', '1', '--warmup-steps', '0', '--eval-batches', '1'];
  const trained = await loopnn(['train', ...size, ...few, '--data', tokens, '--out', big]);
  assert.equal(trained.code, 0, trained.stderr);
  const exported = join(folder, 'exported');
  assert.equal((await loopnn(['export', '--model', big, '--out', exported])).code, 0);
  const bigModel = ['--model', big] as const;
  const onnx = (type: string) => ['export', ...bigModel, '--format', 'onnx', '--weights', type];
  const writing = (out: string) => has(out, partial);
  // One document of 8 MB, a line of JSON without breaks, for a tokenizer whose words are whole documents; and one word.
  const line = join(folder, 'line.jsonl');
  writeFileSync(line, `${JSON.stringify({ text: words(1_200_000) })}\n{"text":"short"}\n`);
  const word = join(folder, 'word.txt');
  writeFileSync(word, Array.from({ length: 3_000_000 }, (_, i) => 'acgt'[hashWords(i) & 3]).join(''));
  const wordless = join(folder, 'tokenizer.json');
  const letters = Array.from('abcdefghijklmnopqrstuvwxyz0123456789');
  const vocab = ['<|endoftext|>', ' ', ...letters, ...letters.flatMap((a) => letters.map((b) => a + b))];
  const json = {
    added_tokens: [{ id: 0, content: '<|endoftext|>', special: true }],
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      merges: letters.flatMap((a) => letters.map((b) => [a, b])),
    },
  };
  writeFileSync(wordless, JSON.stringify(json));
  return {
    ...light,
    'prepare: a long document': {
      args: (out) => ['prepare', line, '--out', out, '--tokenizer', wordless],
      underWay: (out) => has(`${out}.partial`, /train\.bin$/),
    },
    'prepare: learning merges of one word': {
      args: (out) => ['prepare', word, '--out', out, '--tokenizer', 'bpe:1024'],
      underWay: 2500,
    },
    'prepare: counting': {
      args: (out) => ['prepare', text, '--out', out, '--tokenizer', 'bpe:20000'],
      underWay: 400,
    },
    'prepare: learning merges': {
      args: (out) => ['prepare', text, '--out', out, '--tokenizer', 'bpe:20000'],
      underWay: 1800,
    },
    'train: drawing initial weights': {
      args: (out) => ['train', ...size, '--n-layer', '12', '--data', tokens, '--out', out],
      underWay: 1000,
    },
    'train: resuming': {
      args: () => ['train', '--data', tokens, '--out', big, '--resume', '--max-steps', '2'],
      underWay: 500,
    },
    generate: { args: () => ['generate', ...bigModel, '--prompt', 'x', '--tokens', '127'], underWay: /^x/ },
    import: { args: (out) => ['import', exported, '--out', out], underWay: writing },
    'export: Hugging Face': { args: (out) => ['export', ...bigModel, '--out', out], underWay: writing },
    'export: checking the weights': { args: (out) => ['export', ...bigModel, '--out', out], underWay: 250 },
    'export: ONNX': { args: (out) => [...onnx('float32'), '--out', out], underWay: writing },
    'export: ONNX, float16': { args: (out) => [...onnx('float16'), '--out', out], underWay: writing },
    'export: ONNX, int8': { args: (out) => [...onnx('int8'), '--out', out], underWay: writing },
    retrofit: { args: (out) => ['retrofit', ...bigModel, '--loops', '2', '--out', out], underWay: writing },
    'serve: loading': { args: () => ['serve', ...bigModel, '--port', '0'], underWay: /listening/, code: 0 },
  };
}

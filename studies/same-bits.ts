/**
 * Hashes what the program computes, to compare two states of the code that must agree bit for bit: SHA-256 of a
 * checkpoint's tensors after some training steps, of all log-probabilities of the trained model at each of 64 decoded
 * tokens (over the key/value cache), and of its ONNX graph, for each depth on each engine.
 *
 *     node dist/studies/same-bits.js [--json] [--engine NAME] [--only MODEL] > after.json
 *
 * It uses only commands and the package's exports, so that the script works with either state. Hashes depend on the
 * instruction set (`LOOPNN_ISA`): compare those of one machine.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadModel } from '../src/index.js';

const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));
const TOKENS = 64;
const END_OF_TEXT = 256;
const VOCABULARY = 257;
const SHAPE =
  `--n-embd 64 --n-head 2 --vocab-size ${VOCABULARY} --batch-size 2 --block-size 64 --warmup-steps 2 --dropout 0.1 ` +
  '--eval-batches 2 --lr 0.003 --min-lr 0.00006';

interface System {
  readonly flags: string;
  /** Whether its graph can be exported. */
  readonly onnx: boolean;
}

const SYSTEMS: Readonly<Record<string, System>> = {
  gpt2: { flags: '--depth gpt2 --n-layer 2', onnx: true },
  'loop 1×2': { flags: '--depth loop --n-layer 1 --n-loop 2', onnx: true },
  'loop 4×(6×2)': { flags: '--depth loop --n-layer 4 --n-loop 6 --n-inner-loop 2', onnx: true },
  'universal, act': { flags: '--depth universal --n-layer 1 --n-loop 4 --halting act', onnx: false },
  universal: { flags: '--depth universal --n-layer 1 --n-loop 3 --norm pre', onnx: true },
  adaptive: { flags: '--depth adaptive --n-layer 3 --halting geometric --exit-loss uniform', onnx: false },
  sharing: { flags: '--depth sharing --n-layer 2 --n-application 6 --sharing cycle-rev', onnx: true },
};

interface Engine {
  readonly backend: string;
  readonly precision: string;
  readonly steps: number;
}

const ENGINES: Readonly<Record<string, Engine>> = {
  'native f32': { backend: 'native', precision: 'f32', steps: 20 },
  'native bf16': { backend: 'native', precision: 'bf16', steps: 20 },
  // In plain TypeScript a step of 4×(6×2) takes seconds.
  'reference f32': { backend: 'reference', precision: 'f32', steps: 4 },
};

interface Bits {
  readonly steps: number;
  readonly checkpoint: string;
  readonly decoded: string;
  readonly onnx: string | null;
}

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, engine: { type: 'string' }, only: { type: 'string' } },
});
const folder = mkdtempSync(join(tmpdir(), 'loopnn-same-bits-'));
try {
  const data = prepare(folder);
  const found: Record<string, Record<string, Bits>> = {};
  for (const [engine, { backend, precision, steps }] of chosen(ENGINES, values.engine)) {
    process.env.LOOPNN_BACKEND = backend;
    found[engine] = {};
    for (const [name, { flags, onnx }] of chosen(SYSTEMS, values.only)) {
      const run = join(folder, 'run');
      const training = `train ${flags} ${SHAPE} --max-steps ${steps} --precision ${precision}`;
      loopnn(...training.split(' '), '--data', data, '--out', run);
      const bits = {
        steps,
        checkpoint: hashTensors(join(run, 'checkpoints')),
        decoded: await hashDecoded(run),
        onnx: onnx ? hashGraph(run, join(folder, 'onnx')) : null,
      };
      found[engine][name] = bits;
      const words = [bits.checkpoint, bits.decoded, bits.onnx].map((hash) => hash?.slice(0, 16) ?? '–');
      const line = `${engine.padEnd(14)}${name.padEnd(15)}${steps} steps: ${words.join('  ')}`;
      (values.json ? process.stderr : process.stdout).write(`${line}\n`);
      for (const made of ['run', 'onnx']) rmSync(join(folder, made), { recursive: true, force: true });
    }
  }
  if (values.json) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function chosen<Value>(table: Readonly<Record<string, Value>>, name: string | undefined): [string, Value][] {
  const entries = Object.entries(table).filter(([key]) => name === undefined || key === name);
  if (entries.length === 0)
    throw new Error(`same-bits: must be ${Object.keys(table).join(' or ')}, got ${name}`);
  return entries;
}

/** Prepares a corpus in which something can be learned, always the same; returns its folder of byte tokens. */
function prepare(folder: string): string {
  const words = 'the loop runs again over every block and adds what it has found to the state'.split(' ');
  const lines = Array.from({ length: 600 }, (_, i) => {
    const line = Array.from({ length: 10 }, (_, j) => words[(i * i + 7 * j * (1 + (i % 5))) % words.length]);
    return `${i}: ${line.join(' ')}.`;
  });
  const [text, data] = [join(folder, 'corpus.txt'), join(folder, 'data')];
  writeFileSync(text, `${lines.join('\n')}\n`);
  loopnn('prepare', text, '--out', data, '--tokenizer', 'bytes');
  return data;
}

function loopnn(...args: string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args, '--json'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`loopnn ${args.join(' ')}: ${stderr}`);
}

/** A hash of all files of tensors: weights and the optimizer's moments. */
function hashTensors(checkpoints: string): string {
  const files = (readdirSync(checkpoints, { recursive: true }) as string[]).filter((name) =>
    name.endsWith('.safetensors'),
  );
  const hash = createHash('sha256');
  for (const name of files.sort()) hash.update(name).update(readFileSync(join(checkpoints, name)));
  return hash.digest('hex');
}

/** A hash of the log-probabilities of the whole vocabulary at every position, and of the steps of each position. */
async function hashDecoded(run: string): Promise<string> {
  const hash = createHash('sha256');
  await using model = await loadModel(run);
  const options = { maxTokens: TOKENS, temperature: 0, topLogprobs: VOCABULARY };
  // One token of a prompt and the first 63 made fill the block; text does not end before.
  const stream = model.generate('t', { ...options, logitBias: { [END_OF_TEXT]: -1e9 } });
  let count = 0;
  for await (const { id, top, steps } of stream) {
    if (id === null) continue;
    count++;
    const logprobs = new Float64Array(VOCABULARY);
    for (const { id: other, logprob } of top!) logprobs[other] = logprob;
    hash.update(logprobs).update(Int32Array.of(id, steps));
  }
  if (count < TOKENS) throw new Error(`same-bits: decoded ${count} tokens of ${TOKENS}`);
  return hash.digest('hex');
}

function hashGraph(run: string, out: string): string {
  loopnn('export', '--model', run, '--out', out, '--format', 'onnx');
  return createHash('sha256')
    .update(readFileSync(join(out, 'onnx', 'model.onnx')))
    .digest('hex');
}

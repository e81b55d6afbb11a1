/**
 * Times decoding of GPT-2 124M against PyTorch, onnxruntime and llama.cpp, prompt by prompt in turns, one sequence,
 * greedily. The weights are random and the same for all.
 *
 *     node dist/studies/decoding-peers.js PYTHON FOLDER [ROUNDS]
 *
 * PYTHON is an interpreter with torch, transformers, onnxruntime, llama-cpp-python and gguf; FOLDER keeps the model
 * files. The peers are child processes that are idle between their turns (studies/peers/decode.py).
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { nativeInfo } from '../src/backend/native/addon.js';
import { machine } from '../src/node/machine.js';
import { nodeClock } from '../src/node/store.js';
import { type LoadOptions, loadRun, openRun } from '../src/node/run.js';
import { median, spread } from '../src/statistics.js';
import { Decoder } from '../src/generate/decoder.js';
import { hashWords } from '../src/random.js';

const [python, folder, rounds = '5'] = process.argv.slice(2);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SCRIPT = join(ROOT, 'studies', 'peers', 'decode.py');
const VOCABULARY = 50_257;
const CONTEXTS = [128, 1000];
const TOKENS = 17;

interface Answer {
  readonly ids: number[];
  readonly prefillMs: number;
  /** Milliseconds of each token after the first. */
  readonly ms: number[];
}

interface Runner {
  readonly name: string;
  /** Bits of a weight: runners with equal bits are compared. */
  readonly bits: number;
  answer(prompt: number[]): Promise<Answer>;
}

async function ours(name: string, bits: number, options: LoadOptions): Promise<Runner> {
  const { model } = await loadRun(await openRun(join(folder, 'run')), options);
  const decoder = new Decoder(model);
  return {
    name,
    bits,
    async answer(prompt) {
      using sequence = decoder.open();
      const ids: number[] = [];
      const times: number[] = [];
      for (let tokens = prompt; ids.length < TOKENS; tokens = [ids[ids.length - 1]]) {
        const start = nodeClock.now();
        const { logits } = await decoder.extend([{ sequence, tokens }]);
        let best = 0;
        for (let id = 1; id < VOCABULARY; id++) if (logits[id] > logits[best]) best = id;
        times.push(nodeClock.now() - start);
        ids.push(best);
      }
      return { ids, prefillMs: times[0], ms: times.slice(1) };
    },
  };
}

async function peer(name: string, bits: number, kind: string, path: string, type = ''): Promise<Runner> {
  const env = { ...process.env, OMP_WAIT_POLICY: 'PASSIVE' };
  const child = spawn(python, [SCRIPT, 'serve', kind, join(folder, path), type], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${name} has ended`);
    return JSON.parse(value) as Answer;
  };
  await read();
  return {
    name,
    bits,
    async answer(prompt) {
      child.stdin.write(`${JSON.stringify({ prompt, tokens: TOKENS })}\n`);
      return read();
    },
  };
}

function prepare(): void {
  mkdirSync(folder, { recursive: true });
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'inherit' });
  const missing = (name: string) => !existsSync(join(folder, name));
  const loopnn = join(ROOT, 'dist', 'src', 'cli', 'main.js');
  if (missing('hf')) run(python, SCRIPT, 'make', join(folder, 'hf'));
  if (missing('run'))
    run(process.execPath, loopnn, 'import', join(folder, 'hf'), '--out', join(folder, 'run'));
  for (const weights of ['float32', 'int8']) {
    const out = `onnx-${weights}`;
    const args = ['--format', 'onnx', '--weights', weights, '--out', join(folder, out)];
    if (missing(out)) run(process.execPath, loopnn, 'export', '--model', join(folder, 'run'), ...args);
  }
  for (const type of ['F32', 'BF16', 'Q8_0']) {
    if (missing(`${type}.gguf`))
      run(python, SCRIPT, 'gguf', join(folder, 'hf'), join(folder, `${type}.gguf`), type);
  }
}

prepare();
const runners = [
  await ours('loopnn f32', 32, { precision: 'f32' }),
  await peer('PyTorch f32', 32, 'torch', 'hf', 'float32'),
  await peer('onnxruntime f32', 32, 'onnx', 'onnx-float32/onnx/model.onnx'),
  await peer('llama.cpp F32', 32, 'llama', 'F32.gguf'),
  await ours('loopnn bf16', 16, { precision: 'bf16' }),
  // Without instructions for bf16, PyTorch takes minutes for a prompt of a thousand tokens.
  ...(nativeInfo().bf16 ? [await peer('PyTorch bf16', 16, 'torch', 'hf', 'bfloat16')] : []),
  await peer('llama.cpp BF16', 16, 'llama', 'BF16.gguf'),
  await ours('loopnn int8', 8, { precision: 'bf16', weights: 'int8' }),
  await peer('onnxruntime int8', 8, 'onnx', 'onnx-int8/onnx/model_quantized.onnx'),
  await peer('llama.cpp Q8_0', 8, 'llama', 'Q8_0.gguf'),
];
const { processor, processors, node, commit } = machine();
console.log(`${processor}, ${processors} processors, Node ${node}, commit ${commit ?? 'unknown'}`);

for (const context of CONTEXTS) {
  const times = runners.map(() => ({ token: [] as number[], prefill: [] as number[] }));
  for (let round = 0; round <= Number(rounds); round++) {
    const prompt = Array.from({ length: context }, (_, t) => hashWords(round, t) % VOCABULARY);
    let first: Answer | null = null;
    for (const [i, runner] of runners.entries()) {
      const answer = await runner.answer(prompt);
      first ??= answer;
      if (runner.bits === 32)
        assert.deepEqual(answer.ids, first.ids, `${runner.name}: not the tokens of all others`);
      if (round === 0) continue; // the first round allocates
      times[i].token.push(median(answer.ms));
      times[i].prefill.push(answer.prefillMs);
    }
  }
  console.log(`\ncontext ${context}, ms a token: least, median, largest of ${rounds}; prefill: median`);
  let own = 0;
  for (const [i, { name }] of runners.entries()) {
    if (name.startsWith('loopnn')) own = i;
    const { min, median: middle, max } = spread(times[i].token);
    const ratios = spread(times[i].token.map((ms, r) => ms / times[own].token[r]));
    const ratio =
      i === own
        ? ''
        : `, ${ratios.median.toFixed(2)}× ours (${ratios.min.toFixed(2)}–${ratios.max.toFixed(2)})`;
    const ms = `${min.toFixed(2)}, ${middle.toFixed(2)}, ${max.toFixed(2)}${ratio}`;
    console.log(`${name.padEnd(18)} ${ms}; ${median(times[i].prefill).toFixed(0)}`);
  }
}
process.exit(0);

/**
 * Times multiple choice against lm-evaluation-harness on the same GPT-2 124M with random weights, in float32 on two
 * threads: 200 questions of 200 tokens, each with four answers of 10, in turns. The harness has the options
 * `--model hf` and `--batch_size 16`; its time is that of `loglikelihood`. The time of loopnn is that of the functions
 * which `loopnn eval --tasks` calls. Both go from texts to log-probabilities.
 *
 *     node dist/studies/scoring-peers.js PYTHON FOLDER [QUESTIONS] [ROUNDS]
 *
 * PYTHON is an interpreter with torch, transformers and lm_eval (studies/peers/score.py); FOLDER keeps the model.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { nativeInfo, setThreads } from '../src/backend/native/addon.js';
import { readQuestions } from '../src/evaluate/tasks/questions.js';
import { scoreSequences } from '../src/evaluate/tasks/scoring.js';
import { taskOf } from '../src/evaluate/tasks/task.js';
import { machine } from '../src/node/machine.js';
import { loadRun, openRun } from '../src/node/run.js';
import { nodeClock } from '../src/node/store.js';
import { hashWords } from '../src/random.js';
import { spread } from '../src/statistics.js';

const [python, folder, count = '200', rounds = '5'] = process.argv.slice(2);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CONTEXT = 200;
const ANSWERS = 4;
const ANSWER = 10;
const BATCH = 16;

const cli = (...args: string[]) =>
  execFileSync(process.execPath, [join(ROOT, 'dist/src/cli/main.js'), ...args], { stdio: 'inherit' });
const [text, data, tiny, spelled, peer, runFolder] = ['text.txt', 'data', 'tiny', 'spelled', 'hf', 'run'].map(
  (name) => join(folder, name),
);
if (!existsSync(runFolder)) {
  mkdirSync(folder, { recursive: true });
  // A small run of GPT-2's tokenizer is exported for the tokenizer's files.
  writeFileSync(text, 'All the words of a text that nobody reads.\n'.repeat(2000));
  cli('prepare', text, '--out', data, '--tokenizer', 'gpt2');
  const size = [
    '--n-layer',
    '1',
    '--n-head',
    '1',
    '--n-embd',
    '8',
    '--block-size',
    '1024',
    '--batch-size',
    '1',
  ];
  cli(
    'train',
    '--data',
    data,
    '--out',
    tiny,
    ...size,
    '--max-steps',
    '1',
    '--warmup-steps',
    '0',
    '--eval-batches',
    '1',
  );
  cli('export', '--model', tiny, '--out', spelled);
  execFileSync(python, [join(ROOT, 'studies/peers/decode.py'), 'make', peer], { stdio: 'inherit' });
  for (const file of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(spelled, file), join(peer, file));
  cli('import', peer, '--out', runFolder);
}
setThreads(2);
const run = await openRun(runFolder);
const tokenizer = await run.tokenizer();
const { model } = await loadRun(run, { precision: 'f32' });

/** Words that are one token after a blank. */
const words = Array.from({ length: 4000 }, (_, i) => tokenizer.decode([1000 + i])).filter(
  (word) => /^ [a-z]{3,}$/.test(word) && tokenizer.encode(word).length === 1,
);
const textOf = (length: number, key: number) =>
  Array.from({ length }, (_, i) => words[hashWords(7, key, i) % words.length]).join('');
const questions = Array.from({ length: Number(count) }, (_, q) => {
  const answers = Array.from({ length: ANSWERS }, (_, a) => textOf(ANSWER, 1000 + ANSWERS * q + a));
  return [textOf(CONTEXT, q), answers] as const;
});
assert.ok(questions.every(([context]) => tokenizer.encode(context).length === CONTEXT));

const records = questions.map(([context, answers], i) => ({
  name: `question ${i}`,
  value: { arguments: answers.map((answer) => [context, answer]), target: 0 },
}));
async function ours() {
  const start = performance.now();
  const asked = readQuestions('questions', records, { shots: 0, delimiter: ' ' });
  const { blockSize } = model.config;
  const task = taskOf(asked, { tokenizer, prefix: tokenizer.eot!, blockSize });
  const scores = await scoreSequences(model, tokenizer, task.sequences, {}, nodeClock);
  const seconds = (performance.now() - start) / 1000;
  return { logprobs: scores.map(({ logprob }) => logprob), seconds };
}

const child = spawn(python, [join(ROOT, 'studies/peers/score.py'), peer, String(BATCH)], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
await lines.next();
async function theirs() {
  child.stdin.write(`${JSON.stringify(questions)}\n`);
  const { logprobs, seconds } = JSON.parse((await lines.next()).value!) as {
    logprobs: number[][];
    seconds: number;
  };
  return { logprobs: logprobs.flat(), seconds };
}

console.log(
  `${machine().processor}; ${nativeInfo().isa}, f32, 2 threads; ${count} questions of ${CONTEXT} + ${ANSWERS} × ${ANSWER} tokens`,
);
const ratios: number[] = [];
for (let round = 0; round < Number(rounds); round++) {
  const [own, other] = [await ours(), await theirs()];
  for (const [i, logprob] of own.logprobs.entries()) {
    assert.ok(
      Math.abs(logprob - other.logprobs[i]) <= 1e-4 * Math.abs(logprob),
      `answer ${i}: ${logprob}, ${other.logprobs[i]}`,
    );
  }
  ratios.push(other.seconds / own.seconds);
  const rate = (seconds: number) => (Number(count) / seconds).toFixed(2);
  console.log(
    `round ${round + 1}: loopnn ${rate(own.seconds)}, lm-eval ${rate(other.seconds)} questions/s, ratio ${ratios.at(-1)!.toFixed(2)}`,
  );
}
const { min, median, max } = spread(ratios);
console.log(
  `times as many questions a second: ${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`,
);
child.kill();
model.dispose();

/**
 * Times streams side by side on `loopnn serve` and on llama.cpp's server, round by round in turns, GPT-2 124M in
 * bfloat16. The weights are random and the same for both.
 *
 *     node dist/studies/serving-peers.js LLAMA_SERVER PYTHON FOLDER [ROUNDS] [STREAMS] [TOKENS]
 *
 * LLAMA_SERVER is llama.cpp's `llama-server`, PYTHON an interpreter with torch, transformers and gguf; FOLDER keeps the
 * model files (those of studies/decoding-peers.ts will do). Both servers receive the same requests through OpenAI's
 * API; one is idle while the other is timed.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { machine } from '../src/node/machine.js';
import { hashWords } from '../src/random.js';
import { median, spread } from '../src/statistics.js';

const [llamaServer, python, folder, ...numbers] = process.argv.slice(2);
const [rounds = 5, streams = 32, tokens = 64] = numbers.map(Number);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SCRIPT = join(ROOT, 'studies', 'peers', 'decode.py');
const LOOPNN = join(ROOT, 'dist', 'src', 'cli', 'main.js');
const END_OF_TEXT = 50_256;
const PROMPT = 64;
const THREADS = String(availableParallelism());

interface Server {
  readonly name: string;
  readonly url: string;
  readonly child: ChildProcess;
  /** Additional fields of its requests, so that no answer ends early. */
  readonly endless: object;
}

interface Round {
  /** Seconds from the first request to the last token, and to the first token of the median stream. */
  readonly seconds: number;
  readonly firstToken: number;
}

function prepare(): void {
  mkdirSync(folder, { recursive: true });
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'inherit' });
  const missing = (name: string) => !existsSync(join(folder, name));
  if (missing('hf')) run(python, SCRIPT, 'make', join(folder, 'hf'));
  if (missing('run'))
    run(process.execPath, LOOPNN, 'import', join(folder, 'hf'), '--out', join(folder, 'run'));
  if (missing('BF16.gguf'))
    run(python, SCRIPT, 'gguf', join(folder, 'hf'), join(folder, 'BF16.gguf'), 'BF16');
  // Prompts are ids, and answers are counted: any vocabulary will do.
  const tokenizer = join('run', 'tokenizer.json');
  if (missing(tokenizer)) writeFileSync(join(folder, tokenizer), '{"type":"gpt2"}\n');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function started(name: string, command: string, args: string[], endless: object): Promise<Server> {
  const port = await freePort();
  const child = spawn(command, [...args, '--host', '127.0.0.1', '--port', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (text) => {
    log = (log + text).slice(-2000);
  });
  const url = `http://127.0.0.1:${port}`;
  const ready = async () => (await fetch(`${url}/health`).catch(() => null))?.ok === true;
  while (!(await ready())) {
    if (child.exitCode !== null) throw new Error(`${name} has ended: ${log}`);
    await delay(100);
  }
  return { name, url, child, endless };
}

/** Reads one answer to its end; returns its number of tokens, and the time of the first. */
async function stream({ url, endless }: Server, prompt: number[], seed: number, temperature: number) {
  const body = {
    model: 'run',
    prompt,
    max_tokens: tokens,
    stream: true,
    stream_options: { include_usage: true },
  };
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, seed, temperature, top_p: 1, ...endless }),
  });
  assert.equal(response.status, 200, await (response.ok ? '' : response.text()));
  let first = 0;
  let end = '';
  for await (const bytes of response.body!) {
    end = (end + Buffer.from(bytes).toString()).slice(-2000);
    // Comments, which report that the request waits, are no tokens.
    if (first === 0 && end.includes('data: ')) first = performance.now();
  }
  const made = Number(/.*"completion_tokens":\s*(\d+)/s.exec(end)?.[1]);
  return { first, made };
}

async function timed(server: Server, round: number, temperature: number): Promise<Round> {
  // New prompts in every round: a server may cache what it has read.
  const prompts = Array.from({ length: streams }, (_, s) =>
    Array.from({ length: PROMPT }, (_, t) => hashWords(round, temperature, s, t) % END_OF_TEXT),
  );
  const start = performance.now();
  const answers = await Promise.all(
    prompts.map((prompt, s) => stream(server, prompt, 1000 * round + s, temperature)),
  );
  const seconds = (performance.now() - start) / 1000;
  for (const { made } of answers) assert.equal(made, tokens, `${server.name}: tokens of an answer`);
  return { seconds, firstToken: median(answers.map(({ first }) => first - start)) / 1000 };
}

/** Resident memory in MB, now and at most; NaN if the system does not report it. */
function memory({ child }: Server): [now: number, most: number] {
  const file = `/proc/${child.pid}/status`;
  const status = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const read = (name: string) => (1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1])) / 1e6;
  return [read('VmRSS'), read('VmHWM')];
}

prepare();
const sequence = PROMPT + tokens;
const servers = [
  await started(
    'loopnn serve',
    process.execPath,
    [
      ...[LOOPNN, 'serve', '--model', join(folder, 'run'), '--precision', 'bf16'],
      ...['--max-concurrency', String(streams), '--max-queue', String(2 * streams)],
    ],
    { logit_bias: { [END_OF_TEXT]: -100 } },
  ),
  await started(
    'llama-server',
    llamaServer,
    [
      ...['-m', join(folder, 'BF16.gguf'), '-np', String(streams), '-c', String(streams * 2 * sequence)],
      ...['-t', THREADS, '-tb', THREADS],
    ],
    { ignore_eos: true, top_k: 0, min_p: 0 },
  ),
];
const { processor, processors, node, commit } = machine();
console.log(`${processor}, ${processors} processors, Node ${node}, commit ${commit ?? 'unknown'}`);
try {
  for (const temperature of [0, 1]) {
    const found = servers.map(() => [] as Round[]);
    for (let round = 0; round <= rounds; round++) {
      for (const [i, server] of servers.entries()) {
        const result = await timed(server, round, temperature);
        if (round > 0) found[i].push(result); // the first round allocates
      }
    }
    console.log(`\ntemperature ${temperature}, ${streams} streams of ${PROMPT} + ${tokens} tokens`);
    const rate = ({ seconds }: Round) => (streams * tokens) / seconds;
    for (const [i, server] of servers.entries()) {
      const { min, median: middle, max } = spread(found[i].map(rate));
      const ratios = spread(found[0].map((own, r) => rate(own) / rate(found[i][r])));
      const ratio =
        i === 0
          ? ''
          : `, ours ${ratios.median.toFixed(2)}× (${ratios.min.toFixed(2)}–${ratios.max.toFixed(2)})`;
      const rates = [min, middle, max].map((value) => value.toFixed(0)).join(', ');
      const firstToken = median(found[i].map((round) => round.firstToken)).toFixed(2);
      const [now, most] = memory(server).map((megabytes) => megabytes.toFixed(0));
      console.log(
        `${server.name.padEnd(14)} ${rates} tokens/s${ratio}; first token ${firstToken} s; ` +
          `${now} MB, at most ${most}`,
      );
    }
  }
} finally {
  for (const { child } of servers) child.kill();
}

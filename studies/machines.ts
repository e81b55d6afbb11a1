/**
 * Measures what training on several processes costs and gains: two ranks of one thread against one rank of one thread
 * and of two, and against PyTorch's DistributedDataParallel on gloo, in turns.
 *
 *     node dist/studies/machines.js LAUNCH FOLDER [PYTHON] [ROUNDS]
 *
 * LAUNCH starts ranks that are bound to a processor each, as in 'mpirun -n %n --bind-to core'; FOLDER keeps the
 * exported model for PYTHON, an interpreter with torch and transformers. GPT2-45M-LOOP, B = 2, T = 1024.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machine } from '../src/node/machine.js';
import { median, spread } from '../src/statistics.js';
import type { RankOptions, RankTimes } from './machines-rank.js';

const [launch, folder, python, rounds = '3'] = process.argv.slice(2);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RANK = join(ROOT, 'dist/studies/machines-rank.js');
const PRESET = 'gpt2-45m-loop';
/** Updates of a turn, of which the first warms up. */
const STEPS = 4;
const B = 2;

/** Milliseconds of an update of two micro-batches, for each way to make it. */
const found = new Map<string, number[]>();

function run(command: string, args: readonly string[], threads: number): string {
  const env = { ...process.env, LOOPNN_NUM_THREADS: String(threads), OMP_NUM_THREADS: String(threads) };
  return execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function note(name: string, output: string): void {
  const { stepMs } = JSON.parse(output.trim().split('\n').at(-1)!) as Pick<RankTimes, 'stepMs'>;
  const ms = median(stepMs.slice(1));
  found.set(name, [...(found.get(name) ?? []), ms]);
  console.log(`${name.padEnd(44)} ${ms.toFixed(0).padStart(6)} ms`);
}

function ours(name: string, ranks: number, threads: number, precision: 'f32' | 'bf16'): void {
  const options: RankOptions = { preset: PRESET, batchSize: B, microSteps: 2, steps: STEPS, precision };
  const node = [process.execPath, RANK, JSON.stringify(options)];
  const [command, ...args] =
    ranks > 1 ? launch.replace('%n', String(ranks)).split(' ') : threads > 1 ? [] : ['taskset', '-c', '0'];
  const all = command ? [command, ...args, ...node] : node;
  note(`${name}, ${precision}`, run(all[0], all.slice(1), threads));
}

/** The preset as a model that PyTorch loads, with random weights. */
function exported(): string {
  const to = join(folder, 'exported');
  if (existsSync(to)) return to;
  const main = join(ROOT, 'dist/src/cli/main.js');
  const [text, data, trained] = ['text.txt', 'data', 'run'].map((name) => join(folder, name));
  execFileSync('sh', ['-c', `seq 200000 > ${text}`]);
  const cli = (...args: string[]) => execFileSync(process.execPath, [main, ...args], { stdio: 'inherit' });
  cli('prepare', text, '--out', data, '--tokenizer', 'gpt2');
  const small = ['--max-steps', '1', '--batch-size', '1', '--grad-accum-steps', '1', '--eval-batches', '1'];
  cli('train', '--data', data, '--out', trained, '--preset', PRESET, ...small);
  cli('export', '--model', trained, '--out', to);
  return to;
}

function theirs(precision: 'f32' | 'bf16'): void {
  const script = join(ROOT, 'studies/peers/torch_ddp.py');
  const dtype = precision === 'f32' ? 'float32' : 'bfloat16';
  const sizes = ['--batch-size', String(B), '--steps', String(STEPS), '--dtype', dtype];
  const args = ['--nproc-per-node', '2', script, '--model', exported(), ...sizes];
  note(`PyTorch DDP, 2 processes, ${precision}`, run(join(dirname(python), 'torchrun'), args, 1));
}

const { processor, commit } = machine();
console.log(`${processor}, commit ${commit}, ${PRESET}, B = ${B}, two micro-batches an update`);
for (let round = 0; round < Number(rounds); round++) {
  for (const precision of ['f32', 'bf16'] as const) {
    ours('two ranks of one thread', 2, 1, precision);
    ours('one rank of one thread', 1, 1, precision);
    ours('one rank of two threads', 1, 2, precision);
    if (python) theirs(precision);
  }
}
for (const precision of ['f32', 'bf16']) {
  const two = found.get(`two ranks of one thread, ${precision}`)!;
  for (const [name, ms] of found) {
    if (!name.endsWith(precision) || ms === two) continue;
    const { min, median: middle, max } = spread(ms.map((x, i) => x / two[i]));
    console.log(
      `${name}: two ranks are ${middle.toFixed(2)} times as fast (${min.toFixed(2)} to ${max.toFixed(2)})`,
    );
  }
}

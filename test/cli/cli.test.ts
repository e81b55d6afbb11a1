/** The command line from end to end, as a user runs it. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { precisionText } from '../../src/cli/doctor.js';
import { eventStep } from '../../src/formats/tfevents.js';
import { readTfRecords } from '../../src/formats/tfrecord.js';
import { parseSafetensors } from '../formats/safetensors-bytes.js';
import {
  assertRefused,
  loopnn,
  loopnnWithin,
  outcome,
  refused,
  SMALL,
  spawned,
  start,
  temporaryFolder,
  trainSmall,
} from './helpers.js';

const folder = temporaryFolder();
const { data, run, meta, summary } = await trainSmall(folder, 'run', '--max-steps', '30');

test('what prepare and train print tells of the documents, and of a loss that fell', () => {
  assert.deepEqual([meta.train.documents, meta.val.documents], [8, 2]);
  assert.equal(summary.finished, true);
  assert.ok(summary.valLoss < 5, String(summary.valLoss));
});

/** The bytes of a run's latest weights. */
function weights(folderOfRun: string): Buffer {
  const [last] = readdirSync(join(folderOfRun, 'checkpoints')).filter((name) => name.startsWith('last-'));
  return readFileSync(join(folderOfRun, 'checkpoints', last, 'model.safetensors'));
}

test('a finished run holds its configuration, tokenizer, metrics, both checkpoints, scores and their page', () => {
  assert.deepEqual(readdirSync(run).sort(), [
    'checkpoints',
    'completed.json',
    'config.json',
    'metrics.jsonl',
    'report.html',
    'result.json',
    'tokenizer.json',
  ]);
  const kinds = readdirSync(join(run, 'checkpoints')).map((name) => name.split('-')[0]);
  assert.deepEqual(kinds.sort(), ['best', 'last']);
  const config = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'));
  assert.equal(config.model.vocabSize, 257);
  const names = [...parseSafetensors(weights(run), 'weights').keys()];
  assert.ok(names.includes('transformer.h.0.attn.c_attn.weight') && names.includes('transformer.gates'));
});

test('a copied and edited configuration file trains', async () => {
  const file = join(folder, 'mine.json');
  const config = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'));
  config.model.nLoop = 3;
  config.train.maxSteps = 3;
  writeFileSync(file, JSON.stringify(config));
  const result = await loopnn([
    'train',
    '--config',
    file,
    '--data',
    data,
    '--out',
    join(folder, 'mine'),
    '--json',
  ]);
  assert.equal(result.code, 0, result.stderr);
  assert.equal(JSON.parse(result.stdout).step, 3);
});

test('--tensorboard logs beside metrics.jsonl, and a resumed run goes on with it', async () => {
  const out = join(folder, 'board');
  const train = (...args: string[]) => loopnn(['train', '--data', data, '--out', out, ...args]);
  const steps = () => {
    const file = readFileSync(join(out, 'events.out.tfevents.loopnn'));
    return [...readTfRecords(file)].map(({ data: event }) => eventStep(event, 'test'));
  };
  const first = await train(...SMALL, '--max-steps', '3', '--tensorboard');
  assert.equal(first.code, 0, first.stderr);
  // Version, hyper-parameters, configuration; then evaluations at 0 and at the end, and updates.
  assert.deepEqual(steps(), [0, 0, 0, 0, 1, 2, 3, 3]);
  const resumed = await train('--resume', '--max-steps', '4');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(steps(), [0, 0, 0, 0, 1, 2, 3, 3, 3, 4, 4]);
});

test('eval reports loss, perplexity and bits per byte for several loop counts', async () => {
  const result = await loopnn(['eval', '--model', run, '--data', data, '--loops', '1,2,4', '--json']);
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stderr, /loops 4: beyond the 2 trained ones, which reuses the last gate/);
  const { results, trainedLoops } = JSON.parse(result.stdout);
  assert.equal(trainedLoops, 2);
  assert.deepEqual(
    results.map((r: { loops: number }) => r.loops),
    [1, 2, 4],
  );
  for (const { loss, perplexity, bpb } of results) {
    assert.ok(Math.abs(perplexity - Math.exp(loss)) < 1e-9 && bpb > 0 && bpb < loss / Math.LN2 + 0.01);
  }
  assert.notEqual(results[0].loss, results[1].loss);
});

test('--resume after SIGKILL ends with the bits of a run that was never killed', async () => {
  const train = (out: string) => [
    'train',
    ...SMALL,
    '--data',
    data,
    '--out',
    out,
    '--max-steps',
    '60',
    '--checkpoint-interval',
    '7',
  ];
  const whole = join(folder, 'whole');
  assert.equal((await loopnn(train(whole))).code, 0);
  const killed = join(folder, 'killed');
  for (const lines of [5, 20, 35]) {
    const child = start([...train(killed), ...(lines > 5 ? ['--resume'] : [])]);
    const ended = outcome(child);
    const logged = () => {
      try {
        return readFileSync(join(killed, 'metrics.jsonl'), 'utf8').split('\n').length;
      } catch {
        return 0;
      }
    };
    const poll = setInterval(() => logged() > lines && child.kill('SIGKILL'), 2);
    await ended;
    clearInterval(poll);
  }
  const resumed = await loopnn([...train(killed).slice(0, 1), '--data', data, '--out', killed, '--resume']);
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.deepEqual(weights(killed), weights(whole));
});

test('SIGINT and SIGTERM save a checkpoint and end with the signal’s exit code', async () => {
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const out = join(folder, signal);
    const args = ['--data', data, '--out', out, '--checkpoint-interval', '100000', '--max-steps', '100000'];
    const child = start(['train', ...SMALL, ...args]);
    const ended = outcome(child);
    const poll = setInterval(() => {
      try {
        if (readFileSync(join(out, 'metrics.jsonl'), 'utf8').split('\n').length <= 5) return;
        child.kill(signal);
        clearInterval(poll);
      } catch {}
    }, 5);
    const result = await ended;
    clearInterval(poll);
    assert.equal(result.code, code, result.stderr);
    const [, step] =
      /stopped at step (\d+); checkpoint saved/.exec(result.stderr) ?? assert.fail(result.stderr);
    const folders = readdirSync(join(out, 'checkpoints'));
    assert.ok(folders.includes(`last-${step.padStart(7, '0')}`), `${folders}`);
    assert.ok(!folders.some((name) => name.endsWith('.partial')));
  }
});

test('a limit of files while a checkpoint is written: one clear error, and the former checkpoint stays', async (t) => {
  if (process.platform === 'win32') return t.skip('needs a shell with ulimit');
  const out = join(folder, 'full');
  const base = ['train', ...SMALL, '--data', data, '--out', out, '--checkpoint-interval', '3'];
  assert.equal((await loopnn([...base, '--max-steps', '3'])).code, 0);
  const before = weights(out);
  const more = ['train', '--data', data, '--out', out, '--resume', '--max-steps', '9'];
  const result = await loopnnWithin(40, more);
  assert.equal(result.code, 1, result.stderr);
  assert.match(
    result.stderr,
    /last-0000006: could not be written, files may not become so large here; raise the limit/,
  );
  assert.deepEqual(weights(out), before);
  assert.ok(!readdirSync(join(out, 'checkpoints')).some((name) => name.endsWith('.partial')));
});

test('a run folder that another process works in is refused', async () => {
  const out = join(folder, 'busy');
  const args = [
    'train',
    ...SMALL,
    '--data',
    data,
    '--out',
    out,
    '--max-steps',
    '100000',
    '--checkpoint-interval',
    '5',
  ];
  const child = start(args);
  const ended = outcome(child);
  while (!readdirSync(folder).includes('busy') || !readdirSync(out).includes('checkpoints')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await refused(
    ['train', '--data', data, '--out', out, '--resume'],
    /busy: must not be in use by another process, got \d+/,
  );
  child.kill('SIGKILL');
  await ended;
  assert.ok(readdirSync(out).includes('lock'), 'a killed process leaves its claim');
  const resumed = await loopnn(['train', '--data', data, '--out', out, '--resume', '--max-steps', '5']);
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.ok(!readdirSync(out).includes('lock'));
});

test('wrong usage exits with 2 and names the nearest flag or command', async () => {
  await refused(
    ['train', '--data', data, '--out', 'x', '--n-layers', '2'],
    /unknown option '--n-layers'[\s\S]*--n-layer\?/,
    2,
  );
  await refused(['generat'], /unknown command 'generat'[\s\S]*generate\?/, 2);
  await refused(['help', 'nothing'], /unknown command 'nothing'/, 2);
  await refused(['train', '--data', data], /required option '--out <run>' not specified/, 2);
  await refused(['train', '--data', data, '--out', 'x', '--lr', 'fast'], /--lr.*must be a number/, 2);
  await refused(['generate', '--model', run, '--tokens', '0'], /--tokens.*whole number of at least 1/, 2);
});

test('impossible configurations are refused before anything is written', async () => {
  const out = join(folder, 'never');
  // Another precision may be told of, on a processor where bf16 does not pay.
  const train = (...args: string[]) => ['train', '--data', data, '--out', out, '--precision', 'f32', ...args];
  await refused(train('--preset', 'mini-1x3'), /preset: unknown name, got 'mini-1x3'; did you mean 'mini-1x/);
  await refused(
    train('--n-embd', '100', '--n-head', '12'),
    /nEmbd: must be a multiple of nHead = 12, got 100/,
  );
  await refused(train('--vocab-size', '50'), /largest token id: must be below the model's vocabSize = 50/);
  await refused(
    train('--block-size', '60000', '--n-embd', '8', '--n-head', '1', '--n-layer', '1'),
    /must hold at least 60001 tokens/,
  );
  await refused(
    train('--kv-loops', '1'),
    /model\.kvLoops: must not be given where kvSharing is per-application, got 1; set kvSharing to first-loop/,
  );
  const file = join(folder, 'wrong.json');
  writeFileSync(file, '{"model": {"nLayr": 3}}');
  await refused(
    train('--config', file),
    /wrong\.json: model: unknown field, got 'nLayr'; did you mean 'nLayer'\?/,
  );
  await refused(['train', '--data', data, '--out', run], /--out: must not hold a run yet.*add --resume/);
  await refused(train('--resume'), /--resume: needs a run in --out/);
  await refused(
    ['train', '--data', data, '--out', run, '--resume', '--n-layer', '2'],
    /--n-layer: can not be given with --resume/,
  );
  await refused(
    ['train', '--data', data, '--out', run, '--resume', '--ponder-cost', '0.1'],
    /flags: train\.ponderCost: must be 0\.01 where halting is none, got 0\.1; set halting to act/,
  );
  await refused(
    ['train', '--data', data, '--out', run, '--resume', '--optimizer', 'muon'],
    /flags: train\.optimizer: must stay adamw, got 'muon'; a run keeps its optimizer/,
  );
});

test('without the addon, or with one that cannot load, WebAssembly runs after one warning', async () => {
  const garbage = join(folder, 'garbage.node');
  writeFileSync(garbage, 'not a library');
  for (const path of [join(folder, 'missing.node'), garbage]) {
    const env = { LOOPNN_NATIVE_PATH: path };
    const result = await spawned(['generate', '--model', run, '--prompt', 'Line', '--tokens', '3'], env);
    assert.equal(result.code, 0, result.stderr);
    // A run that was trained in bf16 has a notice of its own.
    const lines = result.stderr.trim().split('\n');
    const warnings = lines.filter((line) => !line.includes('bf16 is computed from floats'));
    assert.equal(warnings.length, 1, result.stderr);
    assert.match(warnings[0], /using WebAssembly, with half the speed.*: native addon.*npm run build/);
    const doctor = JSON.parse((await spawned(['doctor', '--json'], env)).stdout);
    assert.equal(doctor.backend.name, 'wasm');
    assert.match(doctor.native.error, /native addon/);
  }
});

test('a command has --help, and the ones with figures print JSON', async () => {
  const help = await loopnn(['train', '--help']);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /Usage: loopnn train/);
  const params = JSON.parse((await loopnn(['params', 'gpt2-45m-loop', '--json'])).stdout);
  assert.equal(params.parameters.nanogpt, 45_686_784);
  assert.equal(JSON.parse((await loopnn(['params', '--json'])).stdout).length >= 11, true);
  for (const [args, said] of [
    [[], '50,257 tokens, GPT-2’s; mini-*, playground set none, and training takes the data’s size'],
    [['mini-1x2'], '50,257 tokens, GPT-2’s, since nothing sets it here; training takes the data’s size'],
    [['mini-1x2', '--vocab-size', '257'], '257 tokens, as --vocab-size says'],
    [['gpt2-45m'], '50,257 tokens, as preset gpt2-45m says'],
  ] as const) {
    const { stdout } = await loopnn(['params', ...args]);
    assert.ok(stdout.replaceAll('\n', ' ').includes(`vocabulary: ${said}`), stdout);
  }
  const native = { name: 'native', precision: 'bf16' } as const;
  assert.match(
    precisionText({ bf16: true, fastBf16: true }, native),
    /^training multiplies .* 16 bits \(bf16\)/,
  );
  assert.match(
    precisionText({ bf16: true, fastBf16: false }, native),
    /^training multiplies .* 32 bits \(f32\)/,
  );
  assert.match(
    precisionText({ bf16: false, fastBf16: false }, native),
    /^32 bits .* has no products of 16 bits/,
  );
  const doctor = JSON.parse((await loopnn(['doctor', '--json'])).stdout);
  assert.equal(doctor.backend.name, 'native');
  assert.ok(doctor.wasm.includes('simd128'));
  const wasm = await spawned(['doctor'], {
    LOOPNN_BACKEND: 'wasm',
    LOOPNN_ISA: 'simd128',
    LOOPNN_NUM_THREADS: '2',
  });
  assert.match(wasm.stdout, /^backend +wasm \(simd128, f32, 2 threads\), chosen by LOOPNN_BACKEND=wasm$/m);
  const bench = await loopnn([
    'bench',
    'mini-1x1',
    '--vocab-size',
    '300',
    '--block-size',
    '32',
    '--steps',
    '2',
    '--only',
    'steps',
    '--json',
  ]);
  const [timed] = JSON.parse(bench.stdout).results;
  assert.ok(timed.tokensPerSecond > 0 && timed.kernelMs.linearForward > 0);
});

test('moving a run and its data elsewhere changes nothing', async () => {
  const moved = join(folder, 'moved');
  cpSync(run, join(folder, 'copy'), { recursive: true });
  renameSync(join(folder, 'copy'), moved);
  const result = await loopnn(['generate', '--model', moved, '--prompt', 'Line', '--tokens', '2', '--json']);
  assert.equal(result.code, 0, result.stderr);
});

test('a wrong environment variable is an error, an empty one is not', async () => {
  for (const [env, message] of [
    [{ LOOPNN_NUM_THREADS: 'two' }, /LOOPNN_NUM_THREADS/],
    [{ LOOPNN_ISA: 'avx-512' }, /LOOPNN_ISA|isa/],
    [{ LOOPNN_BACKEND: 'gpu' }, /backend: must be auto, native, wasm, webgpu or reference/],
  ] as const) {
    assertRefused(await spawned(['generate', '--model', run], env), message);
  }
  const empty = { LOOPNN_NUM_THREADS: '', LOOPNN_ISA: '', LOOPNN_BACKEND: '' };
  const doctor = JSON.parse((await spawned(['doctor', '--json'], empty)).stdout);
  assert.equal(doctor.backend.name, 'native');
});

test('usual values of fine-tuning are taken alone, a run’s dropout changes, and many epochs are said', async () => {
  const out = join(folder, 'tuned');
  cpSync(run, out, { recursive: true });
  const tune = ['train', '--data', data, '--out', out, '--resume', '--max-steps', '31'];
  const { code, stderr } = await loopnn([...tune, '--lr', '3e-5', '--dropout', '0.1']);
  assert.equal(code, 0, stderr);
  const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
  assert.deepEqual([config.model.dropout, config.train.lr], [0.1, 3e-5]);
  assert.ok(config.train.minLr < 3e-5);
  const fresh = ['train', '--preset', 'mini-1x2', '--n-embd', '8', '--n-head', '1', '--data', data];
  const batchSize = Math.ceil((5 * meta.train.tokens) / (2 * 256));
  const sizes = [
    '--batch-size',
    String(batchSize),
    '--max-steps',
    '2',
    '--eval-batches',
    '1',
    '--lr',
    '5e-5',
  ];
  const many = await loopnn([...fresh, ...sizes, '--out', join(folder, 'fresh')]);
  assert.equal(many.code, 0, many.stderr);
  assert.match(many.stderr, /^2 steps read the [\d,]+ tokens of the training split 5 times over$/m);
});

test('a run whose output nobody reads any more still saves when it is stopped', async () => {
  const out = join(folder, 'unread');
  const child = start(['train', ...SMALL, '--data', data, '--out', out, '--max-steps', '100000']);
  child.stderr!.destroy();
  child.stdout!.destroy();
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const log = join(out, 'metrics.jsonl');
  while (!existsSync(log) || !/"kind":"step"/.test(readFileSync(log, 'utf8'))) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  child.kill('SIGTERM');
  assert.equal(await ended, 143);
  assert.ok(readdirSync(join(out, 'checkpoints')).some((name) => name.startsWith('last-')));
});

test('a model that halts early trains, evaluates, generates and is inspected; wrong thresholds are refused', async () => {
  const adaptive = join(folder, 'adaptive');
  const model = ['--depth', 'adaptive', '--n-layer', '3', '--halting', 'geometric', '--exit-loss', 'uniform'];
  const small = ['--n-embd', '16', '--n-head', '2', '--block-size', '16', '--batch-size', '4'];
  const steps = ['--max-steps', '12', '--warmup-steps', '2', '--eval-interval', '6', '--eval-batches', '2'];
  const trained = await loopnn(['train', ...model, ...small, ...steps, '--data', data, '--out', adaptive]);
  assert.equal(trained.code, 0, trained.stderr);
  const evaluate = async (...more: string[]) => {
    const found = await loopnn(['eval', '--model', adaptive, '--data', data, '--json', ...more]);
    assert.equal(found.code, 0, found.stderr);
    return JSON.parse(found.stdout).results;
  };
  const [early] = await evaluate('--exit-threshold', '0.01');
  assert.equal(early.meanSteps, 1);
  const [late] = await evaluate('--exit-threshold', '0.999');
  assert.equal(late.meanSteps, 3);
  const [full] = await evaluate('--no-early-exit');
  assert.equal(full.meanSteps, null);
  assert.equal(full.loss, late.loss);
  const criterion = ['--exit-criterion', 'entropy', '--exit-threshold'];
  assert.equal((await evaluate(...criterion, '100'))[0].loss, early.loss);
  assert.equal((await evaluate(...criterion, '1e-9'))[0].loss, late.loss);
  const kl = ['--model', adaptive, '--exit-criterion', 'kl', '--exit-threshold', '0.1'];
  const nothing =
    /^loopnn: exit\.criterion: must be change, .* with 2 loops, got 'kl'; it compares two loops/;
  await refused(['eval', ...kl, '--data', data, '--loops', '3,2'], nothing);
  await refused(['generate', ...kl, '--loops', '2'], nothing);
  await refused(['eval', ...kl, '--data', data, '--no-early-exit'], /^loopnn: exit: .* are turned off$/m);
  const depths = await evaluate('--loops', '1,2,3', '--no-early-exit');
  assert.equal(depths[0].loss, early.loss);
  assert.equal(depths[2].loss, full.loss);

  const sweep = ['exits', '--model', adaptive, '--data', data, '--max-tokens', '256', '--points', '3'];
  const plots = join(folder, 'exits.html');
  const both = await loopnn([...sweep, '--criterion', 'geometric,kl', '--out', plots, '--json']);
  assert.equal(both.code, 0, both.stderr);
  const { criteria, fixed, tokens } = JSON.parse(both.stdout);
  assert.deepEqual([tokens, fixed.length], [256, 3]);
  assert.deepEqual(
    criteria.map((found: { criterion: string }) => found.criterion),
    ['geometric', 'kl'],
  );
  assert.match(readFileSync(plots, 'utf8'), /<svg .*Loss by mean loops/s);
  const shown = await loopnn([...sweep, '--criterion', 'change', '--thresholds', '0.5,1e9']);
  assert.match(shown.stdout, /^exit by +threshold +mean loops +loss +against full +time\n/);
  assert.match(shown.stdout, / 1000000000 +1\.00 /);
  assert.match(shown.stdout, /^all tokens alike: [\s\S]*within\s0\.01\snats\sof\sfull\sdepth\.$/m);
  assert.match(shown.stdout, /^Least time within 0\.01 nats of full depth: /m);
  await refused([...sweep, '--criterion', 'boredom'], /It must be one of change, second-difference, kl/, 2);
  await refused([...sweep, '--thresholds', '1'], /thresholds: must be given for a single criterion/);
  await refused(
    [...sweep, '--out', folder],
    /: could not be written, a folder is there; choose another name/,
  );

  const prompt = ['--model', adaptive, '--prompt', 'the', '--json'];
  const made = JSON.parse((await loopnn(['generate', ...prompt, '--tokens', '4'])).stdout);
  assert.equal(made.steps.length, made.ids.length);
  const page = join(folder, 'inspect.html');
  const seen = JSON.parse((await loopnn(['inspect', ...prompt, '--html', page])).stdout);
  assert.equal(seen.tokens.length, 3);
  assert.equal(seen.tokens[0].exits.length, 3);
  assert.match(readFileSync(page, 'utf8'), /framed<\/span>where the model’s own halting rule stops/);

  const on = ['--model', adaptive, '--data', data];
  await refused(
    ['eval', ...on, '--exit-threshold', '1'],
    /^loopnn: exit\.threshold: must lie in \(0, 1\) for geometric, got 1/,
  );
  await refused(['eval', ...on, '--loops', '4'], /loops: must be at most the 3 layers of this model, got 4/);
  await refused(
    ['eval', '--model', run, '--data', data, '--exit-threshold', '0.5'],
    /exit\.criterion: must be given where the model has no halting rule; one of change, entropy, confidence/,
  );
  await refused(
    ['train', ...small, '--halting', 'act', '--data', data, '--out', join(folder, 'refused')],
    /halting: must be none where depth is gpt2, got 'act'; set depth to loop or universal or adaptive/,
  );
});

test('compare: an unknown suite, a full scale without data, and another suite’s folder are refused at once', async () => {
  const out = join(folder, 'comparison');
  const compare = (...args: string[]) => ['compare', '--out', out, ...args];
  await refused(compare('sistems'), /suite: unknown name, got 'sistems'; did you mean 'systems'/);
  await refused(compare('demo', '--scale', 'full'), /--scale: must be mini for suite demo/);
  await refused(
    compare('--suite', 'paper-2', '--scale', 'full'),
    /--data: must be given for suite paper-2 at scale full/,
  );
  await refused(['compare', 'demo'], /required option '--out <dir>' not specified/, 2);
  await refused(['compare', '--out', out], /missing required argument 'suite'/, 2);
  mkdirSync(out);
  writeFileSync(join(out, 'comparison.json'), '{"suite":"loops","scale":"mini","precision":"f32","data":""}');
  await refused(
    compare('--suite', 'paper-1'),
    /--out \S+: must hold a comparison of suite paper-1 at scale mini, or none, got 'loops at mini'/,
  );
});

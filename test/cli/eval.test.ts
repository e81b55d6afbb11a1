/** `loopnn eval` on any text file and on last words, as a user runs it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { loopnn, temporaryFolder, trainSmall } from './helpers.js';

const folder = temporaryFolder();
const { run } = await trainSmall(folder, 'run', '--max-steps', '200');
const text = join(folder, 'some.txt');
const words = join(folder, 'words.jsonl');
const TEXT = `${'Line 3 of document 7: the same words come again and again.\n'.repeat(4)}Größe\n`;

before(() => {
  writeFileSync(text, TEXT);
  const lines = ['the same words come again', 'the same words come again and again.', 'Line 5 of document'];
  writeFileSync(
    words,
    `${lines.map((line) => JSON.stringify({ text: line })).join('\n')}\nnothing\n{"text":1}\n`,
  );
});

async function evaluate(...args: string[]) {
  const result = await loopnn(['eval', '--model', run, '--json', ...args]);
  assert.equal(result.code, 0, result.stderr);
  return { ...JSON.parse(result.stdout), stderr: result.stderr };
}

test('--text: tokens, loss, perplexity and bits per byte at every loop count, half a block apart by default', async () => {
  const found = await evaluate('--text', text, '--loops', '1,2');
  const bytes = Buffer.byteLength(TEXT);
  assert.deepEqual(
    [found.text, found.bytes, found.textTokens, found.window, found.stride],
    [text, bytes, bytes, 32, 16],
  );
  assert.deepEqual(
    found.results.map((r: { loops: number; tokens: number }) => [r.loops, r.tokens]),
    [
      [1, bytes - 1],
      [2, bytes - 1],
    ],
  );
  for (const { loss, perplexity, bpb } of found.results) {
    assert.ok(Math.abs(perplexity - Math.exp(loss)) < 1e-9);
    assert.ok(Math.abs(bpb - loss / Math.LN2) < 1e-9, 'bytes are the tokens');
  }
  const [disjoint] = (await evaluate('--text', text, '--stride', '32')).results;
  assert.equal(disjoint.tokens, bytes - Math.ceil(bytes / 32));
  const table = await loopnn(['eval', '--model', run, '--text', text, '--stride', '1']);
  assert.match(table.stdout, /loops +stride +tokens +loss \(nats\/token\) +perplexity +bits per byte/);
});

test('--lambada: accuracy, perplexity and bits per byte of last words; broken records are counted and named', async () => {
  const found = await evaluate('--lambada', words);
  assert.match(
    found.stderr,
    /skipped 2 broken records: .*line 4 \(not JSON\); .*line 5 \(field 'text' is not a string\)/,
  );
  assert.equal(found.leftOut, 2);
  const [{ words: count, tokens, accuracy, loss, perplexity, bpb }] = found.results;
  const bytes = ' again'.length + ' again.'.length + ' document'.length;
  assert.deepEqual([count, tokens], [3, bytes]);
  assert.ok([0, 1 / 3, 2 / 3, 1].includes(accuracy));
  assert.ok(Math.abs(perplexity - Math.exp(loss)) < 1e-9 * perplexity);
  assert.ok(Math.abs(bpb - (3 * loss) / Math.LN2 / bytes) < 1e-9);
  const table = await loopnn(['eval', '--model', run, '--lambada', words]);
  assert.match(table.stdout, /loops +words +accuracy +loss \(nats\/word\) +perplexity +bits per byte/);

  const long = join(folder, 'long.jsonl');
  writeFileSync(long, `{"text":"a ${'x'.repeat(40)}"}\n{"text":"a b"}\n{"text":" "}\n`);
  const one = await evaluate('--lambada', long);
  assert.equal(one.results[0].words, 1);
  assert.match(
    one.stderr,
    /skipped 2 of 3 texts: .*line 1 \(last word: must have 1 to 32 tokens \(blockSize\), got 41\); .*line 3 \(no word\)/,
  );
});

test('--tasks: questions of both forms, loop counts side by side', async () => {
  const [core, texts] = [join(folder, 'core.jsonl'), join(folder, 'samples_texts.jsonl')];
  const lines = Array.from({ length: 6 }, (_, i) => ({
    query: `Line ${i} of`,
    choices: ['document', 'nothing'],
    gold: 0,
  }));
  writeFileSync(core, lines.map((line) => JSON.stringify(line)).join('\n'));
  writeFileSync(texts, '{"text":"the same words"}\n{"text":"come again"}\n');
  const found = await evaluate('--tasks', core, texts, '--shots', '1', '--loops', '1,2');
  const [first, second] = found.tasks;
  assert.deepEqual(
    [first.task, first.form, first.kind, first.questions, first.shots],
    ['core', 'core', 'choice', 6, 1],
  );
  assert.deepEqual([second.task, second.form, second.kind], ['texts', 'lm-eval', 'rolling']);
  assert.deepEqual(
    first.results.map(({ loops }: { loops: number }) => loops),
    [1, 2],
  );
  for (const { acc, centred } of first.results) assert.equal(centred, 2 * acc - 1);
  const table = await loopnn(['eval', '--model', run, '--tasks', core, core, '--loops', '1,2']);
  assert.match(table.stdout, /^task +questions +figure +1 loops +2 loops \(trained\)$/m);
  assert.match(table.stdout, /^core +6 +acc +\d\.\d{4} ± \d\.\d{4} +\d\.\d{4} ± \d\.\d{4}$/m);
  assert.match(table.stdout, /^CORE +mean centred +-?\d\.\d{4} +-?\d\.\d{4}$/m);
});

test('what can not be evaluated is refused in one line', async () => {
  const refused = async (args: string[], message: RegExp, code = 1) => {
    const result = await loopnn(['eval', '--model', run, ...args]);
    assert.match(result.stderr, message);
    assert.equal(result.code, code, result.stderr);
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  };
  await refused([], /one of --data, --text, --lambada and --tasks must be given/, 2);
  await refused(['--text', text, '--lambada', words], /--text.*cannot be used with.*--lambada/, 2);
  await refused(['--text', text, '--split', 'val'], /--split.*cannot be used with.*--text/, 2);
  await refused(['--lambada', words, '--stride', '4'], /--lambada.*cannot be used with.*--stride/, 2);
  await refused(['--lambada', words, '--shots', '4'], /--shots.*cannot be used with.*--lambada/, 2);
  await refused(
    ['--text', text, '--stride', '33'],
    /^loopnn: stride: must be .* from 1 to blockSize = 32, got 33/,
  );
  await refused(['--tasks', join(folder, 'none')], /none: must be a readable file/);
  await refused(['--tasks', text], /some\.txt, line 1: must be JSON/);
  await refused(['--tasks', text, '--no-early-exit'], /--no-early-exit cannot be used with --tasks/, 2);
  await refused(['--text', folder], /must be a file, got 'a folder'/);
  await refused(['--text', join(folder, 'none')], /none: must be a file or a folder, got/);
  await refused(
    ['--text', text, '--exit-threshold', '0.5'],
    /exit\.criterion: must be given where the model has no halting rule/,
  );
  await refused(
    ['--text', words],
    /must be a file of text, got 'JSON Lines'; loopnn prepare makes data of it \(as plain text: --as text\), which loopnn eval --data scores$/m,
  );
  writeFileSync(join(folder, 'bin'), Uint8Array.of(1, 0, 2));
  await refused(['--text', join(folder, 'bin')], /must be text in UTF-8/);
  writeFileSync(words, '{"text":" "}\n');
  await refused(['--lambada', words], /must hold a last word that fits blockSize = 32/);
});

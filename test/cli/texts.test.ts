/**
 * How an imported model's texts end, and how its chats are written: from the files that `transformers` saves
 * (`test/fixtures/huggingface/make_chat_model.py`) into a run, to the commands that generate from it, and out again.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadModel } from '../../src/node/load-model.js';
import { clientOf, post, serveRun } from '../serve/helpers.js';
import { loopnn, temporaryFolder, writeCorpus } from './helpers.js';

const CHAT = fileURLToPath(new URL('../../../test/fixtures/huggingface/chat/', import.meta.url));
const expected = JSON.parse(readFileSync(join(CHAT, 'expected.json'), 'utf8'));
const [END, PARTING] = [281, 0];
const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
type Json = Record<string, unknown>;

function json(...path: string[]): Json {
  return JSON.parse(readFileSync(at(...path), 'utf8'));
}

function edit(path: string, change: (json: Json) => void): void {
  const value = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  change(value);
  writeFileSync(path, JSON.stringify(value));
}

/** A copy of the fixture, with changes to its files by their names; null removes one. */
function copy(name: string, changes: Record<string, string | ((json: Json) => void) | null> = {}): string {
  rmSync(at(name), { recursive: true, force: true });
  cpSync(CHAT, at(name), { recursive: true });
  for (const [file, change] of Object.entries(changes)) {
    if (change === null) rmSync(at(name, file));
    else if (typeof change === 'string') writeFileSync(at(name, file), change);
    else edit(at(name, file), change);
  }
  return at(name);
}

async function succeeds(...args: string[]): Promise<{ document: Json; stderr: string }> {
  const result = await loopnn([...args, '--json']);
  assert.equal(result.code, 0, result.stderr);
  return { document: JSON.parse(result.stdout), stderr: result.stderr };
}

async function refused(message: RegExp, ...args: string[]): Promise<void> {
  const { code, stderr } = await loopnn(args);
  assert.match(stderr, message);
  assert.deepEqual([code, stderr.trim().split('\n').length], [1, 1], stderr);
}

/** Imports a changed copy of the fixture; the run's folder has the copy's name with `-run`. */
async function imported(name: string, changes?: Parameters<typeof copy>[1]): Promise<string> {
  const { stderr } = await succeeds('import', copy(name, changes), '--out', at(`${name}-run`));
  return stderr;
}

before(async () => {
  const stderr = await imported('chat');
  assert.match(stderr, /chat: has a chat template, which loopnn serve uses\n$/);
});

test('an answer ends by any of the ids, for the command and for the library', async () => {
  const run = at('chat-run');
  const files = [
    'chat_template.jinja',
    'checkpoints',
    'config.json',
    'generation_config.json',
    'tokenizer.json',
  ];
  assert.deepEqual(readdirSync(run), [...files, 'tokenizer_config.json']);
  const ending = ['generate', '--model', run, '--prompt', 'hi', '--tokens', '8', '--temperature', '0'];
  const { document } = await succeeds(...ending);
  assert.deepEqual([document.text, document.ids, document.stopped], ['', [], 'end of text']);
  await using model = await loadModel(run);
  assert.equal(model.tokenizer.eot, END, 'the tokenizer’s own eos_token parts documents');
  const reasons = async (options: object) => {
    const stream = model.generate(expected.prompt, { maxTokens: 8, temperature: 0, ...options });
    const ids: (number | null)[] = [];
    let next = await stream.next();
    for (; !next.done; next = await stream.next()) ids.push(next.value.id);
    return [ids, next.value.reason];
  };
  assert.deepEqual(expected.generated, [END]);
  assert.deepEqual(await reasons({}), [[], 'end of text']);
  assert.deepEqual(await reasons({ logitBias: { [PARTING]: 100 } }), [[], 'end of text']);
  assert.deepEqual(await reasons({ logitBias: { 72: 100 } }), [Array(8).fill(72), 'tokens']);
});

test('an empty prompt begins as the model’s texts do', async () => {
  await imported('begins', { 'generation_config.json': (file) => Object.assign(file, { bos_token_id: 7 }) });
  const first = async (prompt: string | number[]) => {
    await using model = await loadModel(at('begins-run'));
    const stream = model.generate(prompt, {
      maxTokens: 1,
      temperature: 0,
      topLogprobs: 0,
      logitBias: { 9: 100 },
    });
    return (await stream.next()).value;
  };
  assert.deepEqual(await first(''), await first([7]));
  const { url } = await serveRun(at('begins-run'));
  const usage = await clientOf(url).completions.create({ model: 'begins-run', prompt: '', max_tokens: 1 });
  assert.equal(usage.usage!.prompt_tokens, 1);
});

test('served: completions and chats end by them, streamed or whole, and chats go by the model’s own template', async () => {
  const notices: string[] = [];
  const { url } = await serveRun(at('chat-run'), { notice: (line) => notices.push(line) });
  const [line] = notices;
  assert.match(line, /^chats by the model's own template, .*chat-run\/chat_template\.jinja$/);
  const client = clientOf(url);
  const ask = { model: 'chat-run', max_tokens: 8 } as const;
  for (const logit_bias of [{ [END]: 100 }, { [PARTING]: 100 }]) {
    const { choices } = await client.completions.create({ ...ask, prompt: 'hi', logit_bias });
    assert.deepEqual([choices[0].text, choices[0].finish_reason], ['', 'stop']);
    const messages = [{ role: 'user', content: 'hi' }] as { role: 'user'; content: string }[];
    const chat = await client.chat.completions.create({ ...ask, messages, logit_bias });
    assert.deepEqual([chat.choices[0].message.content, chat.choices[0].finish_reason], ['', 'stop']);
    assert.equal(chat.usage!.prompt_tokens, expected.prompt.length);
    let streamed = '';
    let reason: string | null = null;
    for await (const part of await client.chat.completions.create({
      ...ask,
      messages,
      logit_bias,
      stream: true,
    })) {
      streamed += part.choices[0].delta.content ?? '';
      reason = part.choices[0].finish_reason;
    }
    assert.deepEqual([streamed, reason], ['', 'stop']);
  }
  const spelling = await client.chat.completions.create({
    ...ask,
    messages: [{ role: 'user', content: expected.said }],
  });
  assert.equal(spelling.usage!.prompt_tokens, expected.spelling.length);
});

test('--chat-template goes before the model’s own, and a broken one of its own is named', async () => {
  const notices: string[] = [];
  const template = '{{ messages[0].content }}{{ eos_token }}';
  const { url } = await serveRun(at('chat-run'), {
    chatTemplate: template,
    notice: (line) => notices.push(line),
  });
  assert.match(notices[0], /^chats by --chat-template, not by the model's own .*chat_template\.jinja$/);
  const asked = { model: 'chat-run', messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 };
  const answer = (await (await post(url, '/v1/chat/completions', asked)).json()) as { usage: Json };
  assert.equal(answer.usage.prompt_tokens, 3);
  cpSync(at('chat-run'), at('broken-run'), { recursive: true });
  writeFileSync(at('broken-run', 'chat_template.jinja'), '{% if %}');
  const { code, stderr } = await loopnn(['serve', '--port', '0', '--model', at('broken-run')]);
  assert.match(
    stderr,
    /broken-run\/chat_template\.jinja: must be Jinja \(.*\); name another by --chat-template$/m,
  );
  assert.equal(code, 1);
});

test('all of it leaves again, for transformers and for ONNX', async () => {
  const ids = { bos_token_id: PARTING, eos_token_id: [END, PARTING] };
  const own = { ...JSON.parse(readFileSync(join(CHAT, 'generation_config.json'), 'utf8')), ...ids };
  for (const format of ['huggingface', 'onnx']) {
    await succeeds('export', '--model', at('chat-run'), '--out', at(format), '--format', format);
    const { bos_token_id, eos_token_id } = json(format, 'config.json');
    assert.deepEqual({ bos_token_id, eos_token_id }, ids);
    assert.deepEqual(json(format, 'generation_config.json'), own);
    assert.deepEqual(json(format, 'tokenizer_config.json'), {
      tokenizer_class: 'PreTrainedTokenizerFast',
      model_max_length: 96,
      clean_up_tokenization_spaces: false,
      bos_token: '<|endoftext|>',
      eos_token: '<|im_end|>',
    });
    for (const file of ['chat_template.jinja', 'tokenizer.json']) {
      const [came, went] = [join(CHAT, file), at(format, file)].map((path) => readFileSync(path, 'utf8'));
      if (file.endsWith('.json')) assert.deepEqual(JSON.parse(went), JSON.parse(came));
      else assert.equal(went, came);
    }
  }
  await succeeds('import', at('huggingface'), '--out', at('again'));
  for (const file of ['generation_config.json', 'tokenizer_config.json', 'chat_template.jinja']) {
    assert.equal(readFileSync(at('again', file), 'utf8'), readFileSync(at('chat-run', file), 'utf8'));
  }
});

test('training on and a retrofit keep all of it, and documents end by the tokenizer’s own end', async () => {
  writeCorpus(at('.'));
  const sources = readdirSync(folder).filter((name) => name.endsWith('.txt'));
  const prepare = ['prepare', ...sources.map((name) => at(name)), '--out', at('data')];
  await succeeds(...prepare, '--tokenizer', at('chat-run', 'tokenizer.json'));
  assert.deepEqual(json('data', 'tokenizer_config.json').eos_token, '<|im_end|>');
  assert.equal((json('data', 'meta.json').tokenizer as Json).eot, END);
  const kept = ['generation_config.json', 'tokenizer_config.json', 'chat_template.jinja', 'tokenizer.json'];
  const contents = (run: string) => kept.map((file) => readFileSync(at(run, file), 'utf8'));
  const own = contents('chat-run');
  await succeeds('retrofit', '--model', at('chat-run'), '--out', at('loops'), '--loops', '2');
  assert.deepEqual(contents('loops'), own);
  const steps = ['--max-steps', '2', '--warmup-steps', '1', '--batch-size', '1', '--eval-batches', '1'];
  await succeeds('train', '--resume', '--data', at('data'), '--out', at('loops'), ...steps);
  assert.deepEqual(contents('loops'), own);
  // A run that begins with such data knows its end of text too.
  const size = ['--n-layer', '1', '--n-embd', '16', '--n-head', '2', '--block-size', '24'];
  await succeeds('train', '--data', at('data'), '--out', at('fresh'), ...size, ...steps);
  await using model = await loadModel(at('fresh'));
  assert.equal(model.tokenizer.eot, END);
  await succeeds('export', '--model', at('fresh'), '--out', at('fresh-out'));
  assert.equal(json('fresh-out', 'config.json').eos_token_id, END);
  assert.equal(json('fresh-out', 'tokenizer_config.json').eos_token, '<|im_end|>');
  // Data whose documents end otherwise are not its own.
  writeFileSync(at('bare.json'), readFileSync(join(CHAT, 'tokenizer.json')));
  rmSync(at('other'), { recursive: true, force: true });
  cpSync(at('data'), at('other'), { recursive: true });
  rmSync(at('other', 'tokenizer_config.json'));
  const message =
    /must work on data with the run's own tokenizer, .*; prepare the data with --tokenizer <run>/;
  await refused(message, 'eval', '--model', at('chat-run'), '--data', at('other'));
});

test('ids that the model does not have are refused on one line, and GPT-2’s own left out', async () => {
  const wrong = copy('wrong', { 'config.json': (file) => Object.assign(file, { eos_token_id: 282 }) });
  const told =
    /^loopnn: .*wrong\/config\.json: eos_token_id: must be a token id below .* 282, or a list of them, got '282'/;
  await refused(told, 'import', wrong, '--out', at('none'));
  const defaults = (file: Json) => Object.assign(file, { bos_token_id: 50_256, eos_token_id: 50_256 });
  const stderr = await imported('default', { 'config.json': defaults, 'generation_config.json': defaults });
  assert.match(stderr, /config\.json: eos_token_id 50256 is GPT-2's, and beyond this vocabulary: ignored/);
  assert.equal(json('default-run', 'generation_config.json').eos_token_id, null);
  cpSync(at('chat-run'), at('edited'), { recursive: true });
  edit(at('edited', 'generation_config.json'), (file) => Object.assign(file, { eos_token_id: 282 }));
  const edited = /edited\/generation_config\.json: eos_token_id: must be a token id below/;
  await refused(edited, 'generate', '--model', at('edited'));
});

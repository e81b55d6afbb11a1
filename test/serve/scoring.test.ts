/**
 * Prompts that are told with their log-probabilities, and the tokenizer over HTTP: what lm-evaluation-harness asks for.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { scoreBatch } from '../../src/evaluate/evaluation.js';
import { loadRun, openRun } from '../../src/node/run.js';
import { clientOf, post, serveRun, trainedRun } from './helpers.js';

const run = await trainedRun();
const { url } = await serveRun(run);
const client = clientOf(url);
const ids = [79, 110, 99, 101];
/** The request of lm-evaluation-harness 0.4.13. */
const asked = { model: 'tiny', temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true };

/** The log-probabilities of all tokens but the first, over the whole sequence. */
async function expected(tokens: readonly number[], loops?: number): Promise<number[]> {
  const { model } = await loadRun(await openRun(run), { precision: 'f32' });
  const batch = {
    tokens: Int32Array.from(tokens.slice(0, -1)),
    targets: Int32Array.from(tokens.slice(1)),
    B: 1,
  };
  const { losses } = await scoreBatch(model, batch, loops === undefined ? {} : { loops });
  model.dispose();
  return Array.from(losses, (loss) => -loss);
}

test('a prompt of ids is told with the log-probabilities of the whole sequence, at any loops', async () => {
  for (const loops of [undefined, 1, 3]) {
    const { choices } = await client.completions.create({
      ...asked,
      prompt: [ids],
      ...(loops === undefined ? {} : { loops }),
    });
    const { text, logprobs, finish_reason } = choices[0];
    const { tokens, token_logprobs, top_logprobs, text_offset } = logprobs!;
    assert.equal(text.slice(0, 4), 'Once');
    assert.equal(tokens!.join(''), text);
    assert.deepEqual(text_offset, [0, 1, 2, 3, 4]);
    assert.equal(finish_reason, 'length');
    assert.equal(token_logprobs![0], null);
    assert.deepEqual(token_logprobs!.slice(1, 4), await expected(ids, loops));
    assert.equal(top_logprobs![0], null);
    for (const [i, top] of top_logprobs!.entries()) {
      if (i > 0) assert.ok(Math.max(...Object.values(top)) >= token_logprobs![i]);
    }
    // The one that was made is the most probable.
    assert.equal(Math.max(...Object.values(top_logprobs![4])), token_logprobs![4]);
  }
});

test('a server with loops of its own scores with them, where a request does not say', async () => {
  const { url: deep } = await serveRun(run, { loops: 3 });
  const scored = async (loops?: number) => {
    const body = { ...asked, prompt: [ids], ...(loops === undefined ? {} : { loops }) };
    return (await clientOf(deep).completions.create(body)).choices[0].logprobs!.token_logprobs!.slice(1, 4);
  };
  assert.deepEqual(await scored(), await expected(ids, 3));
  assert.deepEqual(await scored(1), await expected(ids, 1));
});

test('without a new token the prompt alone is told; several prompts in order, streamed as whole', async () => {
  const prompts = ['Line 7 of document', 'Line 7 of documents, and more', 'Once', ''];
  const options = { ...asked, max_tokens: 0, prompt: prompts };
  const { choices, usage } = await client.completions.create(options);
  assert.deepEqual(
    choices.map(({ index, text }) => [index, text]),
    [...prompts.slice(0, 3).map((text, i) => [i, text]), [3, '<|endoftext|>']],
  );
  for (const [i, prompt] of prompts.slice(0, 3).entries()) {
    const { token_logprobs, tokens } = choices[i].logprobs!;
    assert.equal(tokens!.length, prompt.length);
    assert.deepEqual(token_logprobs!.slice(1), await expected([...Buffer.from(prompt)]));
  }
  assert.deepEqual([usage!.completion_tokens, usage!.prompt_tokens], [0, 18 + 29 + 4 + 1]);
  const streamed = prompts.map(() => ({ text: '', logprobs: [] as (number | null)[] }));
  for await (const chunk of await client.completions.create({ ...options, stream: true })) {
    const { index, text, logprobs } = chunk.choices[0];
    streamed[index].text += text;
    streamed[index].logprobs.push(...(logprobs?.token_logprobs ?? []));
  }
  assert.deepEqual(
    streamed,
    choices.map(({ text, logprobs }) => ({ text, logprobs: logprobs!.token_logprobs })),
  );
});

test('without log-probabilities the text is told; without echo nothing of a prompt is', async () => {
  const plain = { model: 'tiny', prompt: 'Line 7', max_tokens: 0 };
  const [told, silent] = [
    await client.completions.create({ ...plain, echo: true }),
    await client.completions.create(plain),
  ];
  assert.deepEqual([told.choices[0].text, told.choices[0].logprobs], ['Line 7', null]);
  assert.deepEqual([silent.choices[0].text, silent.usage!.prompt_tokens], ['', 6]);
});

test('the tokenizer over HTTP, as vLLM has it: no harness needs its own', async () => {
  const ask = async (path: string, body: object) => {
    const response = await post(url, path, body);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const info = (await (await fetch(`${url}/tokenizer_info`)).json()) as Record<string, unknown>;
  assert.deepEqual([info.bos_token, info.eos_token], ['<|endoftext|>', '<|endoftext|>']);
  const tokenized = await ask('/tokenize', { prompt: 'Oé', add_special_tokens: false });
  assert.deepEqual(tokenized, {
    status: 200,
    body: { count: 3, max_model_len: 1024, tokens: [79, 195, 169], token_strs: null },
  });
  // The harness looks for the id of the end of text so.
  assert.deepEqual((await ask('/tokenize', { prompt: 'a<|endoftext|>b' })).body.tokens, [97, 256, 98]);
  const named = await ask('/tokenize', { prompt: 'ab', return_token_strs: true });
  assert.deepEqual(named.body.token_strs, ['a', 'b']);
  const chat = await ask('/tokenize', { messages: [{ role: 'user', content: 'Hi' }] });
  assert.equal(chat.body.count, 'User: Hi\n\nAssistant:'.length);
  assert.deepEqual((await ask('/detokenize', { tokens: [79, 195, 169] })).body, { prompt: 'Oé' });
  for (const [path, body] of [
    ['/tokenize', {}],
    ['/detokenize', { tokens: [257] }],
    ['/detokenize', { tokens: 'x' }],
  ] as const) {
    assert.equal((await ask(path, body)).status, 400, path);
  }
  await assert.rejects(client.completions.create({ ...asked, prompt: [[257]] }), OpenAI.BadRequestError);
});

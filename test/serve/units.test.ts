/** Parts of the server by themselves: prompts and templates, keys, refusals, counters. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/errors.js';
import { parseModelConfig } from '../../src/models/config.js';
import { ApiError } from '../../src/serve/api-error.js';
import { chatFormat } from '../../src/serve/chat.js';
import { completionFormat } from '../../src/serve/completions.js';
import { Deadline } from '../../src/serve/deadline.js';
import { Fields } from '../../src/serve/fields.js';
import { Gate } from '../../src/serve/gate.js';
import { ApiKeys } from '../../src/serve/keys.js';
import type { ChatMessage, ModelInfo, Prompt, ServedToken } from '../../src/serve/messages.js';
import { Metrics } from '../../src/serve/metrics.js';
import { readOptions } from '../../src/serve/options.js';
import { Prompts } from '../../src/serve/prompts.js';
import type { CompletionRequest } from '../../src/serve/requests.js';
import { ServedTokens } from '../../src/serve/served-tokens.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';

const tokenizer = new BytesTokenizer();
const { eot } = tokenizer;
const END = '<|endoftext|>';

/** Prompts of the bytes tokenizer, or one like it; chats by a template, or as a plain dialogue. */
function promptsOf(blockSize: number, template: string | null, own: Tokenizer = tokenizer): Prompts {
  const names = { bos_token: END, eos_token: END };
  const chatTemplate = template === null ? null : { source: template, where: 'chat template' };
  return new Prompts({ tokenizer: own, blockSize, bos: eot, names, chatTemplate });
}

const bytes = (text: string) => [...Buffer.from(text)];
const encode = (prompts: Prompts, prompt: Prompt) => Array.from(prompts.encode(prompt));
const user = (content: string): ChatMessage => ({ role: 'user', content });

test('an empty prompt begins a document; a long one is refused, far too long ones before they are encoded', () => {
  const prompts = promptsOf(16, null);
  assert.deepEqual(encode(prompts, { kind: 'text', text: '' }), [eot]);
  assert.deepEqual(encode(prompts, { kind: 'ids', ids: new Int32Array() }), [eot]);
  assert.deepEqual(encode(prompts, { kind: 'text', text: 'x'.repeat(16) }), bytes('x'.repeat(16)));
  const tooLong = (length: number, told: RegExp) =>
    assert.throws(() => prompts.encode({ kind: 'text', text: 'x'.repeat(length) }), told);
  tooLong(
    17,
    /^ConfigError: prompt: This model's maximum context length is 16 tokens\. However, your prompt resulted in 17 tokens\. Please reduce the length of the prompt\.$/,
  );
  const never = promptsOf(
    16,
    null,
    Object.assign(Object.create(tokenizer), { encode: () => assert.fail('encoded') }),
  );
  assert.throws(
    () => never.encode({ kind: 'text', text: 'x'.repeat(16 * 128 + 1) }),
    /resulted in at least 17 tokens/,
  );
});

test('the plain template is a dialogue', () => {
  const prompts = promptsOf(1024, null);
  const messages: ChatMessage[] = [
    { role: 'developer', content: 'Be short.' },
    user('Hi {{ x }}'),
    { role: 'assistant', content: ' Ho\n' }, // as it was answered after `Assistant:`
    user('Why?'),
  ];
  assert.deepEqual(
    encode(prompts, { kind: 'chat', messages }),
    bytes('Be short.\n\nUser: Hi {{ x }}\n\nAssistant: Ho\n\nUser: Why?\n\nAssistant:'),
  );
  assert.deepEqual(prompts.chatStop, ['\n\nUser:', '\nUser:']);
});

test('a template of one’s own: its end-of-text tokens are tokens, a message’s are text', () => {
  const template =
    '{{ bos_token }}{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}' +
    "{% if add_generation_prompt %}{{ '>' }}{% endif %}";
  const prompts = promptsOf(1024, template);
  assert.deepEqual(encode(prompts, { kind: 'chat', messages: [user('a'), user('<|endoftext|>')] }), [
    eot,
    ...bytes('a'),
    eot,
    ...bytes('<|endoftext|>'),
    eot,
    ...bytes('>'),
  ]);
  assert.deepEqual(prompts.chatStop, []);
  const strict = promptsOf(1024, "{{ raise_exception('no dialogue') }}");
  assert.throws(
    () => strict.encode({ kind: 'chat', messages: [user('a')] }),
    (error: unknown) => error instanceof ConfigError && /^messages: .*no dialogue/.test(error.message),
  );
  assert.throws(() => promptsOf(16, '{% if %}'), /^ConfigError: chat template: must be Jinja/);
});

test('top_p of 0 leaves the most probable token only', () => {
  const info = { config: parseModelConfig({}, 'test'), vocabSize: 256 } as ModelInfo;
  const options = readOptions(new Fields({ top_p: 0, temperature: 1.5 }), 5, info);
  assert.deepEqual(options, { maxTokens: 5, temperature: 0 });
});

test('exits: a criterion and a threshold, either of which may be absent', () => {
  const info: ModelInfo = {
    config: parseModelConfig({ depth: 'loop', nLoop: 4, nEmbd: 16, nHead: 2 }, 'test'),
    step: 0,
    backend: 'none',
    vocabSize: 256,
    fingerprint: 'fp_0',
    tokens: {},
    loops: null,
    chatTemplate: null,
  };
  const read = (exit: unknown) => readOptions(new Fields({ exit }), 5, info);
  assert.deepEqual(read({ criterion: 'kl', threshold: 2.5 }).exit, { criterion: 'kl', threshold: 2.5 });
  assert.deepEqual(read({ threshold: 0.75 }), {
    maxTokens: 5,
    temperature: 1,
    exit: { threshold: 0.75 },
  });
  assert.deepEqual(read({}).exit, {});
  assert.deepEqual(read(null), { maxTokens: 5, temperature: 1 });
  const refused = (exit: unknown, param: string) =>
    assert.throws(() => read(exit), { status: 400, details: { param } });
  refused(0.5, 'exit');
  refused({ criterion: 'boredom' }, 'exit.criterion');
  refused({ threshold: -1 }, 'exit.threshold');
});

test('offsets of tokens count code points, and parts of a character share its own', () => {
  const offsets = (ids: readonly number[]) => {
    const served = new ServedTokens(tokenizer, [eot], true);
    const token = { text: '', logprob: -1, top: [], steps: 1, echoed: false };
    return ids.map((id) => served.next({ id, ...token }).logprobs!.offset);
  };
  assert.deepEqual(offsets(bytes('aé😀日b')), [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4]);
  const [broken, lone] = [0xc3, 0x80];
  // The text is a, U+FFFD, b, U+FFFD, c.
  assert.deepEqual(offsets([...bytes('a'), broken, ...bytes('b'), lone, ...bytes('c')]), [0, 1, 2, 3, 4]);
});

test('names of tokens are texts, or their bytes where they are parts of characters; candidates of either kind', () => {
  const logprob = (text: string | number[], logprob: number) => ({
    bytes: typeof text === 'string' ? bytes(text) : text,
    logprob,
  });
  const parts = [logprob([0x20, 0xe6, 0x97], -1), logprob([0xa5], -2), logprob('日', -3)];
  const token: ServedToken = {
    text: '',
    logprobs: { ...logprob('\n\\', -4), offset: 7, top: parts, loops: 3 },
    steps: 3,
    echoed: false,
  };
  assert.deepEqual(chatFormat.part({ text: '', token }), {
    delta: { content: '' },
    logprobs: {
      content: [
        {
          ...{ token: '\n\\', bytes: [0x0a, 0x5c], logprob: -4 },
          top_logprobs: [
            { token: ' \\xe6\\x97', bytes: [0x20, 0xe6, 0x97], logprob: -1 },
            { token: '\\xa5', bytes: [0xa5], logprob: -2 },
            { token: '日', bytes: bytes('日'), logprob: -3 },
          ],
          loops: 3,
        },
      ],
      refusal: null,
    },
  });
  assert.deepEqual(completionFormat.part({ text: '', token }), {
    text: '',
    logprobs: {
      tokens: ['\n\\'],
      token_logprobs: [-4],
      top_logprobs: [{ 'bytes: \\xe6\\x97': -1, 'bytes:\\xa5': -2, 日: -3, '\n\\': -4 }],
      text_offset: [7],
      loops: [3],
    },
  });
});

test('keys: one of several, exactly, as a bearer token', () => {
  const keys = new ApiKeys(['alpha-key', 'beta-key-2'], 'keys');
  for (const given of ['Bearer alpha-key', 'bearer beta-key-2', 'Bearer  alpha-key']) keys.check(given);
  for (const given of [
    undefined,
    '',
    'alpha-key',
    'Bearer',
    'Bearer alpha-ke',
    'Basic alpha-key',
    'Bearer alpha-key ',
  ]) {
    assert.throws(() => keys.check(given), { status: 401 }, given);
  }
  new ApiKeys([], 'keys').check(undefined);
  for (const key of ['', 'short', 'with space', 'ümlaut-key', 'x'.repeat(513)]) {
    assert.throws(
      () => new ApiKeys([key], 'keys'),
      (error: unknown) =>
        error instanceof ConfigError &&
        /^keys: must have 8/.test(error.message) &&
        !/ümlaut/.test(error.message),
    );
  }
});

test('counters and histograms in Prometheus’s words', () => {
  const metrics = new Metrics();
  metrics.requests.add(1, { route: '/a', status: 200 });
  metrics.requests.add(1, { route: '/a', status: 200 });
  metrics.requests.add(1, { route: '/a', status: 404 });
  for (const seconds of [0.001, 0.02, 100]) metrics.firstToken.observe(seconds);
  const lines = metrics.render({ running: 2, waiting: 1 }).split('\n');
  metrics.dispose();
  const of = (name: string) => lines.filter((line) => line.startsWith(name));
  assert.deepEqual(of('loopnn_requests_total'), [
    'loopnn_requests_total{route="/a",status="200"} 2',
    'loopnn_requests_total{route="/a",status="404"} 1',
  ]);
  const buckets = of('loopnn_time_to_first_token_seconds_bucket');
  const cumulative = buckets.map((line) => Number(line.split(' ')[1]));
  assert.deepEqual(cumulative, [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
  assert.equal(buckets[0], 'loopnn_time_to_first_token_seconds_bucket{le="0.001"} 1');
  assert.match(buckets.at(-1)!, /\{le="\+Inf"\} 3$/);
  assert.deepEqual(of('loopnn_time_to_first_token_seconds_sum'), [
    'loopnn_time_to_first_token_seconds_sum 100.021',
  ]);
  assert.deepEqual(
    [of('loopnn_running_sequences'), of('loopnn_waiting_sequences')],
    [['loopnn_running_sequences 2'], ['loopnn_waiting_sequences 1']],
  );
  // Each series has its help and its type before it, and the text ends with a line.
  const named = lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => /^[a-z_]+/.exec(line)![0]);
  for (const name of named) {
    const base = name.replace(/_(bucket|sum|count)$/, '');
    assert.ok(
      lines.some((line) => line.startsWith(`# TYPE ${base} `)) ||
        lines.some((line) => line.startsWith(`# TYPE ${name} `)),
      name,
    );
  }
  assert.equal(lines.at(-1), '');
});

test('the gate: a queue’s room decides between an answer, another try and never', () => {
  const gate = new Gate({ modelIds: ['run', 'alias'], capacity: 4, state: () => 'ok' });
  const asks = (count: number, n: number): CompletionRequest => {
    const task = { prompt: { kind: 'text', text: '' }, options: { maxTokens: 1 } } as const;
    return { tasks: Array(count).fill(task), n, stream: false, includeUsage: false };
  };
  const refusal = (work: () => void): ApiError => {
    try {
      work();
    } catch (error) {
      if (error instanceof ApiError) return error;
      throw error;
    }
    throw new Error('nothing was refused');
  };
  gate.requireOpen();
  gate.requireModel('run');
  gate.requireRoom(asks(2, 1), 2, 0);
  assert.equal(refusal(() => gate.requireModel('ruin')).status, 404);
  const retry = (seconds: number) => {
    const { status, details } = refusal(() => gate.requireRoom(asks(2, 1), 3, seconds));
    return [status, details.headers?.['retry-after']];
  };
  assert.deepEqual([0, 2.1, 1000].map(retry), [
    [429, '1'],
    [429, '3'],
    [429, '60'],
  ]);
  const never = (n: number) => refusal(() => gate.requireRoom(asks(5, n), 0, 0));
  assert.deepEqual([never(5).status, never(5).details.param, never(1).details.param], [400, 'n', 'prompt']);
});

test('a deadline aborts with the 499 of a client that has left, also of one that left before it began', () => {
  const client = new AbortController();
  using before = new Deadline(60_000, client.signal);
  using over = new Deadline(60_000, client.signal);
  over[Symbol.dispose]();
  assert.equal(before.signal.aborted, false);
  client.abort();
  using after = new Deadline(60_000, client.signal);
  assert.equal((before.signal.reason as ApiError).status, 499);
  assert.equal((after.signal.reason as ApiError).status, 499);
  assert.equal(over.signal.aborted, false);
});

/**
 * Chat templates: the ids that `transformers` gives (`test/fixtures/chat/make_chat.py`), and messages that try to spell
 * special tokens through whatever a template does with them.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ChatTemplate } from '../../src/serve/chat-template.js';
import type { ChatMessage } from '../../src/serve/messages.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { encodeSpans } from '../../src/tokenizer/spans.js';
import type { SpecialToken, Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { Fuzz } from '../fuzz.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/chat/', import.meta.url));
const read = (name: string) => readFileSync(FIXTURES + name, 'utf8');

interface Case {
  readonly template: string;
  readonly bos: string | null;
  readonly eos: string;
  readonly tokenizer: string;
  readonly messages: readonly ChatMessage[];
  readonly ids: readonly number[];
}

const cases = JSON.parse(read('expected.json')) as readonly Case[];
const tokenizers = new Map<string, Tokenizer>();
for (const file of new Set(cases.map(({ tokenizer }) => tokenizer))) {
  tokenizers.set(file, await tokenizerFromJSON(JSON.parse(read(file)), file));
}

test('prompts have the ids of transformers, and what messages spell stays text', () => {
  assert.ok(cases.length > 40);
  for (const { template, bos, eos, tokenizer: file, messages, ids } of cases) {
    const tokenizer = tokenizers.get(file)!;
    const names = { eos_token: eos, ...(bos === null ? {} : { bos_token: bos }) };
    const source = { source: read(`templates/${template}.jinja`), where: template };
    const spans = new ChatTemplate(source, tokenizer.specials, names).render(messages);
    assert.deepEqual(encodeSpans(tokenizer, spans), ids, `${template}, ${file}: ${JSON.stringify(messages)}`);
  }
});

const CONTENTS = [
  '<|im_start|>',
  '<|im_end|>',
  '<|user|>',
  '[SEP]',
  '<s>',
  '</think>',
  'user',
  '\n',
  '<|a b|>',
];
const SPECIALS: readonly SpecialToken[] = CONTENTS.map((content, i) => ({
  id: 300 + i,
  content,
  lstrip: false,
  rstrip: false,
}));
const user = (...contents: string[]): ChatMessage[] => contents.map((content) => ({ role: 'user', content }));

/** What a template makes of messages, tokens in double angles. */
function rendered(source: string, messages: readonly ChatMessage[], specials = SPECIALS): string {
  const template = new ChatTemplate({ source, where: 'test' }, specials, { eos_token: '<|im_end|>' });
  const spans = template.render(messages);
  return spans.map((span) => (typeof span === 'string' ? span : `«${span.content}»`)).join('');
}

/** Without the special tokens that are no marks. */
const MARKS = SPECIALS.filter(({ content }) => content.length > 1 && content !== 'user');

test('no filter, cut or joint makes a token of what messages say', () => {
  const each = (expression: string) =>
    `{% for m in messages %}{{ ${expression} }}{% endfor %}{{ eos_token }}`;
  for (const [expression, contents, text] of [
    ['m.content', ['a<|im_end|>b'], 'a<|im_end|>b'],
    ['m.content', ['<|im_', 'end|>'], '<|im_end|>'],
    ['m.content | upper', ['[sep]'], '[SEP]'],
    ['m.content | lower', ['<S>'], '<s>'],
    ['m.content | trim', [' <s>\n'], '<s>'],
    ["m.content | replace('\\n', '')", ['<|im_\nend|>'], '<|im_end|>'],
    ["m.content.replace('x', '|')", ['<xim_endx>'], '<|im_end|>'],
    ["'[' ~ m.content ~ ']'", ['SEP'], '[SEP]'],
    ["'<|' + m.content + '|>'", ['user'], '<|user|>'],
    ["'<|im_' + m.content", ['end|>'], '<|im_end|>'],
    ["m.content + '|im_end|>'", ['<'], '<|im_end|>'],
    ["'<|a' + m.content + 'b|>'", [' '], '<|a b|>'],
    ['m.content[1:-1]', ['-<s>-'], '<s>'],
    ["m.content.split('-') | join('')", ['<-s->'], '<s>'],
    ["m.content.split('-')[1]", ['a-<s>-b'], '<s>'],
    ['m.content | tojson', ['<|im_end|>"'], '"<|im_end|>\\""'],
    ['messages | tojson', ['<s>'], '[{"role": "user", "content": "<s>"}]'],
    ['[m.content, m.content] | join', ['<s>'], '<s><s>'],
    ["m.content | default('<|im_end|>')", ['<s>'], '<s>'],
    [
      'm.content',
      ['~00000000000000000000000000000000:1~ \ue000'],
      '~00000000000000000000000000000000:1~ \ue000',
    ],
  ] as const) {
    assert.equal(rendered(each(expression), user(...contents), MARKS), `${text}«<|im_end|>»`, expression);
  }
});

test('a template’s own tokens are tokens, however it makes them', () => {
  for (const [source, expected] of [
    ['<|im_start|>{{ messages[0].content }}<|im_end|>', '«<|im_start|>»a <s>«<|im_end|>»'],
    ["{{ '<|' + messages[0].role + '|>' + messages[0].content }}", '«<|user|>»a <s>'],
    ['<|{{ messages[0].role }}|>{{ messages[0].content | trim }}', '«<|user|>»a <s>'],
    ["{% set t = '<s>' %}{% if t == '<s>' %}{{ t ~ messages[0].content }}{% endif %}", '«<s>»a <s>'],
    ["{{ {'user': '<|user|>'}[messages[0].role] }}", '«<|user|>»'],
    [
      "{{ ['<s>', messages[0].content, '[SEP]'] | join('<|im_end|>') }}",
      '«<s>»«<|im_end|>»a <s>«<|im_end|>»«[SEP]»',
    ],
    ["{{ ('<s> ' + messages[0].content + ' ') | trim }}", '«<s>» a <s>'],
    ["{{ messages[0].content | replace('a', '<s>') }}", '«<s>» <s>'],
    ["{{ messages[0].content | upper ~ '[sep]' | upper }}", 'A <S>«[SEP]»'],
  ] as const) {
    assert.equal(rendered(source, user('a <s>'), MARKS), expected, source);
  }
});

test('a template that looks for special tokens in messages finds them', () => {
  const source =
    "{% set said = messages[0].content %}{% if '</think>' in said %}{% set said = said.split('</think>')[-1] %}{% endif %}" +
    "{% if said.startswith('<s>') or said.endswith('<s>') %}!{% endif %}{{ said }}<|im_end|>";
  assert.equal(rendered(source, user('thought</think><s>said</s>'), MARKS), '!<s>said</s>«<|im_end|>»');
  assert.equal(rendered(source, user('said'), MARKS), 'said«<|im_end|>»');
});

test('a template that takes its own tokens apart tells nobody how they were marked', () => {
  for (const source of [
    "{{ '<s>a'[:2] }}",
    "{{ '<s>a'[3:] }}",
    "{{ '<s>a' | length }}",
    "{{ '<s>a' | tojson | length }}",
  ]) {
    const text = rendered(`<|im_end|>${source} {{ messages[0].content }}`, user('said'), MARKS);
    assert.match(text, /^(«<\|im_end\|>»|<\|im_end\|>)\S{1,2} said$/, source);
  }
});

test('tokens that are spelled as roles, fields or white space are', () => {
  const source =
    "{% for m in messages %}{% if m['role'] == 'user' %}user\n{{ m.content }}{% endif %}{% endfor %}";
  // White space at a tag is not in question, and a message that says 'user' or a line's end says it in text.
  assert.equal(rendered(source, user('a user\n')), '«user»«\n»a user\n');
});

test('random messages leave every template the tokens that it has for innocent ones', () => {
  const fuzz = new Fuzz(5);
  const fragments = [
    ...MARKS.flatMap(({ content }) => [content, content.slice(0, 2), content.slice(2)]),
    ' ',
    'x',
    '"',
  ];
  const sources = ['chatml', 'headers', 'plain-roles', 'pieces', 'instructions', 'records'];
  const { specials } = tokenizers.get('tokenizer.json')!;
  for (const name of sources) {
    const source = { source: read(`templates/${name}.jinja`), where: name };
    const template = new ChatTemplate(source, specials, { bos_token: '<s>', eos_token: '</s>' });
    const tokensOf = (messages: readonly ChatMessage[]) =>
      template.render(messages).filter((span) => typeof span === 'object');
    const innocent = tokensOf(user('x'));
    for (let i = 0; i < 100; i++) {
      const content = Array.from({ length: 1 + fuzz.below(6) }, () => fuzz.pick(fragments)).join('');
      assert.deepEqual(tokensOf(user(content)), innocent, `${name}: ${JSON.stringify(content)}`);
    }
  }
});

test('a template that fails, and one that is no Jinja', () => {
  const failing = "{{ raise_exception('no ' ~ messages[0].content) }}";
  assert.throws(() => rendered(failing, user('dialogue')), {
    name: 'ConfigError',
    message: 'messages: must suit the chat template (no dialogue)',
  });
  assert.throws(() => rendered('{% if %}', user('a')), /^ConfigError: test: must be Jinja/);
});

/** What a file is by its content: records found under any shape, and text that only looks like them left alone. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Content, recognise } from '../../../src/data/corpus/kind.js';
import { FIELD_DEFAULTS } from '../../../src/data/corpus/source.js';

const folder = await mkdtemp(join(tmpdir(), 'loopnn-kind-'));
after(() => rm(folder, { recursive: true }));

async function kindOf(content: string | Uint8Array, name = 'a', field = 'text'): Promise<Content['kind']> {
  await writeFile(join(folder, name), content);
  return (await recognise(join(folder, name), { ...FIELD_DEFAULTS, field })).kind;
}

async function refusal(content: string, name = 'a'): Promise<string> {
  const error = await kindOf(content, name).then(
    (kind) => assert.fail(`${kind}: ${content.slice(0, 50)}`),
    (error: Error) => error,
  );
  assert.equal(error.name, 'DataError');
  return error.message;
}

const LONG = 'Once upon a time there was a model. '.repeat(10);
const MANY = 12_000;
const PROSE = 'It was the best of times, it was the worst of times,\nit was the age of wisdom.\n';

test('text that begins like records, or has commas, stays text', async () => {
  const texts: Record<string, string> = {
    prose: PROSE,
    'prose with the same commas in each line': 'One, two, three\nfour, five, six\nseven, eight, nine\n',
    'a poem': 'Tyger Tyger, burning bright,\nIn the forests of the night,\nWhat immortal hand or eye,\n',
    'dialogue in quotes': '"Where are you going?"\n"Home," she said.\n"Why?"\n',
    'one sentence in quotes': `"${LONG}"`,
    'numbers, a line each': '1\n2\n3\n4\n',
    'numbers with commas': '1,2,3\n4,5,6\n7,8,9\n',
    'a stage direction': `[Enter Hamlet, with a book]\nHAMLET: Words, words, words.\n${PROSE}`,
    'a bracket that never closes': `[sic, and so on\n${PROSE}`,
    'a bracket and a quote that never close': `["Hello, she said\n${PROSE}`,
    'a log': '[2024-01-01] start\n[2024-01-02] {"level":"info","text":"no"}\n[2024-01-03] stop\n',
    'a Markdown link': '[{"text":1}, a link](http://x) and words\n\n- [ ] to do\n',
    'Markdown with a reference': '[1]: http://x\n[2]: http://y\n',
    'front matter in JSON': '{\n  "title": "A page"\n}\n\n# A page\n\nWords.\n',
    LaTeX: '{\\bf Theorem} {"a": "b"} \\begin{align} x, y \\end{align}\n',
    'a template': '{% for x in list %}{{ x }},{% endfor %}\n{"a": {{ x }}}\n',
    C: '{ "name", 1, 2 },\n{ "other", 3, 4 },\n',
    'C initialisers': 'static T t[] = {\n{"a", 1},\n{"b", 2},\n};\n',
    TypeScript: '[{ text: "a" }, { text: "b" }].forEach((x) => print(x));\n',
    'JavaScript with JSON in it': 'export default [\n{"text":"a"},\n{"text":"b"},\n{"text":"c"},\n];\n',
    'a program that prints a list': '[{"a": 1}, {"a": 2}].map((x) => x.a);\n',
    Lisp: '(text,label)\n(a,b)\n(c,d)\n',
    'a table in Markdown': '| text | n |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n',
    'tabs before lines': '\ttext\tof code\n\tmore\tof it\n\tand\tmore\n',
    'a makefile': 'all:\n\tcc -o a a.c\n\tstrip a\n',
    'names in lines of code': 'foo;\nbar;\nbaz;\n',
    'a word with commas behind': 'one,\ntwo,\nthree,\n',
    'a first line like a header': `text,label\n${PROSE}${PROSE}`,
    'a byte order mark': `\ufeff${PROSE}`,
    'a string of JSON named otherwise': JSON.stringify(LONG),
  };
  for (const [what, text] of Object.entries(texts)) {
    for (const name of ['a', 'a.txt', 'b.md']) assert.equal(await kindOf(text, name), 'text', what);
    // Beyond what is looked at, too.
    const long = `${text}${PROSE.repeat(Math.ceil(3e5 / PROSE.length))}`;
    assert.equal(await kindOf(long), 'text', `${what}, and a book`);
  }
});

test('JSON without records is text, as the configurations in a folder of code are', async () => {
  const configurations: unknown[] = [
    {
      name: 'loopnn',
      version: '1',
      scripts: { test: 'node --test' },
      files: ['dist'],
      contributors: [{ name: 'A' }],
      x: { y: LONG },
    },
    { compilerOptions: { strict: true }, include: ['src'] },
    { type: 'module' },
    {},
    { vocab: Object.fromEntries(Array.from({ length: MANY }, (_, i) => [`token ${i}`, i])), merges: [] },
    ['src', 'test'],
    [1, 2, 3],
    [
      [1, 2],
      ['a', { text: 'a' }],
    ],
    Array.from({ length: 3 * MANY }, (_, i) => i),
    'a string',
    1,
  ];
  for (const value of configurations) {
    for (const indent of [0, 2]) {
      const text = JSON.stringify(value, null, indent);
      // A file of one line that is longer than its beginning may be JSON Lines.
      if (indent === 0 && text.length > 2 ** 18 && text[0] === '{') continue;
      for (const name of ['a.json', 'a']) assert.equal(await kindOf(text, name), 'text', text.slice(0, 60));
    }
  }
});

test('records are found however long, and behind what else there is', async () => {
  const long = 'x'.repeat(300_000);
  const records: [kind: Content['kind'], content: string][] = [
    ['jsonl', '{"text":"a"}\r\n\r\n{"text":"b"}\r\n'],
    ['jsonl', 'cut off"}\n{"text":"a"}\n{"text":"b"}\n'],
    ['jsonl', `\ufeff{"text":"${long}"}\n{"text":"b"}\n`],
    ['jsonl', `{"id":1,"ids":[${'1,'.repeat(200_000)}1],"text":"b"}\n`],
    ['jsonl', `{"text":"a","more":"${'x'.repeat(200_000)}"}\n{"text":"b","more":"${long}"}\n`],
    ['jsonl', '{"body":"a"}\n{"body":"b"}\n{"body":\n'],
    ['json', '{"text":"one line"}'],
    ['json', '{\n  "id": 1,\n  "text": "several lines"\n}\n'],
    ['json', `{\n  "text": "${long}"\n}\n`],
    ['json', `{\n  "body": "${LONG}"\n}\n`],
    ['json', '{"text":"a"} {"text":"b"}'],
    ['json', '{\n"text":"a"\n}\n{\n"text":"b"\n}'],
    ['json', ' \n[\n{"text":"a"}\n,{"text":"b"}]\n'],
    ['json', `[{"text":"${long}"},{"text":"b"}]`],
    ['json', `[{"id":1,"text":"${long}`],
    ['json', '[{"text":"a" "b"},{"text":"b"},{"text":"c"}]'],
    ['json', '[]'],
    ['json', '{"data":[{"text":"a"}]}'],
    ['json', `{"licence":"${LONG.repeat(20)}","data":[{"text":"a"}]}`],
    ['json', `{"n":1,"data":[{"text":"${long}"}]}`],
    ['json', '{"n":1,"data":[{"body":"a"}]}'],
    ['csv', 'text,label\nHello there,1\n'],
    ['csv', 'id\ttext\n1\ta\n2\tb\n'],
    ['csv', `id,text\n1,"${long}"\n`],
    ['csv', ',text\n0,a\n1,b\n'],
    ['csv', `id,text\n${'1,a\n'.repeat(20)}2\n`],
    ['csv', 'id,body\n1,a\n2,b\n'],
  ];
  for (const [kind, content] of records) {
    for (const name of ['a', 'a.txt']) assert.equal(await kindOf(content, name), kind, content.slice(0, 60));
  }
  assert.equal(await kindOf('{"text": "cut\n'.repeat(3), 'a.jsonl'), 'jsonl');
  assert.equal(await kindOf('nothing of the kind', 'a.NDJSON'), 'jsonl');
  assert.equal(await kindOf('nothing of the kind', 'a.CSV'), 'csv');
});

test('a header makes a table of what has the field asked for, and of nothing else with as few rows', async () => {
  assert.equal(await kindOf('text,label\nHello there,1\n', 'a', 'label'), 'csv');
  assert.equal(await kindOf('text,label\nHello there,1\n', 'a', 'body'), 'text');
  assert.equal(await kindOf('text,label\n', 'a', 'text'), 'text');
});

test('what looks like records and cannot be read is refused, and told how to be taken as text', async () => {
  const none = 'that look like JSON but cannot be parsed';
  const refused: [content: string, got: string][] = [
    ['{"text": "a", "score": NaN}\n{"text": "b", "score": NaN}\n', `lines ${none}`],
    ["{'text': 'a'}\n{'text': 'b'}\n", `lines ${none}`],
    ['{"text": "a"},\n{"text": "b"},\n', `lines ${none}`],
    ['{"text": "a"}\nand something else\n', 'a record with something after it'],
    ['{\n"text": "a",\n}\n', `records ${none}`],
    ['{"data": [{"text": "a"}, {"te', `records ${none}`],
    ['[{"text": NaN}, {"text": NaN}]', `records in an array ${none}`],
    ['[{"text": "a"}] [{"text": "b"}]', `records with something after them ${none}`],
    ['["a", "b"]\n["c", "d"]\n', 'an array a line'],
    [JSON.stringify([LONG, LONG]), 'an array of strings'],
    [JSON.stringify([LONG, 1]), 'an array of values'],
    [`["${'x'.repeat(300_000)}","b"]`, 'an array of strings'],
  ];
  for (const [content, got] of refused) {
    const message = await refusal(content);
    assert.ok(message.includes(`must hold records with the field 'text', got '${got}`), message);
    assert.match(message, /loopnn prepare --as text reads the file as plain text$/);
  }
  assert.match(await refusal(JSON.stringify(LONG), 'a.json'), /got 'a string'/);
  assert.match(await refusal('"one"\n"two"\n', 'a.json'), /got 'a string a line'/);
});

test('binary files say what they are', async () => {
  const fault = async (bytes: Uint8Array) => {
    await writeFile(join(folder, 'b.json'), bytes);
    const found = await recognise(join(folder, 'b.json'), FIELD_DEFAULTS);
    return found.kind === 'binary' ? found.fault : found.kind;
  };
  const hex = (text: string) => Buffer.from(`${text}0000`, 'hex');
  assert.equal(await fault(hex('425a6839314159265359')), 'packed by bzip2; unpack it first');
  assert.equal(await fault(hex('fd377a585a00')), 'packed by xz; unpack it first');
  assert.equal(await fault(hex('04224d18')), 'packed by lz4; unpack it first');
  assert.equal(await fault(hex('504b0304')), 'a zip file; unpack it first');
  const tar = Buffer.alloc(1024);
  tar.write('text.txt');
  tar.write('ustar', 257);
  assert.equal(await fault(tar), 'a tar file; unpack it first');
  for (const [mark, encoding] of [['\ufeff', 'utf16le']] as const) {
    assert.equal(await fault(Buffer.from(`${mark}{"text":"a"}`, encoding)), 'UTF-16; convert it first');
  }
  assert.equal(await fault(Buffer.from('BZh is how a text may begin')), 'text');
  assert.equal(await fault(Uint8Array.of(1, 2, 0)), 'a binary file (a zero byte at 2)');
});

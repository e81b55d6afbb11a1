/**
 * What the files of a model in Hugging Face's layout say of its texts: by which ids they end, what the end is called,
 * which chat template there is. The fixture is what `transformers` saves
 * (`test/fixtures/huggingface/make_chat_model.py`).
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDataset } from '../../../src/data/dataset.js';
import { folderFiles } from '../../../src/data/hub/huggingface.js';
import {
  foundTemplate,
  foundTextIds,
  foundTokenizer,
  readTextFiles,
  tokenizerInFile,
} from '../../../src/data/hub/huggingface-texts.js';
import { prepareCorpus } from '../../../src/data/prepare.js';

const CHAT = fileURLToPath(new URL('../../../../test/fixtures/huggingface/chat/', import.meta.url));
const VOCAB = 282;
const [END, PARTING] = [281, 0];
const folder = mkdtempSync(join(tmpdir(), 'loopnn-texts-'));
after(() => rmSync(folder, { recursive: true }));
type Json = Record<string, unknown>;
type Changes = Readonly<Record<string, Json | string | null | ((json: Json) => void)>>;
const read = (name: string) => readFileSync(join(CHAT, name), 'utf8');

/** A copy of the fixture, with changes to its files by their names; null removes one. */
function copy(name: string, changes: Changes = {}): string {
  const target = join(folder, name);
  rmSync(target, { recursive: true, force: true });
  cpSync(CHAT, target, { recursive: true });
  for (const [file, change] of Object.entries(changes)) {
    const path = join(target, file);
    if (change === null) rmSync(path);
    else if (typeof change === 'string') writeFileSync(path, change);
    else if (typeof change === 'function') {
      const json = JSON.parse(read(file));
      change(json);
      writeFileSync(path, JSON.stringify(json));
    } else writeFileSync(path, JSON.stringify(change));
  }
  return target;
}

const filesOf = async (changes: Changes) => readTextFiles(await folderFiles(copy('model', changes)));

/** The tokenizer, and the names of its special tokens. */
async function tokenizerOf(changes: Changes) {
  const files = await filesOf(changes);
  return foundTokenizer(files.tokenizer!, files, foundTextIds(files, VOCAB).ids);
}

const set = (fields: Json) => (json: Json) => Object.assign(json, fields);

test('ids: generation_config.json first, then config.json; absent and null are nothing, and twice is once', async () => {
  const cases: [config: unknown, generation: unknown, kept: unknown][] = [
    [279, [0, 281], [0, 281]],
    [[0, 281], null, [0, 281]],
    [279, undefined, 279],
    [[281, 281, 0, 281], null, [281, 0]],
    [null, [281], 281],
    [null, [], null],
  ];
  for (const [config, generation, kept] of cases) {
    const files = await filesOf({
      'config.json': set({ eos_token_id: config, bos_token_id: 1 }),
      'generation_config.json':
        generation === undefined ? null : set({ eos_token_id: generation, bos_token_id: null }),
    });
    const found = foundTextIds(files, VOCAB);
    assert.deepEqual([found.generation!.eos_token_id, found.generation!.bos_token_id], [kept, 1]);
  }
});

test('ids that are none of the vocabulary’s are refused by file and field', async () => {
  for (const [file, fields, told] of [
    [
      'config.json',
      { eos_token_id: 282 },
      /config\.json: eos_token_id: must be a token id below .* 282, or a list/,
    ],
    ['config.json', { eos_token_id: -1 }, /config\.json: eos_token_id: .*, got '-1'; correct or remove it/],
    ['config.json', { eos_token_id: [0, 50_256] }, /config\.json: eos_token_id: .*, got '\[0,50256\]'/],
    [
      'generation_config.json',
      { eos_token_id: [0, 1.5] },
      /generation_config\.json: eos_token_id: .*'\[0,1\.5\]'/,
    ],
    ['generation_config.json', { eos_token_id: [[0]] }, /generation_config\.json: eos_token_id: /],
    [
      'generation_config.json',
      { eos_token_id: '281' },
      /generation_config\.json: eos_token_id: .*got '"281"'/,
    ],
    [
      'config.json',
      { bos_token_id: true },
      /config\.json: bos_token_id: must be a token id below .* 282, got 'true'/,
    ],
    ['config.json', { bos_token_id: [0] }, /config\.json: bos_token_id: /],
  ] as const) {
    const files = await filesOf({ [file]: set(fields) });
    assert.throws(() => foundTextIds(files, VOCAB), { name: 'DataError', message: told });
  }
  const list = await filesOf({ 'generation_config.json': '[]' });
  assert.throws(() => foundTextIds(list, VOCAB), /generation_config\.json: must be an object/);
});

test('an end of text of any name is known by its id, or by what a file calls it', async () => {
  /** `<|end|>` in place of `<|endoftext|>`, and none of a usual name. */
  const renamed = read('tokenizer.json')
    .replaceAll('<|endoftext|>', '<|end|>')
    .replaceAll('<|im_end|>', '<|turn|>');
  const noIds = set({ eos_token_id: null, bos_token_id: null });
  const names = { 'tokenizer.json': renamed };
  const nowhere = { ...names, 'config.json': noIds, 'generation_config.json': noIds };
  const added = { __type: 'AddedToken', content: '<|end|>', lstrip: false, normalized: false };
  const cases: [Changes, number, string][] = [
    [{ ...names, 'tokenizer_config.json': null }, END, '<|turn|>'],
    [{ ...nowhere, 'tokenizer_config.json': { eos_token: '<|end|>' } }, PARTING, '<|end|>'],
    [{ ...nowhere, 'tokenizer_config.json': { eos_token: added } }, PARTING, '<|end|>'],
    [
      {
        ...nowhere,
        'tokenizer_config.json': { add_bos_token: false, eos_token: '<|turn|>' },
        'special_tokens_map.json': {
          eos_token: { content: '<|end|>' },
          pad_token: '<|turn|>',
          sep_token: 'none',
        },
      },
      PARTING,
      '<|end|>',
    ],
  ];
  const text = join(folder, 'text.txt');
  writeFileSync(text, 'some words, and some more words. '.repeat(40));
  for (const [changes, eot, eotToken] of cases) {
    const { tokenizer, tokens } = await tokenizerOf(changes);
    assert.deepEqual([tokenizer.eot, tokenizer.eotToken, tokens!.eos_token], [eot, eotToken, eotToken]);
    // The file alone finds what lies beside it, and what is prepared with it is read with the same end again.
    const file = join(folder, 'model', 'tokenizer.json');
    assert.equal((await tokenizerInFile(file)).eot, eot);
    const out = join(folder, 'data');
    await prepareCorpus({ sources: [text], out, tokenizer: file, seed: 1, force: true, workers: 2 });
    await using data = await openDataset(out);
    assert.deepEqual([data.meta!.tokenizer.eot, data.tokenizer!.eot], [eot, eot]);
    assert.equal((await data.val.read(data.val.length - 1, 1))[0], eot);
  }
  assert.deepEqual((await tokenizerOf(cases[3][0])).tokens, { eos_token: '<|end|>', pad_token: '<|turn|>' });
  const message =
    /tokenizer\.json: must have a token that ends a text, .*; name it by --eot, or in a file tokenizer_config\.json/;
  await assert.rejects(tokenizerOf({ ...nowhere, 'tokenizer_config.json': null }), message);
  await assert.rejects(tokenizerInFile(join(folder, 'model', 'tokenizer.json')), message);
  await assert.rejects(
    tokenizerOf({ ...nowhere, 'tokenizer_config.json': { eos_token: '<|stop|>' } }),
    /tokenizer\.json: must have the token <\|stop\|>, which its tokenizer_config\.json names as eos_token/,
  );
  await assert.rejects(
    tokenizerOf({ 'tokenizer_config.json': { eos_token: 3 } }),
    /tokenizer_config\.json: eos_token: must be a text or an added token, got '3'/,
  );
});

test('the end of text is what the user calls it, whatever the files say', async () => {
  const file = join(copy('ended'), 'tokenizer.json');
  const text = join(folder, 'ended.txt');
  writeFileSync(text, 'words <|im_start|> and more. '.repeat(40));
  const out = join(folder, 'ended-data');
  const options = { sources: [text], out, seed: 1, force: true, workers: 1 };
  await prepareCorpus({ ...options, tokenizer: file, eot: '<|im_start|>' });
  await using data = await openDataset(out);
  assert.deepEqual([data.meta!.tokenizer.eot, data.tokenizer!.eot], [280, 280]);
  const ids = await data.train.read(0, data.train.length);
  assert.equal(ids.indexOf(280), ids.length - 1, 'a text does not spell it');
  const refusals: [object, string][] = [
    [{ tokenizer: file, eot: '<|none|>' }, `--eot: must be a token of ${file}, got '<|none|>'`],
    [
      { tokenizer: 'gpt2', eot: '</s>' },
      "--eot: must not be given with --tokenizer gpt2, which has its own, got '</s>'",
    ],
  ];
  for (const [more, message] of refusals) {
    const prepared = prepareCorpus({ ...options, tokenizer: file, ...more });
    await assert.rejects(prepared, { name: 'ConfigError', message });
  }
});

test('of several ids the tokenizer’s own, or else one of a usual name, parts documents', async () => {
  const ids = set({ eos_token_id: [281, 0] });
  const without = { 'config.json': ids, 'generation_config.json': ids };
  assert.equal((await tokenizerOf(without)).tokenizer.eot, END);
  assert.equal((await tokenizerOf({ ...without, 'tokenizer_config.json': null })).tokenizer.eot, PARTING);
  // An ordinary token ends no document where there is one made for it.
  const ordinary = set({ eos_token_id: 279 });
  const changes = { 'config.json': ordinary, 'generation_config.json': null, 'tokenizer_config.json': null };
  assert.equal((await tokenizerOf(changes)).tokenizer.eot, PARTING);
});

test('tokens that other files name as special cannot be spelled by text', async () => {
  const plain = (json: Json) => {
    const { added_tokens } = json as { added_tokens: Json[] };
    for (const token of added_tokens) token.special = false;
  };
  const { tokenizer } = await tokenizerOf({
    'tokenizer.json': plain,
    'tokenizer_config.json': { eos_token: '<|im_end|>', additional_special_tokens: ['<|im_start|>'] },
  });
  for (const content of ['<|im_start|>', '<|im_end|>', '<|endoftext|>']) {
    assert.ok(tokenizer.specials.some((token) => token.content === content));
    assert.ok(tokenizer.encode(content).length > 1, content);
  }
});

test('GPT-2’s older files: tokens that were added to vocab.json and merges.txt', async () => {
  const { model, added_tokens } = JSON.parse(read('tokenizer.json'));
  const later = (added_tokens as Json[]).filter(({ id }) => (id as number) >= 280);
  const older = {
    'tokenizer.json': null,
    'vocab.json': { ...model.vocab, '<|endoftext|>': 0 },
    'merges.txt': `#version: 0.2\n${model.merges.map((pair: string[]) => pair.join(' ')).join('\n')}\n`,
  };
  const byContent = Object.fromEntries(later.map(({ content, id }) => [content, id]));
  const byId = Object.fromEntries(later.map(({ id, ...rest }) => [id, rest]));
  const names = { eos_token: '<|im_end|>', additional_special_tokens: ['<|im_start|>'] };
  for (const changes of [
    { 'added_tokens.json': byContent, 'tokenizer_config.json': names },
    { 'tokenizer_config.json': { ...names, added_tokens_decoder: byId } },
  ]) {
    const { tokenizer } = await tokenizerOf({ ...older, ...changes });
    const specials = tokenizer.specials.map(({ content, id }) => [content, id]);
    assert.deepEqual([tokenizer.eot, tokenizer.vocabSize], [END, VOCAB]);
    assert.deepEqual(specials, [
      ['<|endoftext|>', 0],
      ['<|im_start|>', 280],
      ['<|im_end|>', 281],
    ]);
  }
});

test('a chat template comes from wherever transformers keeps or kept it', async () => {
  const own = read('chat_template.jinja');
  const named = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: own },
  ];
  const none = { 'chat_template.jinja': null };
  const cases: [Changes, string | null, RegExp][] = [
    [{ ...none, 'tokenizer_config.json': { chat_template: own } }, own, /^$/],
    [
      { ...none, 'tokenizer_config.json': { chat_template: named } },
      own,
      /model: chat templates skipped: tool_use$/,
    ],
    [{ ...none, 'chat_template.json': { chat_template: own } }, own, /^$/],
    [{ 'tokenizer_config.json': { chat_template: 'older' } }, own, /^$/],
    [{ ...none, 'tokenizer_config.json': { chat_template: named.slice(0, 1) } }, null, /skipped: tool_use$/],
    [none, null, /^$/],
    [
      { additional_chat_templates: 'a folder' },
      own,
      /model: chat templates skipped: those in additional_chat_templates$/,
    ],
  ];
  for (const [changes, kept, told] of cases) {
    const { chatTemplate, notices } = foundTemplate(await filesOf(changes));
    assert.equal(chatTemplate, kept);
    assert.match(notices.join('\n'), told);
  }
  const wrong = await filesOf({ ...none, 'tokenizer_config.json': { chat_template: [{ name: 'default' }] } });
  assert.throws(
    () => foundTemplate(wrong),
    /tokenizer_config\.json: chat_template: must be a text, or a list of objects with a name and a template/,
  );
});

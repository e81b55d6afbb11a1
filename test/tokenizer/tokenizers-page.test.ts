/** docs/tokenizers.md says what the code reads and refuses, and what Python's tokenizers was compared on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EOT_NAMES, MODEL_TYPES } from '../../src/tokenizer/huggingface-json.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { DECODERS } from '../../src/tokenizer/pipeline/decoders.js';
import { NORMALIZERS } from '../../src/tokenizer/pipeline/normalizers.js';
import { fromOniguruma } from '../../src/tokenizer/pipeline/oniguruma.js';
import { POST_PROCESSORS } from '../../src/tokenizer/pipeline/post-processors.js';
import { PRE_TOKENIZERS } from '../../src/tokenizer/pipeline/pre-tokenizers.js';
import { BEHAVIORS } from '../../src/tokenizer/pipeline/split.js';
import { type Parts, readFixture } from './huggingface-fixture.js';

const PAGE = readFileSync(fileURLToPath(new URL('../../../docs/tokenizers.md', import.meta.url)), 'utf8');

/** The rows of a section's table, without its header. */
function rows(section: string): [first: string, second: string][] {
  const text = PAGE.split(/^## /m).find((part) => part.startsWith(`${section}\n`));
  assert.ok(text, `a section ${section}`);
  const lines = text.split('\n').filter((line) => line.startsWith('| '));
  return lines.slice(2).map((line) => {
    const cells = line.slice(2, -2).split(' | ');
    assert.equal(cells.length, 2, line);
    return [cells[0].trim(), cells[1].trim()];
  });
}

const codes = (cell: string): string[] => Array.from(cell.matchAll(/`([^`]+)`/g), ([, code]) => code);
const code = (cell: string): string => {
  const found = codes(cell);
  assert.equal(found.length, 1, cell);
  return found[0];
};

const LISTS = {
  Models: MODEL_TYPES,
  Normalizers: NORMALIZERS,
  'Pre-tokenizers': PRE_TOKENIZERS,
  Decoders: DECODERS,
  'Post-processors': POST_PROCESSORS,
};

test('the page has the types that the code reads, and all behaviors of Split', () => {
  for (const [section, types] of Object.entries(LISTS)) {
    const named = rows(section).flatMap(([cell]) => codes(cell));
    assert.deepEqual(named.sort(), [...types].sort(), section);
  }
  const [, punctuation] = rows('Pre-tokenizers').find(([cell]) => cell === '`Punctuation`')!;
  assert.deepEqual(codes(punctuation), ['behavior', ...BEHAVIORS]);
});

test('the page has the usual names of the end of text, in their order', () => {
  const section = PAGE.split(/^## /m).find((part) => part.startsWith('The end of a text\n'))!;
  const named = codes(section.slice(section.indexOf('the first of')));
  assert.deepEqual(named, EOT_NAMES);
});

test('each type has been compared with Python, and the page has the settings it was compared with', () => {
  const { words, models, decoders } = readFixture();
  const parts = (settings: readonly Parts[], name: string) => settings.map((one) => one[name]);
  const whole = [...words.map(({ settings }) => settings), ...models.map(({ tokenizer }) => tokenizer)];
  const compared: Record<Exclude<keyof typeof LISTS, 'Post-processors'>, unknown[]> = {
    Models: parts(whole, 'model'),
    Normalizers: parts(whole, 'normalizer'),
    'Pre-tokenizers': parts(whole, 'pre_tokenizer'),
    Decoders: [...decoders.map(({ decoder }) => decoder), ...parts(whole, 'decoder')],
  };
  for (const [section, settings] of Object.entries(compared)) {
    const documented = new Map(
      rows(section).flatMap(([cell, told]) => codes(cell).map((type) => [type, codes(told)])),
    );
    const seen = new Set<string>();
    const visit = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      const { type, ...fields } = value as Parts;
      seen.add(String(type));
      for (const [field, inner] of Object.entries(fields)) {
        assert.ok(documented.get(String(type))?.includes(field), `${section}: ${type} has ${field}`);
        if (['normalizers', 'pretokenizers', 'decoders'].includes(field)) (inner as unknown[]).forEach(visit);
      }
    };
    settings.forEach(visit);
    assert.deepEqual([...seen].sort(), [...documented.keys()].sort(), section);
  }
  const flags = new Set(
    whole.flatMap(({ added_tokens: list }) => (list as Parts[] | undefined)?.flatMap(Object.keys) ?? []),
  );
  assert.deepEqual(
    rows('Added tokens')
      .map(([cell]) => code(cell))
      .sort(),
    [...flags].sort(),
  );
});

test('what the page calls refused is refused, in these words', async () => {
  const ends = [{ id: 0, content: '</s>', special: true }];
  const model = { type: 'BPE', vocab: { '</s>': 0, a: 1 }, merges: [] };
  for (const [entry, error] of rows('Refused')) {
    const words = code(error).split('…');
    const pattern = words.map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('.*');
    await assert.rejects(
      tokenizerFromJSON({ added_tokens: ends, model, ...JSON.parse(`{${code(entry)}}`) }, 't.json'),
      { name: 'DataError', message: new RegExp(`^t\\.json: ${pattern}$`) },
      entry,
    );
  }
  for (const [expression, what] of rows('Expressions')) {
    assert.throws(
      () => fromOniguruma(code(expression), 'here'),
      ({ message }: Error) => message.startsWith(`here: has ${code(what)}, which is not supported, got '`),
      expression,
    );
  }
});

test('what the page says is not carried out changes no id', async () => {
  const json = {
    added_tokens: [{ id: 0, content: '</s>', special: true }],
    pre_tokenizer: { type: 'WhitespaceSplit' },
    model: { type: 'WordLevel', unk_token: '</s>', vocab: { '</s>': 0, a: 1, b: 2 } },
  };
  const settings: Parts = {
    truncation: { max_length: 2, strategy: 'LongestFirst', stride: 0, direction: 'Right' },
    padding: { strategy: { Fixed: 9 }, direction: 'Right', pad_id: 0, pad_type_id: 0, pad_token: '</s>' },
    version: '1.0',
  };
  assert.deepEqual(
    rows('What is not carried out').map(([cell]) => code(cell)),
    Object.keys(settings),
  );
  const tokenizer = await tokenizerFromJSON({ ...json, ...settings });
  assert.deepEqual([...tokenizer.encode('a b a')], [1, 2, 1]);
});

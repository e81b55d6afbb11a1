/**
 * Each setting of a tokenizer.json does what it does in Python's tokenizers: the ids, the words, the decoded texts. The
 * right values are those of test/fixtures/tokenizers/make_tokenizers.py.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { fromOniguruma } from '../../src/tokenizer/pipeline/oniguruma.js';
import { hashEverywhere, hashMembers, nameOf, type Parts, readFixture } from './huggingface-fixture.js';

const fixture = readFixture();

const hexadecimal = (byte: number) => byte.toString(16).toUpperCase().padStart(2, '0');
const special = { special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
/** One id a byte, and a byte 1 behind each word. */
const BYTES = {
  type: 'BPE',
  byte_fallback: true,
  end_of_word_suffix: '\x01',
  vocab: {
    ...Object.fromEntries(Array.from({ length: 256 }, (_, byte) => [`<0x${hexadecimal(byte)}>`, byte])),
    '</s>': 256,
  },
  merges: [],
};
const eot = { id: 256, content: '</s>', ...special };

/** The text of ids of `BYTES`, added tokens by their ids. */
function spelled(ids: Iterable<number>): string {
  const bytes = Array.from(ids, (id) => (id < 256 ? [id] : [...Buffer.from(`[${id}]`)]));
  return Buffer.from(bytes.flat()).toString();
}

test('normalizers, pre-tokenizers and added tokens make the words that they make in Python', async () => {
  for (const { settings, words, texts = fixture.texts } of fixture.words) {
    const added = [eot, ...((settings.added_tokens ?? []) as unknown[])];
    const tokenizer = await tokenizerFromJSON({ ...settings, added_tokens: added, model: BYTES });
    const own = texts.map((text) => spelled(tokenizer.encode(text)));
    assert.deepEqual(own, words, nameOf(settings));
  }
});

for (const { name, tokenizer: json, ids, decoded } of fixture.models) {
  test(`${name}: ids and texts are Python's, also without the model's type`, async () => {
    const { type, ...untyped } = json.model as Parts;
    for (const model of [json.model, untyped]) {
      const tokenizer = await tokenizerFromJSON({ ...json, model });
      assert.ok(tokenizer.name.startsWith(String(type).toLowerCase()));
      const own = fixture.tried.map((text) => Array.from(tokenizer.encode(text)));
      assert.deepEqual(own, ids);
      assert.deepEqual(
        own.map((one) => tokenizer.decode(one)),
        decoded,
      );
      // Piece by piece it is the same text.
      for (const [i, one] of own.entries()) {
        const decoder = tokenizer.decoder();
        assert.equal(one.map((id) => decoder.push(id)).join('') + decoder.end(), decoded[i]);
      }
    }
  });
}

test('decoders make the texts that they make in Python', async () => {
  for (const { decoder, tokens, texts } of fixture.decoders) {
    const all = [...new Set(['</s>', ...tokens.flat()])];
    const vocab = Object.fromEntries(all.map((token, id) => [token, id]));
    const model = { type: 'WordLevel', unk_token: '</s>', vocab };
    const tokenizer = await tokenizerFromJSON({ decoder, model });
    const own = tokens.map((list) => tokenizer.decode(list.map((token) => vocab[token])));
    assert.deepEqual(own, texts, nameOf(decoder));
  }
});

test('Whitespace cuts at every code point where it does in Python', () => {
  const [whitespace] = fixture.everywhere;
  assert.deepEqual(whitespace.settings, { pre_tokenizer: { type: 'Whitespace' } });
  assert.equal(hashEverywhere(whitespace.settings), whitespace.hash);
});

test('the sets of published expressions have the characters that they have in Oniguruma', () => {
  const published = ['Lu', 'Ll', 'M', 'P', 'S', 'Han'].map((name) => `\\p{${name}}`);
  for (const expression of published) {
    const { hash } = fixture.sets.find((set) => set.expression === expression)!;
    assert.equal(hashMembers(expression, fixture.unassigned), hash, expression);
  }
});

test('what is not supported is refused by its name when the file is read', async () => {
  const ends = { added_tokens: [{ id: 0, content: '</s>', ...special }] };
  const model: Parts = { type: 'BPE', vocab: { '</s>': 0, a: 1 }, merges: [] };
  const refused = async (parts: Parts, message: RegExp): Promise<void> => {
    await assert.rejects(tokenizerFromJSON({ ...ends, model, ...parts }, 't.json'), {
      name: 'DataError',
      message,
    });
  };
  const types = {
    normalizer: 'Magic',
    pre_tokenizer: 'Whitespaces',
    decoder: 'Magic',
    post_processor: 'X',
  };
  for (const [part, type] of Object.entries(types)) {
    const told = new RegExp(`^t\\.json: ${part}\\.type: must be one of .*, got '${type}'$`);
    await refused({ [part]: { type } }, told);
  }
  await refused({ normalizer: 3 }, /^t\.json: normalizer: must be an object, got 'number'$/);
  await refused(
    { model: { ...model, dropout: 0.1 } },
    /^t\.json: model\.dropout: must be null or 0, got 0\.1$/,
  );
  await refused(
    { normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Replace', content: '' }] } },
    /^t\.json: normalizer\.normalizers\[1\]\.pattern: must be an object, got 'null'$/,
  );
  await refused(
    { normalizer: { type: 'Precompiled', precompiled_charsmap: 'AQID' } },
    /^t\.json: normalizer\.precompiled_charsmap: must have a table of the size that it states/,
  );
  await refused(
    { pre_tokenizer: { type: 'Punctuation', behavior: 'removed' } },
    /^t\.json: pre_tokenizer\.behavior: must be one of Removed, Isolated, .*, got 'removed'$/,
  );
  await refused(
    {
      pre_tokenizer: {
        type: 'Metaspace',
        replacement: '▁',
        add_prefix_space: false,
        prepend_scheme: 'first',
      },
    },
    /^t\.json: pre_tokenizer\.prepend_scheme: must be never where add_prefix_space is false, got 'first'$/,
  );
  const single = [{ Sequence: { id: 'A' } }, { Sequence: { id: 'A' } }];
  await refused(
    { post_processor: { type: 'TemplateProcessing', single } },
    /^t\.json: post_processor\.single: must have the text once, got 2$/,
  );
  await refused(
    { added_tokens: [...ends.added_tokens, { id: 7, content: 'new', ...special }] },
    /^t\.json: added_tokens\[1\]\.id: must be 2, as Python's tokenizers numbers 'new', got 7$/,
  );
  await refused(
    { model: { type: 'Unigram', vocab: [['</s>', 0], ['a']] } },
    /^t\.json: model\.vocab: must be pairs of a token and its score, which entry 1 is not/,
  );
});

test('expressions that JavaScript cannot match alike are refused, with the place', () => {
  const refused = (pattern: string, what: string): void =>
    assert.throws(() => fromOniguruma(pattern, 'here'), {
      name: 'DataError',
      message: `here: has ${what}, which is not supported, got '${pattern}, at ${pattern.length}'`,
    });
  refused('a|(b)\\1', '\\1');
  refused('\\G', '\\G');
  refused('\\X', '\\X');
  refused('\\K', '\\K');
  refused('\\xE9'.slice(0, 2), '\\x');
  refused('\\p{InGreek}', 'the property InGreek');
  refused('\\p{Extended_Pictographic}', 'the property Extended_Pictographic');
  refused('[[:graph:]', 'the set graph');
  refused('(?x)', 'the option x');
  refused('(?:a*)*', 'a repeat of a part that can match nothing');
  refused('^*', 'a quantifier after an anchor or a look-around');
  refused('(?i)é', '(?i) over letters outside ASCII');
  refused('(?i)ss', '(?i) over letters that are one character too');
  refused('(?<=a++', 'an atomic group within a look-behind');
  refused('[a-c', 'a [ without its ]');
  refused('(a', 'a ( without its )');
  refused('*', 'a quantifier with nothing to repeat');
});

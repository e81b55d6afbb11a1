/**
 * What files beside a tokenizer.json say of it, as transformers reads them: tokens that they add, and the clean-up of
 * spaces. The right values are those of test/fixtures/huggingface/make_beside.py.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tokenizerInFile } from '../../../src/data/hub/huggingface-texts.js';
import { addedTokens } from '../../../src/tokenizer/huggingface-json.js';
import { tokenizerFromJSON } from '../../../src/tokenizer/load.js';

type Json = Record<string, unknown>;
interface Case {
  readonly name: string;
  /** That of the fixture gpt2 where it has no model. */
  readonly tokenizer: Json;
  readonly files: Readonly<Record<string, Json>>;
  readonly wrong: number | null;
  readonly added: Readonly<Record<string, { content: string; special: boolean; lstrip: boolean }>>;
  readonly ids: readonly (readonly number[])[];
  readonly decoded: readonly string[];
}

const FIXTURES = fileURLToPath(new URL('../../../../test/fixtures/huggingface/', import.meta.url));
const readJSON = (name: string) => JSON.parse(readFileSync(join(FIXTURES, name), 'utf8'));
const { texts, cases } = readJSON('beside.json') as { texts: string[]; cases: Case[] };
const folder = mkdtempSync(join(tmpdir(), 'loopnn-beside-'));
after(() => rmSync(folder, { recursive: true }));

/** Reads the tokenizer of a folder with these files. */
function read({ tokenizer, files }: Pick<Case, 'tokenizer' | 'files'>) {
  const target = mkdtempSync(join(folder, 'case-'));
  const whole =
    tokenizer.model === undefined ? { ...readJSON('gpt2/tokenizer.json'), ...tokenizer } : tokenizer;
  for (const [name, content] of Object.entries({ 'tokenizer.json': whole, ...files })) {
    writeFileSync(join(target, name), JSON.stringify(content));
  }
  return tokenizerInFile(join(target, 'tokenizer.json'));
}

for (const one of cases) {
  const { name, wrong, added, ids, decoded } = one;
  test(`${name}: ${wrong === null ? 'tokens, ids and texts are transformers’' : 'refused'}`, async () => {
    if (wrong !== null) {
      const told = new RegExp(
        `/tokenizer_config\\.json: added_tokens_decoder: must give 'NEW' the id 280, as .*, got ${wrong}$`,
      );
      await assert.rejects(read(one), { name: 'DataError', message: told });
      return;
    }
    const tokenizer = await read(one);
    const own = addedTokens(tokenizer.toJSON(), 't.json').map(({ id, content, special, lstrip }) => [
      id,
      content,
      special,
      lstrip,
    ]);
    const right = Object.entries(added).map(([id, { content, special, lstrip }]) => [
      Number(id),
      content,
      special,
      lstrip,
    ]);
    assert.deepEqual(own, right);
    // What is written into a run's folder says all.
    const again = await tokenizerFromJSON(tokenizer.toJSON(), 't.json', {
      token: tokenizer.eotToken ?? undefined,
    });
    for (const [i, text] of texts.entries()) {
      for (const reader of [tokenizer, again]) {
        assert.deepEqual(Array.from(reader.encode(text)), ids[i], text);
        assert.equal(reader.decode(ids[i]), decoded[i]);
        const decoder = reader.decoder();
        assert.equal(ids[i].map((id) => decoder.push(id)).join('') + decoder.end(), decoded[i]);
      }
    }
  });
}

test('a list of added tokens that is none is refused', async () => {
  const tokenizer = {};
  await assert.rejects(
    read({ tokenizer, files: { 'added_tokens.json': [] as unknown as Json } }),
    /added_tokens\.json: must be an object, got '\[\]'$/,
  );
  await assert.rejects(
    read({
      tokenizer,
      files: { 'tokenizer_config.json': { added_tokens_decoder: { 280: { lstrip: true } } } },
    }),
    /tokenizer_config\.json: added_tokens_decoder: must have a content for each/,
  );
});

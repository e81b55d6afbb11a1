/** Long documents in stretches: the ids are those of the whole, whatever the tokenizer. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { encodeStretch, type Stretch } from '../../src/data/encoder.js';
import { stretches } from '../../src/data/split-writers.js';
import { LoopnnError } from '../../src/errors.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { oddText } from '../tokenizer/samples.js';

const path = new URL('../../../test/fixtures/tokenizers/differential.json.br', import.meta.url);
const { texts, charsmap, files } = JSON.parse(
  brotliDecompressSync(readFileSync(fileURLToPath(path))).toString(),
) as { texts: string[]; charsmap: string; files: { name: string; file: unknown }[] };

async function cut(text: string, tokenizer: Tokenizer, units: number): Promise<Stretch[]> {
  const parts: Stretch[] = [];
  async function* pieces() {
    for (let at = 0; at < text.length; at += 701) yield text.slice(at, at + 701);
  }
  for await (const stretch of stretches(pieces(), 'a', tokenizer, units)) parts.push(stretch);
  assert.equal(parts.map((part) => part.text).join(''), text);
  return parts;
}

/** Ordinary text; ordinary text without a space; and the odd texts of the fixture with marks of all kinds. */
const LONG = {
  prose: Array.from(
    { length: 40 },
    (_, i) => `It was ${i} o'clock, and the ${texts[i % 7]} said: "No."\n`,
  ).join(''),
  unspaced: Array.from({ length: 150 }, (_, i) => '日本語の文章。abc'.slice(i % 5)).join(''),
  odd: texts.slice(0, 60).join(' ') + Array.from({ length: 8 }, (_, i) => oddText(i, 200)).join('\n'),
};

test('every file that is read gives the ids of the whole, and cuts what it can', async (t) => {
  let cuts = 0;
  const uncut: string[] = [];
  for (const { name, file } of files) {
    const json = JSON.parse(JSON.stringify(file), (_, value) => (value === 'CHARSMAP' ? charsmap : value));
    let tokenizer: Tokenizer;
    try {
      tokenizer = await tokenizerFromJSON(json, 't.json');
    } catch (error) {
      assert.ok(error instanceof LoopnnError);
      continue;
    }
    if (tokenizer.cuttable) continue;
    for (const [what, text] of Object.entries(LONG)) {
      let ids: Uint16Array;
      try {
        ids = tokenizer.encode(text);
      } catch (error) {
        assert.ok(error instanceof LoopnnError); // a character without a token
        continue;
      }
      const parts = await cut(text, tokenizer, 500);
      const found = parts.flatMap((part) => Array.from(encodeStretch(tokenizer, part)));
      assert.deepEqual(found, Array.from(ids), `${name}: ${what}`);
      cuts += parts.length - 1;
      if (what === 'prose' && parts.length === 1) uncut.push(name);
    }
  }
  t.diagnostic(`${cuts} cuts; never: ${uncut.join(', ')}`);
  assert.ok(cuts > 600);
});

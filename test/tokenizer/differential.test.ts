/**
 * Files of all kinds: each gives Python's ids for every text, or is refused when it is read; none differs. The right
 * values are those of test/fixtures/tokenizers/make_differential.py.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { DataError } from '../../src/errors.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';

interface File {
  readonly name: string;
  readonly file: unknown;
  /** Of each text; null where Python throws. The lists are null where ids are random. */
  readonly ids: readonly (readonly number[] | null)[] | null;
  /** Null where the text comes back. */
  readonly decoded: readonly (string | null)[] | null;
  /** The text of all ids in order but the end of text. */
  readonly every: string | null;
}

const path = new URL('../../../test/fixtures/tokenizers/differential.json.br', import.meta.url);
const { texts, charsmap, files } = JSON.parse(
  brotliDecompressSync(readFileSync(fileURLToPath(path))).toString(),
) as { texts: string[]; charsmap: string; files: File[] };

/** Files that are refused, with the words for it. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  dropout: /: model\.dropout: must be null or 0, got 0\.5$/,
  'an expression that is not supported': /: pre_tokenizer\.pattern\.Regex: has \\X, which is not supported/,
};

/** The file with SentencePiece's table in its place. */
function whole(file: unknown): unknown {
  return JSON.parse(JSON.stringify(file), (_, value) => (value === 'CHARSMAP' ? charsmap : value));
}

/** The text of ids that come one by one, after others. */
function streamed(tokenizer: Tokenizer, ids: readonly number[], context: readonly number[] = []): string {
  const decoder = tokenizer.decoder(context);
  return ids.map((id) => decoder.push(id)).join('') + decoder.end();
}

let equal = 0;
for (const { name, file, ids, decoded, every } of files) {
  const refusal = REFUSED[name];
  test(`${name}: ${refusal ? 'refused' : 'ids and texts are Python’s'}`, async () => {
    const read = () => tokenizerFromJSON(whole(file), 't.json');
    if (refusal) {
      await assert.rejects(read, (error: Error) => error instanceof DataError && refusal.test(error.message));
      return;
    }
    const tokenizer = await read();
    for (const [i, text] of texts.entries()) {
      const right = ids![i];
      if (right === null) {
        assert.throws(() => tokenizer.encode(text), DataError);
        continue;
      }
      assert.deepEqual(Array.from(tokenizer.encode(text)), right, JSON.stringify(text));
      const back = decoded![i] ?? text;
      assert.equal(tokenizer.decode(right), back);
      assert.equal(streamed(tokenizer, right), back, JSON.stringify(text));
      const half = right.slice(0, right.length / 2);
      const before = tokenizer.decode(half);
      // Unless the half ends inside a character.
      if (!back.startsWith(before) || before.endsWith('\ufffd')) continue;
      const behind = streamed(tokenizer, right.slice(half.length), half);
      assert.equal(before + behind, back, `behind ${JSON.stringify(before)}`);
    }
    const { eot, vocabSize } = tokenizer;
    const all = Array.from({ length: vocabSize }, (_, id) => id).filter(
      (id) => id !== eot && has(tokenizer, id),
    );
    assert.equal(tokenizer.decode(all), every);
    equal++;
  });
}

/** Whether an id has a token: some files leave gaps. */
function has(tokenizer: Tokenizer, id: number): boolean {
  try {
    tokenizer.bytesOf(id);
    return true;
  } catch {
    return false;
  }
}

test('no file differs', (t) => {
  t.diagnostic(
    `${files.length} files, ${texts.length} texts: ${equal} equal, ${Object.keys(REFUSED).length} refused`,
  );
  const refused = Object.keys(REFUSED).length;
  assert.equal(equal + refused, files.length);
  // The page says the same.
  const page = readFileSync(fileURLToPath(new URL('../../../docs/tokenizers.md', import.meta.url)), 'utf8');
  const told = `${files.length} files … ${texts.length} texts … ${equal} are equal … ${refused} are refused`;
  assert.match(page.replaceAll('\n', ' '), new RegExp(told.replaceAll('…', '.*?')));
});

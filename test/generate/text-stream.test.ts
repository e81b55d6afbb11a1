/** The text of a stream against the plain definition: the whole text so far, and where stop texts are in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/errors.js';
import { TextStream } from '../../src/generate/text-stream.js';
import { hashWords } from '../../src/random.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { ByteTokenDecoder } from '../../src/tokenizer/tokenizer.js';

/** Whether the end of a text could be the beginning of a stop text; the length of the longest such end. */
function undecided(text: string, stops: readonly string[]): number {
  for (let n = text.length; n > 0; n--) {
    const end = text.slice(text.length - n);
    if (stops.some((stop) => stop.length > n && stop.startsWith(end))) return n;
  }
  return 0;
}

test('random texts, tokens and stop texts: the pieces are the text up to the first stop text, as early as can be', () => {
  const alphabet = ['a', 'b', 'ab', 'é', '你', '😀', '😁', '\n'];
  let seed = 0;
  const random = (n: number) => hashWords(7, seed++) % n;
  const word = (length: number) => Array.from({ length }, () => alphabet[random(alphabet.length)]).join('');
  let stopped = 0;
  let within = 0;
  for (let round = 0; round < 3000; round++) {
    const text = word(1 + random(14));
    const stops = Array.from({ length: random(4) }, () => word(1 + random(3)));
    const bytes = new TextEncoder().encode(text);
    // Tokens of 1 to 5 bytes that know no characters.
    const tokens: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + random(5);
      tokens.push(bytes.subarray(at, at + length));
      at += length;
    }
    const stream = new TextStream(new ByteTokenDecoder((id) => tokens[id]), stops);
    const plain = new TextDecoder();
    let whole = '';
    let got = '';
    for (const [id, token] of tokens.entries()) {
      whole += plain.decode(token, { stream: true });
      const piece = stream.push(id);
      got += piece;
      assert.ok(!/[\uD800-\uDBFF]$|^[\uDC00-\uDFFF]/.test(piece), 'no half of a character');
      const starts = stops.map((stop) => whole.indexOf(stop)).filter((start) => start >= 0);
      assert.equal(stream.stopped, starts.length > 0);
      if (stream.stopped) {
        assert.equal(got, whole.slice(0, Math.min(...starts)));
        stopped++;
        break;
      }
      assert.equal(got, whole.slice(0, whole.length - undecided(whole, stops)));
      if (got !== whole) within++;
    }
    if (!stream.stopped) assert.equal(got + stream.end(), text);
    assert.equal(stream.end(), '', 'nothing comes twice');
  }
  assert.ok(stopped > 500 && within > 500, `${stopped} stopped, ${within} held text back`);
});

test('stop texts: across tokens, inside one, overlapping, and one that never comes', () => {
  const run = (stops: string[], ...pieces: string[]) => {
    const stream = new TextStream(new ByteTokenDecoder((id) => new TextEncoder().encode(pieces[id])), stops);
    const out: string[] = [];
    for (let id = 0; id < pieces.length && !stream.stopped; id++) out.push(stream.push(id));
    return [...out, stream.end(), stream.stopped];
  };
  assert.deepEqual(run(['END'], 'one E', 'N', 'D two'), ['one ', '', '', '', true]);
  assert.deepEqual(run(['END'], 'one E', 'N', 'd two'), ['one ', '', 'ENd two', '', false]);
  assert.deepEqual(run(['END'], 'one EN'), ['one ', 'EN', false]);
  assert.deepEqual(run(['b', 'abc'], 'xabcb'), ['x', '', true], 'the one that begins first');
  assert.deepEqual(run(['b', 'abc'], 'xa', 'b', 'c'), ['x', 'a', '', true], 'the one that is complete first');
  assert.deepEqual(run(['aab'], 'aaa', 'b!'), ['a', '', '', true]);
  assert.deepEqual(run([], 'a', 'b'), ['a', 'b', '', false]);
});

test('a character that is never finished ends as U+FFFD, which a stop text may be', () => {
  const bytes = [...new TextEncoder().encode('a你')].slice(0, 3);
  const run = (stops: string[]) => {
    const stream = new TextStream(new BytesTokenizer().decoder(), stops);
    const text = bytes.map((id) => stream.push(id)).join('');
    return [text, stream.end(), stream.stopped];
  };
  assert.deepEqual(run([]), ['a', '\ufffd', false]);
  assert.deepEqual(run(['\ufffd']), ['a', '', true]);
});

test('an empty stop text is refused', () => {
  assert.throws(
    () => new TextStream(new BytesTokenizer().decoder(), ['x', '']),
    (error: unknown) =>
      error instanceof ConfigError && error.message === 'stop: must be texts that are not empty',
  );
});

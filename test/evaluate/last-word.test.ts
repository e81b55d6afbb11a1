/** Last words: where texts are cut, and scores against a computation of each text by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEngine } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import type { RunOptions } from '../../src/evaluate/evaluation.js';
import { cutLastWord, encodeLastWord, lastWordLoss } from '../../src/evaluate/last-word.js';
import { testClock } from '../train/helpers.js';
import { lastLogits } from '../models/last-logits.js';

const TEXTS = [
  'A boat lay at the quay, and nobody knew whose it was but the old ferryman',
  'Take the lamp, she said, take the lamp',
  'Bread, cheese and a jug of water',
  'one two',
  'one ten',
  'alone',
  'der Käse war größer',
];

test('a text is cut before its last word, the space going with the word', () => {
  const cut = (text: string) => {
    const { context, target } = cutLastWord(text)!;
    return [context, target];
  };
  assert.deepEqual(cut('a b c'), ['a b', ' c']);
  assert.deepEqual(cut('a b c \n'), ['a b', ' c']);
  assert.deepEqual(cut('a b  c.'), ['a b', '  c.']);
  assert.deepEqual(cut('word'), ['', ' word']);
  assert.deepEqual(cut(' word'), ['', ' word']);
  assert.equal(cutLastWord(' \n'), null);
});

test('a context too long is cut at the left, an empty one is the end of a text', () => {
  const bytes = new BytesTokenizer();
  const encode = (text: string, blockSize: number) => encodeLastWord(cutLastWord(text)!, bytes, blockSize);
  const ids = (text: string) => [...bytes.encode(text)];
  assert.deepEqual(encode('abc defg', 20), {
    ids: bytes.encode('abc defg'),
    targetTokens: 5,
    targetBytes: 5,
  });
  assert.deepEqual([...encode('abc defg', 6).ids], ids('bc defg'));
  assert.deepEqual([...encode('abc defg', 5).ids], ids('c defg'));
  assert.deepEqual([...encode('defg', 6).ids], [256, ...ids(' defg')]);
  assert.equal(encode('ab größe', 20).targetBytes, 8);
  assert.throws(() => encode('abc defg', 4), /last word: must have 1 to 4 tokens \(blockSize\), got 5/);
});

test('accuracy, perplexity and bits per byte are those of each text by itself', async () => {
  const tokenizers = [new BytesTokenizer(), trainBpe(TEXTS, 270)];
  const systems: [Record<string, unknown>, RunOptions][] = [
    [{ depth: 'loop', nLayer: 1, nLoop: 2 }, {}],
    [{ depth: 'loop', nLayer: 1, nLoop: 2 }, { loops: 1 }],
    [
      { depth: 'adaptive', nLayer: 3, halting: 'geometric', exitHead: 'separate' },
      { exit: { threshold: 0.4 } },
    ],
    [{ depth: 'universal', nLayer: 1, nLoop: 3, halting: 'sequence' }, {}],
  ];
  for (const tokenizer of tokenizers) {
    for (const [fields, options] of systems) {
      const config = parseModelConfig(
        { vocabSize: tokenizer.vocabSize, blockSize: 24, nHead: 2, nEmbd: 8, initStd: 0.5, ...fields },
        'test',
      );
      const model = new GPT(config, new Runtime(onEngine(new ReferenceBackend('f64'))), { train: false });
      model.parameters.initialise(5);
      const texts = TEXTS.map((text) => encodeLastWord(cutLastWord(text)!, tokenizer, 24));
      // And words that this model gets right: what it says itself after a context.
      const said = Uint16Array.of(...tokenizer.encode('Take the'), 0, 0);
      for (let end = said.length - 2; end < said.length; end++) {
        const { logits } = await lastLogits(model, Int32Array.from(said.subarray(0, end)), 1, options);
        said[end] = logits.indexOf(Math.max(...logits));
      }
      if (fields.halting !== 'sequence') texts.push({ ids: said, targetTokens: 2, targetBytes: 3 });

      let [sum, right, tokens] = [0, 0, 0];
      for (const { ids, targetTokens } of texts) {
        // The sequence rule looks at the whole of what it is given, so that all must be given at once.
        const T = ids.length - 1;
        const [before, after] = [ids.subarray(0, T), ids.subarray(1)].map((part) => Int32Array.from(part));
        using output = model.score(before, after, 1, { ...options, findWrong: true });
        const losses = [...(await output.losses.read())].slice(T - targetTokens);
        const wrong = [...(await output.wrong!.read())].slice(T - targetTokens);
        let every = true;
        for (let i = 0; i < targetTokens; i++) {
          if (fields.halting !== 'sequence') {
            const before = Int32Array.from(ids.subarray(0, ids.length - targetTokens + i));
            const { logits } = await lastLogits(model, before, 1, options);
            const most = Math.max(...logits);
            const log = Math.log(logits.reduce((total, z) => total + Math.exp(z - most), 0)) + most;
            const target = ids[ids.length - targetTokens + i];
            assert.ok(Math.abs(log - logits[target] - losses[i]) < 1e-5);
            assert.equal(wrong[i], logits.indexOf(most) === target ? 0 : 1);
          }
          sum += losses[i];
          tokens++;
          every &&= wrong[i] === 0;
        }
        if (every) right++;
      }
      const bytes = texts.reduce((total, { targetBytes }) => total + targetBytes, 0);
      for (const B of [1, 3]) {
        const found = await lastWordLoss(model, texts, { B, ...options }, testClock);
        assert.equal(found.words, texts.length);
        assert.equal(found.tokens, tokens);
        assert.equal(found.accuracy, right / texts.length);
        assert.ok(Math.abs(found.loss - sum / texts.length) < 1e-9);
        assert.ok(Math.abs(found.perplexity - Math.exp(found.loss)) < 1e-9 * found.perplexity);
        assert.ok(Math.abs(found.bpb - sum / Math.LN2 / bytes) < 1e-9);
        if (fields.halting !== 'sequence') assert.ok(found.accuracy > 0);
      }
      assert.equal(model.runtime.pool.live, 0);
      model.dispose();
    }
  }
});

test('ids beyond the vocabulary are refused', async () => {
  const config = parseModelConfig({ vocabSize: 31, blockSize: 8, nHead: 1, nEmbd: 4, nLayer: 1 }, 'test');
  const model = new GPT(config, new Runtime(onEngine(new ReferenceBackend('f64'))), { train: false });
  const text = { ids: Uint16Array.of(1, 31), targetTokens: 1, targetBytes: 1 };
  await assert.rejects(
    lastWordLoss(model, [text], { B: 1 }, testClock),
    /token id: must be below the model's vocabSize = 31, got 31/,
  );
});

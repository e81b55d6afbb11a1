/** Shared by the tests of data: fixtures, and sources read out. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NodeStore } from '../../src/node/store.js';
import { noWarnings, type TextDocument, textOf, type TextSource } from '../../src/data/corpus/source.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { createRun } from '../../src/train/run.js';
import { makeTrainer, runAll, source } from '../train/helpers.js';

const FIXTURES = fileURLToPath(new URL('../../../test/data/fixtures/', import.meta.url));

/** The path of a file that `make-fixtures.py` wrote. */
export function fixture(name: string): string {
  return join(FIXTURES, name);
}

/** Ids as numpy's `tofile` writes them, by default as nanoGPT does. */
export function idBytes(ids: ArrayLike<number>, bits: 16 | 32 | 64 = 16): Buffer {
  const bytes = Buffer.alloc((ids.length * bits) / 8);
  for (let i = 0; i < ids.length; i++) bytes.writeUIntLE(ids[i], (i * bits) / 8, bits === 16 ? 2 : 4);
  return bytes;
}

/** A token file as llm.c's `write_datafile` writes it, for GPT-2 or for Llama; `header` overrides the first numbers. */
export function llmcBytes(ids: readonly number[], header: readonly number[] = []): Buffer {
  const words = new Int32Array(256);
  words.set([20240520, header[0] === 20240801 ? 7 : 1, ids.length]);
  words.set(header);
  return Buffer.concat([Buffer.from(words.buffer), idBytes(ids, words[0] === 20240801 ? 32 : 16)]);
}

/** Bytes of a block of `zstdOfOneByte`. */
export const ZSTD_BLOCK = 128 * 1024;

/** The texts of the parquet fixtures, in order. */
export function fixtureTexts(): string[] {
  return JSON.parse(readFileSync(fixture('texts.json'), 'utf8')) as string[];
}

export async function textsOf(documents: AsyncIterable<TextDocument>): Promise<string[]> {
  const texts: string[] = [];
  for await (const document of documents) texts.push(await textOf(document));
  return texts;
}

export function readSource(source: TextSource, warnings = noWarnings()): Promise<string[]> {
  return textsOf(source.documents(warnings));
}

/** Writes a run that knows bytes and was trained for a moment; `fields` override the model's. */
export async function writeRun(folder: string, fields: Record<string, unknown> = {}): Promise<void> {
  const store = new NodeStore(folder);
  const train = { maxSteps: 3, lr: 0.01 };
  const vocab = { vocabSize: 257, ...fields };
  const { trainer, model, config } = makeTrainer(store, train, vocab, undefined, source(500, 257));
  await createRun(store, { model: model.config, train: config }, new BytesTokenizer());
  await runAll(trainer);
  trainer.dispose();
  model.dispose();
}

/** A Zstandard frame of so many blocks that each repeat one byte, as RFC 8878 has them: four bytes for 128 KiB. */
export function zstdOfOneByte(byte: number, count: number): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
  const blocks = Buffer.alloc(4 * count);
  for (let i = 0; i < count; i++) {
    const last = i === count - 1 ? 1 : 0;
    blocks.writeUIntLE((ZSTD_BLOCK << 3) | (1 << 1) | last, 4 * i, 3);
    blocks[4 * i + 3] = byte;
  }
  return Buffer.concat([header, blocks]);
}

/**
 * From documents, each in its split, to two shards: makes batches of stretches of text for the encoder, and writes
 * their ids with an end of text after each document. This file must not handle sources or folders.
 */
import { DataError } from '../errors.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Encoded, Stretch } from './encoder.js';
import { characterStart } from './corpus/text.js';
import type { Split } from './holdout.js';
import type { EncodeRecord, SplitProgress } from './journal.js';
import { ShardWriter } from './shard-writer.js';
import type { SplitDocument } from './splits.js';

/** UTF-16 units that are encoded together: enough to be worth a message to another thread. */
export const BATCH_UNITS = 1 << 19;
/** Most texts that are encoded together. */
const BATCH_TEXTS = 4096;
/** `BATCH_UNITS` for slow tokenizers, so that signals do not wait long; longer documents are cut. */
export const STRETCH_UNITS = 1 << 16;
/** Most UTF-16 units of a document, or of the rest of one, that cannot be cut. */
const LONGEST_UNCUT = 1 << 28;

/** A stretch of a document that is encoded at once. */
export interface Unit extends Stretch {
  readonly split: Split;
  /** Whether the stretch is the document's last. */
  readonly last: boolean;
}

/** Documents as batches of stretches; an empty document is one stretch without text. */
export async function* batches(
  documents: AsyncIterable<SplitDocument>,
  tokenizer: Tokenizer,
  mostUnits = tokenizer.cuttable ? BATCH_UNITS : STRETCH_UNITS,
): AsyncGenerator<Unit[]> {
  let batch: Unit[] = [];
  let units = 0;
  for await (const { split, name, pieces } of documents) {
    let held: Stretch = { text: '' };
    for await (const stretch of stretches(pieces, name, tokenizer)) {
      if (held.text !== '') {
        batch.push({ ...held, split, last: false });
        units += held.text.length;
        if (units >= mostUnits) {
          yield batch;
          batch = [];
          units = 0;
        }
      }
      held = stretch;
    }
    batch.push({ ...held, split, last: true });
    units += held.text.length;
    if (units >= mostUnits || batch.length >= BATCH_TEXTS) {
      yield batch;
      batch = [];
      units = 0;
    }
  }
  if (batch.length > 0) yield batch;
}

/** The two shards being written, and the counts of their content. */
export class SplitWriters {
  betweenDocuments = true;
  readonly #documents: Record<Split, number>;
  readonly #bytes: Record<Split, number>;

  private constructor(
    private readonly writers: Record<Split, ShardWriter>,
    private readonly eot: number,
    record: EncodeRecord | null,
  ) {
    this.#documents = { train: record?.train.documents ?? 0, val: record?.val.documents ?? 0 };
    this.#bytes = { train: record?.train.bytes ?? 0, val: record?.val.bytes ?? 0 };
  }

  /** Makes both files; with a record, cuts the existing files to what the record counts. */
  static async open(
    path: (split: Split) => string,
    eot: number,
    record: EncodeRecord | null,
  ): Promise<SplitWriters> {
    const writer = (split: Split): Promise<ShardWriter> =>
      record === null ? ShardWriter.create(path(split)) : ShardWriter.resume(path(split), record[split]);
    const train = await writer('train');
    try {
      return new SplitWriters({ train, val: await writer('val') }, eot, record);
    } catch (error) {
      await train.close();
      throw error;
    }
  }

  get documents(): number {
    return this.#documents.train + this.#documents.val;
  }

  get bytes(): number {
    return this.#bytes.train + this.#bytes.val;
  }

  get tokens(): number {
    return this.writers.train.tokens + this.writers.val.tokens;
  }

  /** Writes a batch, with an end of text after each document, and calls `told` after each stretch. */
  async write(units: readonly Unit[], { ids, lengths, bytes }: Encoded, told: () => void): Promise<void> {
    let at = 0;
    for (const [i, { split, last }] of units.entries()) {
      const writer = this.writers[split];
      if (this.betweenDocuments) this.#documents[split]++;
      await writer.write(ids.subarray(at, at + lengths[i]));
      at += lengths[i];
      this.#bytes[split] += bytes[i];
      if (last) await writer.write([this.eot]);
      this.betweenDocuments = last;
      told();
    }
  }

  /** Waits until everything written is on the disk. */
  async flush(): Promise<void> {
    await this.writers.train.finish();
    await this.writers.val.finish();
  }

  progress(): Record<Split, SplitProgress> {
    const of = (split: Split): SplitProgress => ({
      documents: this.#documents[split],
      bytes: this.#bytes[split],
      tokens: this.writers[split].tokens,
      largestId: this.writers[split].largestId,
    });
    return { train: of('train'), val: of('val') };
  }

  async close(): Promise<void> {
    await this.writers.train.close();
    await this.writers.val.close();
  }
}

/** A document in stretches that encode to the document's ids, cut where the tokenizer allows it. */
export async function* stretches(
  pieces: AsyncIterable<string>,
  name: string,
  tokenizer: Tokenizer,
  mostUnits = STRETCH_UNITS,
): AsyncGenerator<Stretch> {
  const { cutter } = tokenizer;
  if (tokenizer.cuttable) {
    for await (const text of pieces) yield { text };
    return;
  }
  let text = '';
  let before: string | undefined;
  // UTF-16 units before a cut is tried; doubled whenever no place to cut is found.
  let enough = mostUnits;
  for await (const piece of pieces) {
    text += piece;
    while (cutter !== undefined && text.length > enough) {
      const end = Math.min(text.length, enough);
      const cut = cutter.cut(text.slice(0, characterStart(text, end)));
      if (cut === 0) {
        enough *= 2;
        continue;
      }
      const part = text.slice(0, cut);
      yield before === undefined ? { text: part } : { text: part, before };
      before = part.slice(characterStart(part, part.length - cutter.contextUnits));
      text = text.slice(cut);
      enough = mostUnits;
    }
    if (text.length > LONGEST_UNCUT) {
      throw new DataError(
        name,
        `must have at most ${LONGEST_UNCUT} characters in one piece for tokenizer ${tokenizer.name}`,
        undefined,
        'split the document, or choose a byte-level tokenizer',
      );
    }
  }
  if (text !== '') yield before === undefined ? { text } : { text, before };
}

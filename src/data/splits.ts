/**
 * The documents of all sources, each with the split that it belongs to. This file makes the passes over the sources,
 * the first of which may measure them; `holdout.ts` has the rule. It must not handle tokens.
 */
import { DataError } from '../errors.js';
import { defaultValFraction, Drawing, HoldOut, LEAST_TO_CUT, SizeCensus, type Split } from './holdout.js';
import {
  describeWarnings,
  noWarnings,
  type TextDocument,
  type TextSource,
  type TextWarnings,
} from './corpus/source.js';
import { piecesFrom, piecesUpTo } from './corpus/text.js';

/** Bytes of text from which sources with a census are not measured first. */
const LARGE = 2 ** 30;

/** How the documents are divided. */
export interface SplitOptions {
  /** The sources as the user named them, for messages. */
  readonly where: string;
  readonly seed: number;
  /** Share to hold out; `defaultValFraction` if undefined. */
  readonly valFraction: number | undefined;
  /** Sources to hold out whole; by default documents of the other sources are held out. */
  readonly val?: readonly TextSource[] | undefined;
  /** Default: 1 GiB. */
  readonly large?: number | undefined;
  /** Receives the progress of the first pass. */
  readonly onMeasure: (documents: number, bytes: number) => void;
}

/** A document or a part of one, and its split. */
export interface SplitDocument {
  readonly split: Split;
  readonly name: string;
  readonly pieces: AsyncIterable<string>;
}

/** What earlier, interrupted work has finished. */
export interface Passed {
  /** Documents that `documents` has yielded; a document that is cut counts twice. */
  readonly documents: number;
  /** The bytes of these documents. */
  readonly bytes: Readonly<Record<Split, number>>;
}

/** A corpus whose documents can be read any number of times, in the same order and the same splits. */
export class SplitCorpus {
  private constructor(
    private readonly sources: readonly TextSource[],
    private readonly options: SplitOptions,
    private readonly rule: HoldOut,
    /** The requested share, or the share of the sources held out whole. */
    readonly valFraction: number,
    /** The warnings of the first pass, which a later pass would repeat; null if there was no first pass. */
    readonly warnings: TextWarnings | null,
    /** Bytes by document number, for documents whose own size is missing or wrong. */
    private readonly sizes: ReadonlyMap<number, number>,
  ) {}

  /**
   * Measures the sources, unless they are large and have a census.
   *
   * @throws DataError if there is no text, or only a document too short to be cut
   */
  static async open(train: readonly TextSource[], options: SplitOptions): Promise<SplitCorpus> {
    const { seed, valFraction, val = [], large = LARGE } = options;
    const sources = [...train, ...val];
    const known = knownSize(sources);
    if (known !== undefined && known.documents > 1 && known.bytes >= large) {
      const { documents, bytes } = known;
      if (val.length > 0) {
        const held = knownSize(val)!;
        const rule = HoldOut.given(documents - held.documents, held.bytes, documents, bytes);
        return new SplitCorpus(sources, options, rule, held.bytes / bytes, null, new Map());
      }
      const share = valFraction ?? defaultValFraction(bytes);
      const rule = HoldOut.estimated(documents, bytes, seed, share);
      return new SplitCorpus(sources, options, rule, share, null, new Map());
    }
    const warnings = noWarnings();
    const census = new SizeCensus(seed);
    const sizes = new Map<number, number>();
    const measure = async (part: readonly TextSource[]): Promise<void> => {
      const before = census.bytes;
      for await (const document of allDocuments(part, warnings)) {
        const index = census.documents;
        let bytes = 0;
        for await (const piece of document.pieces()) {
          bytes += Buffer.byteLength(piece);
          options.onMeasure(index + 1, census.bytes + bytes);
        }
        census.add(bytes);
        if (bytes !== document.size) sizes.set(index, bytes);
      }
      if (census.bytes > before) return;
      const leftOut = describeWarnings(warnings).join('; ') || undefined;
      const where = part === train ? options.where : part.map(({ name }) => name).join(' ');
      throw new DataError(where, 'must hold text', 'none', leftOut);
    };
    await measure(train);
    if (val.length > 0) {
      const { documents, bytes } = census;
      await measure(val);
      const held = census.bytes - bytes;
      const rule = HoldOut.given(documents, held, census.documents, census.bytes);
      return new SplitCorpus(sources, options, rule, held / census.bytes, warnings, sizes);
    }
    if (census.documents === 1 && census.bytes < LEAST_TO_CUT) {
      const rule = `a single document must have at least ${LEAST_TO_CUT} bytes, for two splits`;
      throw new DataError(options.where, rule, census.bytes);
    }
    const share = valFraction ?? defaultValFraction(census.bytes);
    return new SplitCorpus(sources, options, HoldOut.measured(census, share), share, warnings, sizes);
  }

  /** Bytes of text; an estimate if the sources were not measured. */
  get bytes(): number {
    return this.rule.bytes;
  }

  /** What is held out: separate sources, whole documents, or the end of one document. */
  get unit(): HoldOut['unit'] {
    return this.rule.unit;
  }

  /**
   * One pass over the documents, resumed after `passed`. A document that is cut is yielded as two.
   *
   * @param warnings receive what this pass skips or corrects; by default discarded, since the first pass has reported
   * it
   * @throws DataError if there are more or fewer documents than before
   */
  async *documents(passed?: Passed, warnings = noWarnings()): AsyncGenerator<SplitDocument> {
    const { documents, cut } = this.rule;
    // Only a rule without measured sizes can be resumed from the bytes alone; others need all documents again.
    const skip = this.warnings === null ? (passed?.documents ?? 0) : 0;
    const drawing = new Drawing(this.rule, skip > 0 ? passed?.bytes : undefined);
    const done = passed?.documents ?? 0;
    let given = skip;
    let index = skip;
    for await (const document of allDocuments(this.sources, warnings, skip)) {
      const { name } = document;
      const size = this.sizes.get(index) ?? document.size ?? 0;
      const parts =
        index === cut?.index
          ? halves(document, cut.bytes, size)
          : [{ split: drawing.next(index, size), name, pieces: document.pieces() }];
      for (const part of parts) if (given++ >= done) yield part;
      index++;
    }
    if (index !== documents) {
      throw new DataError(
        this.options.where,
        `must keep their ${documents} documents while they are read`,
        index,
      );
    }
  }
}

/** The beginning of a document to train on, and the rest to hold out. */
function halves(document: TextDocument, cut: number, size: number): SplitDocument[] {
  const { name } = document;
  return [
    { split: 'train', name, pieces: piecesUpTo(document.pieces(), cut, size) },
    { split: 'val', name, pieces: piecesFrom(document.pieces(), cut, size) },
  ];
}

/** The sources' size; undefined if the text must be read to know it. */
function knownSize(sources: readonly TextSource[]): { documents: number; bytes: number } | undefined {
  let documents = 0;
  let bytes = 0;
  for (const { census } of sources) {
    if (census === undefined) return undefined;
    documents += census.documents;
    bytes += census.bytes;
  }
  return { documents, bytes };
}

/** One pass over all sources, from document `skip` on. */
async function* allDocuments(
  sources: readonly TextSource[],
  warnings: TextWarnings,
  skip = 0,
): AsyncGenerator<TextDocument> {
  let first = 0;
  for (const source of sources) {
    const count = source.census?.documents ?? Number.POSITIVE_INFINITY;
    if (first + count > skip) yield* source.documents(warnings, Math.max(0, skip - first));
    first += count;
  }
}

/**
 * Chooses what is held out for validation. The rule works on documents in their order, and reads their number and
 * bytes, not their text.
 *
 * The share is a share of bytes, which are known before anything is encoded. The target is T = share · bytes, and
 * between 0.7 T and 1.45 T are held out, for any seed and however unequal the documents. A first pass adds each
 * document to a `SizeCensus`, whose memory does not grow with their number. Then the split is the first possible one of
 * these:
 *
 * 1. Documents by chance. Document i is held out if a hash of (seed, i) falls below the share. Document by document,
 *    this chance is corrected as far as needed, and no further, so that the bytes held out end between 0.75 T and 1.3
 *    T. Documents of more than 0.75 T all stay in train, and the chance of the others is raised to compensate.
 * 2. One whole document of 0.7 T to 1.45 T, if rule 1 would have to hold out more than half of the other documents.
 * 3. The end of the largest document, T bytes.
 *
 * Why rule 1 keeps its bounds: a document that would exceed 1.45 T is not held out; a document is held out if those
 * that follow could not reach 0.7 T without it. Both cannot apply to one document: less than 0.7 T would be held out
 * before it, and no document drawn has more than 0.75 T.
 *
 * A decision needs only the bytes held out and passed so far, so that the rule streams and can be resumed. Corpora too
 * large for a first pass use rule 1 alone, with an estimate of their bytes that is corrected by the documents passed.
 * Then the bounds are not guaranteed, but chance over so many documents misses the share by little.
 *
 * For a share above 0.6 the rule works the other way round: it chooses what is trained on.
 */
import { ConfigError } from '../errors.js';
import { hashWords } from '../random.js';

export type Split = 'train' | 'val';

/** The share held out of ordinary corpora, and of a single file of tokens. */
export const USUAL_VAL_FRACTION = 0.1;
/** The share held out of corpora of OpenWebText's size, nanoGPT's. */
const LEAST_VAL_FRACTION = 0.0005;
/** The largest share held out by default, for a corpus so short that the usual share would measure nothing. */
const MOST_VAL_FRACTION = 0.25;
/** Least bytes held out by default, twice those of GPT-2's longest sequence in English: an evaluation reads one. */
const LEAST_BYTES = 8192;
/** Bytes that are always enough: the presets' evaluations read up to 819,200 tokens of about 4.5 bytes. */
const ENOUGH_BYTES = 6e6;

/** Bounds on the bytes held out, in units of T: the hard ones, and those within which chance is not corrected. */
const LEAST = 0.7;
const MOST = 1.45;
const LOW = 0.75;
const HIGH = 1.3;
/** Bytes of held-out text below which a loss says little. */
export const LEAST_HELD_OUT = LEAST * LEAST_BYTES;
/** Size of the largest document that may be drawn, in units of T. */
const DRAWN = MOST - LEAST;
/**
 * Above this share the rule chooses the training documents; up to it, 1.45 times the share leaves some of every corpus.
 */
const OTHER_WAY_ROUND = 0.6;
/** Least bytes of a document that can be cut: a character takes at most four bytes in UTF-8. */
export const LEAST_TO_CUT = 5;

/**
 * The share held out if the user gives none: a tenth, but at least 8 kB (up to a quarter of the corpus), and at most
 * 6 MB or 0.05 %, whichever is more.
 */
export function defaultValFraction(bytes: number): number {
  const least = Math.min(MOST_VAL_FRACTION, LEAST_BYTES / bytes);
  const most = Math.max(LEAST_VAL_FRACTION, ENOUGH_BYTES / bytes);
  return Math.min(Math.max(USUAL_VAL_FRACTION, least), most);
}

/** Checks a share to hold out; throws ConfigError. */
export function checkValFraction(valFraction: number): void {
  if (!(valFraction > 0 && valFraction < 1)) {
    throw new ConfigError('valFraction', 'the share held out must lie between 0 and 1', valFraction);
  }
}

/** A class of documents whose sizes differ by less than a fifteenth. */
interface SizeClass {
  bytes: number;
  /** The number of the document with the lowest hash, and that hash. */
  index: number;
  hash: number;
}

/** Number and sizes of documents, added in their order. */
export class SizeCensus {
  documents = 0;
  bytes = 0;
  /** The first of the largest documents. */
  largest = { index: 0, bytes: 0 };
  /** Indexed by `sizeClass`. */
  readonly classes: SizeClass[] = [];

  constructor(readonly seed: number) {}

  add(bytes: number): void {
    const index = this.documents++;
    this.bytes += bytes;
    if (bytes > this.largest.bytes) this.largest = { index, bytes };
    const place = sizeClass(bytes);
    while (this.classes.length <= place) this.classes.push({ bytes: 0, index: -1, hash: 2 ** 32 });
    const found = this.classes[place];
    found.bytes += bytes;
    const hash = hashWords(this.seed, index);
    if (hash < found.hash) Object.assign(found, { index, hash });
  }
}

/** The class of a size: each size below 32 has its own, and each octave above has sixteen. */
function sizeClass(bytes: number): number {
  let mantissa = bytes;
  let octave = 0;
  while (mantissa >= 32) {
    mantissa = Math.floor(mantissa / 2);
    octave++;
  }
  return 16 * octave + mantissa;
}

/** The smallest size of a class. */
function classStart(place: number): number {
  return place < 32 ? place : (16 + (place % 16)) * 2 ** (Math.floor(place / 16) - 1);
}

/** The largest size of a class. */
function classEnd(place: number): number {
  return classStart(place + 1) - 1;
}

/** The rule for one corpus. */
export class HoldOut {
  /** The document that is cut, and how many of its first bytes are in train; null if none lies in both splits. */
  readonly cut: { readonly index: number; readonly bytes: number } | null = null;
  /** The split that the rule chooses documents for, and its share. */
  readonly chosen: Split;
  readonly share: number;
  /** Whether only the number of documents is known for certain. */
  readonly estimated: boolean;
  /** The number of the one document that is chosen whole; null if documents are drawn or one is cut. */
  readonly only: number | null = null;
  /** Bytes of the documents that may be drawn, each smaller than `limit`. */
  readonly drawable: number = 0;
  readonly limit: number = 0;

  private constructor(
    valFraction: number,
    readonly seed: number,
    readonly documents: number,
    readonly bytes: number,
    sizes: SizeCensus | null,
    /** The first document of sources that are held out whole; null if the rule chooses. */
    readonly firstVal: number | null = null,
  ) {
    this.chosen = valFraction > OTHER_WAY_ROUND ? 'train' : 'val';
    this.share = this.chosen === 'val' ? valFraction : 1 - valFraction;
    const target = this.share * bytes;
    this.estimated = sizes === null;
    if (sizes === null) {
      this.drawable = bytes;
      this.limit = Number.POSITIVE_INFINITY;
      return;
    }
    const { classes, largest } = sizes;
    let next = 0;
    for (; next < classes.length && classEnd(next) <= DRAWN * target; next++) {
      this.drawable += classes[next].bytes;
    }
    this.limit = classStart(next);
    if (target <= this.drawable * Math.max(0.5, HIGH * this.share)) return;
    const fitting = classes.filter(
      ({ index }, place) =>
        index >= 0 && classStart(place) >= LEAST * target && classEnd(place) <= MOST * target,
    );
    if (fitting.length > 0) this.only = lowestHash(fitting);
    else if (largest.bytes < LEAST_TO_CUT) this.only = lowestHash(classes.filter(({ index }) => index >= 0));
    else {
      const rest = this.chosen === 'val' ? largest.bytes - target : target;
      const cut = Math.max(1, Math.min(largest.bytes - 1, Math.floor(rest)));
      this.cut = { index: largest.index, bytes: cut };
    }
  }

  /** The rule for documents that have all been counted: at least two, or one of `LEAST_TO_CUT` bytes or more. */
  static measured(sizes: SizeCensus, valFraction: number): HoldOut {
    return new HoldOut(valFraction, sizes.seed, sizes.documents, sizes.bytes, sizes);
  }

  /** The rule for at least two documents of which only the number and an estimate of their bytes are known. */
  static estimated(documents: number, bytes: number, seed: number, valFraction: number): HoldOut {
    return new HoldOut(valFraction, seed, documents, bytes, null);
  }

  /** The rule that holds out the documents from number `firstVal` on, which have `valBytes` bytes. */
  static given(firstVal: number, valBytes: number, documents: number, bytes: number): HoldOut {
    return new HoldOut(valBytes / bytes, 0, documents, bytes, null, firstVal);
  }

  /** The held-out part: separate sources, whole documents, or the end of one. */
  get unit(): 'sources' | 'documents' | 'tail' {
    if (this.firstVal !== null) return 'sources';
    return this.cut === null ? 'documents' : 'tail';
  }
}

function lowestHash(classes: readonly SizeClass[]): number {
  return classes.reduce((lowest, found) => (found.hash < lowest.hash ? found : lowest)).index;
}

/** One pass over the documents, from the first on, or resumed after `passed` bytes in each split. */
export class Drawing {
  #chosenBytes: number;
  #passed: number;

  constructor(
    private readonly rule: HoldOut,
    passed: Readonly<Record<Split, number>> = { train: 0, val: 0 },
  ) {
    this.#chosenBytes = passed[rule.chosen];
    this.#passed = passed.train + passed.val;
  }

  /** The split of the next whole document, number `index`. Must not be asked for the document that is cut. */
  next(index: number, bytes: number): Split {
    const { chosen, firstVal } = this.rule;
    if (firstVal !== null) return index < firstVal ? 'train' : 'val';
    return this.#isChosen(index, bytes) ? chosen : chosen === 'val' ? 'train' : 'val';
  }

  #isChosen(index: number, bytes: number): boolean {
    const { cut, only, limit, share, drawable, estimated, documents, seed, chosen } = this.rule;
    if (cut !== null || only !== null) return index === only;
    if (bytes >= limit) return false;
    // As more documents pass, the estimate of the bytes matters less.
    const left = estimated ? this.rule.bytes * (1 - index / documents) : drawable - this.#passed;
    const target = share * (estimated ? this.#passed + left : this.rule.bytes);
    const held = this.#chosenBytes;
    const chance = within(
      (share * this.rule.bytes) / drawable,
      (LOW * target - held) / left,
      (HIGH * target - held) / left,
    );
    const draw = hashWords(seed, index) / 2 ** 32;
    let isChosen = chosen === 'val' ? draw < chance : 1 - draw <= chance;
    if (left - bytes < LEAST * target - held) isChosen = true;
    if (held + bytes > MOST * target) isChosen = false;
    if (estimated && index === documents - 1) {
      if (held === 0) isChosen = true;
      else if (held === this.#passed) isChosen = false;
    }
    this.#passed += bytes;
    if (isChosen) this.#chosenBytes += bytes;
    return isChosen;
  }
}

function within(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}

/**
 * Reads a page of a flat column of texts value by value. It keeps only what the next value needs, and reserves no
 * memory for what a page merely claims. The encodings are those of Encodings.md in the format's specification. It reads
 * no files.
 */
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js';
import { readVarInt } from 'hyparquet/src/thrift.js';

/** Most bytes of one text; a longer value is no text of a corpus. */
export const LONGEST_TEXT = 1 << 27;
/** Most bytes that are read at once: a page's levels, its places in a dictionary, or its differences. */
const MOST_AT_ONCE = 1 << 28;
/** Most values of a page whose lengths are differences: a run of differences may take no bytes at all. */
const MOST_LENGTHS = 1 << 23;
/** Values that a bit-packed run may have beyond those of the page: writers fill their last block. */
const PADDING = 504;

/** The texts that a dictionary page holds. */
export interface Dictionary {
  readonly count: number;
  /** The text at a place from 0 to `count` − 1. */
  at(place: number): Uint8Array | Promise<Uint8Array>;
}

/** What a page's header says of its values. */
export interface ValueHeader {
  readonly values: number;
  readonly encoding: string;
  /** The bytes of the levels, if the header gives their size; undefined if the page does. */
  readonly levels: Uint8Array | undefined;
  /** Whether there may be nulls; then there is a level for each value. */
  readonly optional: boolean;
}

/** The values of a page in order, null for a null. Throws Error. */
export async function* pageValues(
  page: Feed,
  { values, encoding, levels, optional }: ValueHeader,
  dictionary: Dictionary | undefined,
): AsyncGenerator<Uint8Array | null> {
  let levelBytes = levels;
  if (optional && levelBytes === undefined) levelBytes = await page.read((await page.number()) >>> 0);
  const present = optional ? new Runs(levelBytes!, 0, 1, values) : undefined;
  const read = await reader(page, encoding, dictionary, () => {
    if (!optional) return values;
    const again = new Runs(levelBytes!, 0, 1, values);
    let count = 0;
    for (let i = 0; i < values; i++) count += again.next() === 1 ? 1 : 0;
    return count;
  });
  for (let i = 0; i < values; i++) {
    if (present !== undefined && present.next() !== 1) yield null;
    else {
      const value = read();
      yield value instanceof Promise ? await value : value;
    }
  }
  await page.end();
}

type Value = Uint8Array | Promise<Uint8Array>;

/** Returns what reads the next value of an encoding; `present` counts the values that are not null. */
async function reader(
  page: Feed,
  encoding: string,
  dictionary: Dictionary | undefined,
  present: () => number,
): Promise<() => Value> {
  if (encoding === 'PLAIN') return () => plainValue(page);
  if (encoding === 'PLAIN_DICTIONARY' || encoding === 'RLE_DICTIONARY')
    return places(page, dictionary, present);
  if (encoding === 'DELTA_LENGTH_BYTE_ARRAY' || encoding === 'DELTA_BYTE_ARRAY') {
    const count = present();
    if (count > MOST_LENGTHS)
      throw new Error(`${count} values in a page (${encoding}), above ${MOST_LENGTHS}`);
    const bytes = await page.rest();
    const at = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset: 0 };
    const prefixes = encoding === 'DELTA_BYTE_ARRAY' ? differences(at, count) : undefined;
    const lengths = differences(at, count);
    let offset = at.offset;
    let last: Uint8Array = new Uint8Array(0);
    let i = 0;
    return () => {
      const length = checkLength(lengths[i]);
      const end = offset + length;
      if (end > bytes.length)
        throw new Error(`a text of ${length} bytes where ${bytes.length - offset} are left`);
      let value = bytes.subarray(offset, end);
      if (prefixes !== undefined) {
        const same = prefixes[i];
        if (!(same >= 0 && same <= last.length)) throw new Error(`${same} bytes of a text of ${last.length}`);
        checkLength(same + length);
        if (same > 0) value = Buffer.concat([last.subarray(0, same), value]);
        last = value;
      }
      offset = end;
      i++;
      return value;
    };
  }
  throw new Error(`texts in an unknown encoding: ${encoding}`);
}

function plainValue(page: Feed): Value {
  if (page.available >= 4) {
    const length = page.takeNumber();
    if (page.available >= length) return page.take(length);
    return page.read(checkLength(length));
  }
  return page.number().then((length) => page.read(checkLength(length)));
}

async function places(
  page: Feed,
  dictionary: Dictionary | undefined,
  present: () => number,
): Promise<() => Value> {
  if (dictionary === undefined) throw new Error('places in a dictionary that is missing');
  const bytes = await page.rest();
  // A page that holds only nulls may end here.
  const count = bytes.length === 0 ? 0 : present();
  const runs = new Runs(bytes, 1, bytes[0] ?? 0, count);
  return () => {
    const place = runs.next();
    if (place >= dictionary.count)
      throw new Error(`place ${place} in a dictionary of ${dictionary.count} texts`);
    return dictionary.at(place);
  };
}

function differences(at: { view: DataView; offset: number }, count: number): Int32Array {
  const numbers = new Int32Array(count);
  if (count > 0) deltaBinaryUnpack(at, count, numbers);
  return numbers;
}

function checkLength(length: number): number {
  if (length >= 0 && length <= LONGEST_TEXT) return length;
  throw new Error(`a text of ${length >>> 0} bytes, above ${LONGEST_TEXT}`);
}

/** Reads a hybrid of run lengths and bit-packed blocks, number by number. */
export class Runs {
  readonly #at: { view: DataView; offset: number };
  /** Numbers left in the current run. */
  #run = 0;
  #packed = false;
  #same = 0;
  /** Bits of the current byte that have been read. */
  #bit = 0;

  /**
   * @param offset where the numbers begin in `bytes`
   * @param width bits of a number, 0 to 32
   * @param left how many numbers there are
   */
  constructor(
    private readonly bytes: Uint8Array,
    offset: number,
    private readonly width: number,
    private left: number,
  ) {
    if (width > 32) throw new Error(`numbers of ${width} bits`);
    this.#at = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset };
  }

  next(): number {
    if (this.width === 0) return 0;
    while (this.#run === 0) this.#begin();
    this.#run--;
    this.left--;
    return this.#packed ? this.#bits() : this.#same;
  }

  #begin(): void {
    const header = readVarInt(this.#at);
    this.#packed = (header & 1) === 1;
    const count = this.#packed ? (header >>> 1) * 8 : header >>> 1;
    if (count > this.left + (this.#packed ? PADDING : 0)) {
      throw new Error(`a run of ${count} values where ${this.left} are left`);
    }
    this.#run = count;
    if (this.#packed) return;
    this.#same = 0;
    for (let i = 0; i < (this.width + 7) >> 3; i++) {
      this.#same += this.#at.view.getUint8(this.#at.offset++) * 2 ** (8 * i);
    }
  }

  #bits(): number {
    const { bytes, width } = this;
    let { offset } = this.#at;
    let number = 0;
    let bit = this.#bit;
    for (let got = 0; got < width; ) {
      if (offset >= bytes.length) throw new Error('a run that continues beyond its page');
      const count = Math.min(8 - bit, width - got);
      number += ((bytes[offset] >> bit) & ((1 << count) - 1)) * 2 ** got;
      got += count;
      bit += count;
      if (bit === 8) {
        bit = 0;
        offset++;
      }
    }
    this.#bit = bit;
    this.#at.offset = offset;
    return number;
  }
}

/** A page's bytes, read from the front as they arrive. */
export class Feed {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Bytes that can be taken without waiting. */
  get available(): number {
    return this.#bytes.length - this.#at;
  }

  take(count: number): Uint8Array {
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  /** A signed number of four bytes, little-endian. */
  takeNumber(): number {
    this.#at += 4;
    return this.#view.getInt32(this.#at - 4, true);
  }

  async number(): Promise<number> {
    await this.#fill(4);
    return this.takeNumber();
  }

  /** The next bytes; throws Error if there are fewer. */
  async read(count: number): Promise<Uint8Array> {
    await this.#fill(count);
    return this.take(count);
  }

  /** All bytes that are left. */
  async rest(): Promise<Uint8Array> {
    const parts = [this.take(this.available)];
    let bytes = parts[0].length;
    for (let next = await this.#chunks.next(); !next.done; next = await this.#chunks.next()) {
      parts.push(next.value);
      bytes += next.value.length;
      if (bytes > MOST_AT_ONCE)
        throw new Error(`a page of ${MOST_AT_ONCE} bytes or more that has to be read at once`);
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  /** Discards what is left, and reads the source to its end, so that the source can check its own end. */
  async end(): Promise<void> {
    for (let next = await this.#chunks.next(); !next.done; ) next = await this.#chunks.next();
  }

  /** Stops the source before its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #fill(count: number): Promise<void> {
    if (this.available >= count) return;
    if (count > MOST_AT_ONCE) throw new Error(`${count} bytes at once, above ${MOST_AT_ONCE}`);
    const parts = [this.take(this.available)];
    let bytes = parts[0].length;
    while (bytes < count) {
      const next = await this.#chunks.next();
      if (next.done) throw new Error(`a page that ends ${count - bytes} bytes early`);
      parts.push(next.value);
      bytes += next.value.length;
    }
    this.#bytes = parts.length === 1 ? parts[0] : Buffer.concat(parts, bytes);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    this.#at = 0;
  }
}

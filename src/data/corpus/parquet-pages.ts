/**
 * What the pages of a parquet column claim to hold, checked before hyparquet believes it: it reserves places for as many
 * values as a page names, and writes as many as a run names. Knows no file.
 */
import { parquetHeader } from 'hyparquet/src/column.js';
import { readVarInt } from 'hyparquet/src/thrift.js';
import { compressors } from 'hyparquet-compressors';

/** Bytes that a column may have in one row group, unpacked: what is held in memory at a time. */
export const MAX_GROUP_BYTES = 1 << 28;
/** Values that a bit-packed run may have beyond the page's: writers fill their last block. */
const PADDING = 504;

/** Checks the rest of a page, once it is unpacked. */
type Check = (page: Uint8Array) => void;

/** The pages of a column in one row group. */
export class PageChecks {
  /** What is to be checked of the bytes that begin at an offset of the chunk. */
  private readonly checks = new Map<number, { readonly size: number; readonly check: Check }>();
  /** What the pages claim to take unpacked; what they repeat from a dictionary counts once. */
  readonly unpackedBytes: number;

  /**
   * Checks the headers of a chunk for a column of so many rows, which has a level for each where it is optional. Throws Error.
   */
  constructor(
    private readonly chunk: ArrayBuffer,
    rows: number,
    optional: boolean,
  ) {
    const reader = { view: new DataView(chunk), offset: 0 };
    let left = rows;
    let unpackedBytes = 0;
    while (left > 0 && reader.offset < chunk.byteLength) {
      const header = parquetHeader(reader);
      const { compressed_page_size: packed, uncompressed_page_size: unpacked } = header;
      if (!(packed >= 0 && packed <= chunk.byteLength - reader.offset)) {
        throw new Error(`a page of ${packed} bytes`);
      }
      const start = reader.offset;
      reader.offset += packed;
      unpackedBytes += unpacked;
      const dictionary = header.dictionary_page_header?.num_values ?? 0;
      // A text in a dictionary takes the four bytes of its length, and those of its own.
      if (!(dictionary >= 0 && dictionary <= unpacked / 4)) {
        throw new Error(`a dictionary of ${dictionary} texts in ${unpacked} bytes`);
      }
      const { data_page_header: first, data_page_header_v2: second } = header;
      for (const values of [first?.num_values, second?.num_values, second?.num_rows]) {
        if (values !== undefined && !(values >= 0 && values <= left)) {
          throw new Error(`a page of ${values} values where ${left} are left`);
        }
      }
      if (first) {
        const { num_values: values, encoding } = first;
        this.checks.set(start, {
          size: packed,
          check: (page) => checkPage(page, values, encoding, optional),
        });
      } else if (second) {
        const { num_values: values, encoding } = second;
        const levels = second.repetition_levels_byte_length + second.definition_levels_byte_length;
        if (!(levels >= 0 && levels <= packed))
          throw new Error(`levels of ${levels} bytes in a page of ${packed}`);
        const bytes = new Uint8Array(chunk, start, packed);
        if (optional) checkRuns(bytes, second.repetition_levels_byte_length, 1, values);
        const check: Check = (page) => checkPage(page, values, encoding, false);
        if (second.is_compressed === false) check(bytes.subarray(levels));
        else this.checks.set(start + levels, { size: packed - levels, check });
      }
      left -= first?.num_values ?? second?.num_rows ?? 0;
    }
    this.unpackedBytes = unpackedBytes;
  }

  /** hyparquet's, which check a page as soon as they have unpacked it. */
  get compressors(): typeof compressors {
    return Object.fromEntries(
      Object.entries(compressors).map(([codec, unpack]) => [
        codec,
        (input: Uint8Array, outputLength: number): Uint8Array => {
          if (!(outputLength >= 0 && outputLength <= MAX_GROUP_BYTES)) {
            throw new Error(`a page of ${outputLength} bytes, above ${MAX_GROUP_BYTES}`);
          }
          const page = unpack(input, outputLength);
          this.checks.get(input.byteOffset)?.check(page);
          return page;
        },
      ]),
    );
  }

  /** Checks the pages of a column that is not compressed. */
  checkPlain(): void {
    for (const [start, { size, check }] of this.checks) check(new Uint8Array(this.chunk, start, size));
  }
}

/** Checks the runs of a page's levels, where they lie in it, and of its places in a dictionary. */
function checkPage(page: Uint8Array, values: number, encoding: string, levels: boolean): void {
  let offset = 0;
  if (levels) {
    if (page.length < 4) throw new Error(`a page of ${page.length} bytes`);
    offset = 4 + new DataView(page.buffer, page.byteOffset).getUint32(0, true);
    checkRuns(page, 4, 1, values);
  }
  if (!encoding.endsWith('_DICTIONARY')) return;
  if (offset < page.length) checkRuns(page, offset + 1, page[offset], values);
}

/** Walks the runs of a hybrid of run lengths and bit-packed blocks, as far as the bytes go. */
function checkRuns(bytes: Uint8Array, offset: number, width: number, values: number): void {
  const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset };
  let left = values;
  while (left > 0 && reader.offset < bytes.length) {
    const header = readVarInt(reader);
    const packed = (header & 1) === 1;
    const count = packed ? (header >> 1) << 3 : header >>> 1;
    if (!(count >= 0 && count <= left + (packed ? PADDING : 0))) {
      throw new Error(`a run of ${count} values where ${left} are left`);
    }
    reader.offset += packed ? (count / 8) * width : (width + 7) >> 3;
    left -= count;
  }
}

/**
 * Recognises a file that is named as bare token ids and plainly is something else: a format with a signature, text, or
 * ids of twice or four times the width.
 *
 * A file is rejected only if no sequence of ids can look like it. Ids of real text have zeros and other control bytes
 * everywhere: every second byte of 16-bit ids below 8,192, or of a byte-level vocabulary of 256, and a tenth of ids
 * spread evenly over 65,536; text has almost none. Ids of the requested width have their zeros at odd places as often
 * as at even places.
 */

/** A file's beginning, its last byte, and blocks from all over it, each of which begins at a multiple of 16 bytes. */
export interface FileSample {
  readonly size: number;
  readonly head: Uint8Array;
  readonly last: number;
  readonly blocks: readonly Uint8Array[];
}

/** The file's actual kind, and the remedy. */
export interface Disguise {
  readonly what: string;
  /** The remedy; null for text, where it depends on the file's name. */
  readonly hint: string | null;
}

/** Least bytes for text to be recognised by its few control bytes alone, and to be recognised at all. */
const MANY_BYTES = 1024;
const LEAST_BYTES = 32;
/** Share of control bytes above which bytes are not text. */
const MOST_CONTROLS = 0.01;
/** Least groups of four integers in which a pattern of zeros is no coincidence. */
const LEAST_GROUPS = 32;
/** The largest upper half of a 32-bit id: vocabularies have up to 262,144 ids. */
const MOST_UPPER = 3;

/** Magic numbers of llm.c's files that hold no tokens. */
const LLMC: readonly (readonly [number, string])[] = [
  [20240326, 'model'],
  [20240327, 'debugging state'],
  [20240328, 'tokenizer'],
  [20240522, 'questions of an evaluation'],
  [20240527, "optimizer's state"],
  [20240803, 'Llama model'],
];

const UNPACK = 'unpack it first, or prepare it if it is text';
const MODEL = 'it holds the tensors of a model';
const SAVE = 'save the ids with numpy.save';
const PREPARE = 'make ids of its text with loopnn prepare';

/** Formats by their first bytes, as Latin-1. */
const FORMATS: readonly {
  readonly what: string;
  readonly hint: string;
  readonly mark: string;
  readonly also?: (sample: FileSample) => boolean;
}[] = [
  {
    what: 'a gzip file',
    hint: UNPACK,
    mark: '\x1f\x8b\x08',
    // Three bytes are a short signature, so the flags, the effort and the system are checked too.
    also: ({ head }) => head[3] < 0x20 && [0, 2, 4].includes(head[8]) && (head[9] < 14 || head[9] === 255),
  },
  { what: 'a zip archive, as .npz and .pt files are', hint: SAVE, mark: 'PK\x03\x04' },
  { what: 'a Zstandard file', hint: UNPACK, mark: '\x28\xb5\x2f\xfd' },
  { what: 'an xz file', hint: UNPACK, mark: '\xfd7zXZ\0' },
  { what: 'a bzip2 file', hint: UNPACK, mark: 'BZh', also: ({ head }) => begins(head.subarray(4), '1AY&SY') },
  { what: 'a parquet file', hint: PREPARE, mark: 'PAR1' },
  { what: 'an Arrow file', hint: PREPARE, mark: 'ARROW1' },
  { what: 'a PDF', hint: PREPARE, mark: '%PDF-' },
  { what: 'a PNG image', hint: PREPARE, mark: '\x89PNG\r\n\x1a\n' },
  { what: 'an HDF5 file', hint: SAVE, mark: '\x89HDF\r\n\x1a\n' },
  { what: 'an SQLite database', hint: PREPARE, mark: 'SQLite format 3\0' },
  { what: 'a pickled file', hint: SAVE, mark: '\x80', also: isPickle },
  { what: 'text in UTF-16', hint: 'convert it to UTF-8 and prepare it', mark: '\xff\xfe', also: isUtf16 },
  { what: 'a GGUF model', hint: MODEL, mark: 'GGUF' },
  { what: 'a safetensors file', hint: MODEL, mark: '', also: isSafetensors },
  ...LLMC.map(([magic, name]) => ({
    what: `llm.c's ${name}`,
    hint: 'its token files are named *_train_*.bin and *_val_*.bin',
    mark: String.fromCharCode(...[0, 8, 16, 24].map((shift) => (magic >> shift) & 0xff)),
  })),
];

/** What a file plainly is, if it cannot be bare integers of `width` bytes; null if it can. */
export function disguiseOf(sample: FileSample, width: number): Disguise | null {
  const format = FORMATS.find(({ mark, also }) => begins(sample.head, mark) && (also?.(sample) ?? true));
  if (format !== undefined) return format;
  if (isText(sample)) return { what: 'text', hint: null };
  const wider = widerBy(sample, width);
  if (wider === 1) return null;
  const bits = 8 * width * wider;
  return {
    what: `what looks like ${bits}-bit ids, most of their upper halves 0`,
    hint: `read it with --dtype ${bits === 64 ? 'int64' : `uint${bits}`}, or write it again as numpy.uint16`,
  };
}

function begins(head: Uint8Array, mark: string): boolean {
  return head.length >= mark.length && mark.split('').every((byte, i) => head[i] === byte.charCodeAt(0));
}

/** Judges by the length of a header in JSON, and by its beginning. */
function isSafetensors({ head, size }: FileSample): boolean {
  if (head.length < 10) return false;
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  return length > 1n && length <= BigInt(size - 8) && head[8] === 0x7b && [0x22, 0x7d].includes(head[9]);
}

/** From protocol 4 on, the first frame must lie within the file, and the last byte must be a full stop. */
function isPickle({ head, size, last }: FileSample): boolean {
  if (head.length < 11 || last !== 0x2e || (head[1] !== 4 && head[1] !== 5)) return false;
  return new DataView(head.buffer, head.byteOffset).getBigUint64(3, true) <= BigInt(size - 11);
}

/**
 * After the byte order mark, the characters must be valid UTF-16, and none may be a control.
 */
function isUtf16(sample: FileSample): boolean {
  const text = sample.blocks.map((block) => decode(block, 'utf-16le') ?? '\0').join('');
  return sample.size >= LEAST_BYTES && !text.split('').some((one) => isControl(one.charCodeAt(0)));
}

function isText({ blocks }: FileSample): boolean {
  let bytes = 0;
  let controls = 0;
  for (const block of blocks) {
    bytes += block.length;
    for (const byte of block) if (isControl(byte)) controls++;
  }
  if (bytes >= MANY_BYTES) return controls <= MOST_CONTROLS * bytes;
  return bytes >= LEAST_BYTES && controls === 0 && blocks.every((block) => decode(block, 'utf-8') !== null);
}

/** Whether a byte is a control byte that text does not use; bell to carriage return, and escape, are used. */
function isControl(byte: number): boolean {
  return byte < 0x20 && !(byte >= 0x07 && byte <= 0x0d) && byte !== 0x1b;
}

/** The bytes as text; null if they are not text. */
function decode(bytes: Uint8Array, encoding: string): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** How many times wider than `width` the integers of a file look: 1, 2 or 4. */
function widerBy({ blocks }: FileSample, width: number): 1 | 2 | 4 {
  if (width > 4) return 1;
  let groups = 0;
  /**
   * By place in a group of four: how many values are zero, how many need more than a byte, and the largest value.
   */
  const zero = [0, 0, 0, 0];
  const large = [0, 0, 0, 0];
  const most = [0, 0, 0, 0];
  for (const block of blocks) {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    for (let at = 0; at + 4 * width <= block.length; at += 4 * width) {
      groups++;
      for (let place = 0; place < 4; place++) {
        const value = valueAt(view, at + place * width, width);
        if (value === 0) zero[place]++;
        if (value > 0xff) large[place]++;
        if (value > most[place]) most[place] = value;
      }
    }
  }
  if (groups < LEAST_GROUPS) return 1;
  const upper = width === 2 ? MOST_UPPER : 0;
  if (width < 4 && most[2] === 0 && most[3] === 0 && most[1] <= upper && zero[0] < groups / 2) return 4;
  if (most[1] === 0 && most[3] === 0 && zero[0] + zero[2] < groups) return 2;
  const halves = most[1] <= upper && most[3] <= upper && large[0] + large[2] >= groups;
  return halves ? 2 : 1;
}

function valueAt(view: DataView, at: number, width: number): number {
  if (width === 1) return view.getUint8(at);
  return width === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
}

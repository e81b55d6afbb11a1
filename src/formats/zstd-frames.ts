/**
 * Checks the frames of Zstandard (RFC 8878) while they pass: the memory that each header requests, before a decoder
 * reserves it. This file finds frames and blocks, and unpacks nothing.
 */

/** Most bytes of a window; `zstd` itself needs a flag for a larger one. */
const MOST_WINDOW = 1 << 27;
const MAGIC = 0xfd2fb528;
/** The magic number of a skippable frame, without its last four bits. */
const SKIPPABLE_MAGIC = 0x184d2a5;

/** Whether a file that begins with this number, its lowest byte first, is Zstandard. */
export function isZstdMagic(number: number): boolean {
  return number === MAGIC || number >>> 4 === SKIPPABLE_MAGIC;
}

/** The error for a frame that is intact but cannot be read here. */
export class UnreadableFrame extends Error {
  constructor(
    message: string,
    /** The remedy. */
    readonly hint: string,
  ) {
    super(message);
  }
}

/** Checks the bytes of a file in order. */
export class ZstdFrames {
  /** The bytes of the current header so far, and how many it has. */
  #head: number[] = [];
  #size = 5;
  #within: 'frame' | 'block' | 'damaged' = 'frame';
  /** Bytes to skip, and the bytes of the checksum that ends the frame. */
  #skip = 0;
  #checksum = 0;

  /**
   * Throws UnreadableFrame for a frame with a large window or a dictionary. The decoder reports damage.
   */
  check(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length && this.#within !== 'damaged'; ) {
      if (this.#skip > 0) {
        const count = Math.min(this.#skip, bytes.length - at);
        this.#skip -= count;
        at += count;
        continue;
      }
      this.#head.push(bytes[at++]);
      if (this.#head.length < this.#size) continue;
      if (this.#within === 'frame') this.#frame();
      else this.#block();
    }
  }

  #frame(): void {
    const head = this.#head;
    const magic = number(head, 0, 4);
    if (!isZstdMagic(magic)) this.#within = 'damaged';
    else if (magic !== MAGIC) this.#frameSkipped();
    else {
      const [descriptor] = head.slice(4);
      const single = (descriptor & 0x20) !== 0;
      const dictionaryBytes = [0, 1, 2, 4][descriptor & 3];
      const contentBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6];
      const dictionaryAt = single ? 5 : 6;
      const contentAt = dictionaryAt + dictionaryBytes;
      this.#size = contentAt + contentBytes;
      if (head.length < this.#size) return;
      const dictionary = number(head, dictionaryAt, dictionaryBytes);
      const content = number(head, contentAt, contentBytes) + (contentBytes === 2 ? 256 : 0);
      const window = single ? content : windowOf(head[5]);
      if (dictionary !== 0) {
        const hint = 'unpack it first, with its dictionary: zstd -d -D DICTIONARY';
        throw new UnreadableFrame(`a Zstandard frame packed with dictionary ${dictionary}`, hint);
      }
      if (window > MOST_WINDOW) {
        const hint = 'unpack it first: zstd -d --long=31';
        throw new UnreadableFrame(`a Zstandard window of ${window} bytes, above ${MOST_WINDOW}`, hint);
      }
      this.#checksum = (descriptor & 4) !== 0 ? 4 : 0;
      this.#next('block', 3);
    }
  }

  #frameSkipped(): void {
    this.#size = 8;
    if (this.#head.length < 8) return;
    this.#skip = number(this.#head, 4, 4);
    this.#next('frame', 5);
  }

  #block(): void {
    const header = number(this.#head, 0, 3);
    const repeated = ((header >> 1) & 3) === 1;
    this.#skip = repeated ? 1 : header >> 3;
    if ((header & 1) === 0) {
      this.#next('block', 3);
      return;
    }
    this.#skip += this.#checksum;
    this.#next('frame', 5);
  }

  #next(within: 'frame' | 'block', size: number): void {
    this.#within = within;
    this.#size = size;
    this.#head = [];
  }
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** A number of `count` bytes, little-endian. */
function number(bytes: readonly number[], at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = value * 256 + bytes[at + i];
  return value;
}

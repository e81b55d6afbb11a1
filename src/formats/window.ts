/** What a decoder that repeats its own output keeps of it: the latest bytes, and those that are not given yet. */

/** Bytes that are given at a time. */
const PIECE = 1 << 20;

export class Window {
  private readonly bytes: Uint8Array<ArrayBuffer>;
  /** Up to where bytes are written, and up to where they were given. */
  private at = 0;
  private given = 0;

  /** @param history bytes that a repetition may look back */
  constructor(private readonly history: number) {
    this.bytes = new Uint8Array(history + PIECE);
  }

  /** Bytes that can be written before some are taken. */
  get room(): number {
    return this.bytes.length - this.at;
  }

  /** Bytes that a repetition can look back now. */
  get reach(): number {
    return Math.min(this.at, this.history);
  }

  /** Writes bytes for which there is room. */
  write(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  /**
   * Writes `count` bytes for which there is room again, from `offset` bytes back, which is in reach; they may overlap.
   */
  repeat(offset: number, count: number): void {
    const { bytes, at } = this;
    if (offset >= count) bytes.copyWithin(at, at - offset, at - offset + count);
    else for (let i = at; i < at + count; i++) bytes[i] = bytes[i - offset];
    this.at += count;
  }

  /** The bytes that were not given yet, a copy; makes room. */
  take(): Uint8Array<ArrayBuffer> {
    const piece = this.bytes.slice(this.given, this.at);
    if (this.at > this.history) {
      this.bytes.copyWithin(0, this.at - this.history, this.at);
      this.at = this.history;
    }
    this.given = this.at;
    return piece;
  }
}

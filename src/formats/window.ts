/** The output that a decoder which repeats its own output keeps: the latest bytes, and those not returned yet. */

/** Bytes that are returned at a time. */
const PIECE = 1 << 20;

export class Window {
  private readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where the written bytes end, and where the returned bytes end. */
  private at = 0;
  private given = 0;

  /** @param history bytes that a repetition may look back */
  constructor(private readonly history: number) {
    this.bytes = new Uint8Array(history + PIECE);
  }

  /** Bytes that can be written before the next `take`. */
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
   * Repeats `count` bytes, for which there is room, from `offset` bytes back, which is within reach; they may overlap
   * with their copy.
   */
  repeat(offset: number, count: number): void {
    const { bytes, at } = this;
    if (offset >= count) bytes.copyWithin(at, at - offset, at - offset + count);
    else for (let i = at; i < at + count; i++) bytes[i] = bytes[i - offset];
    this.at += count;
  }

  /** Returns a copy of the bytes that were not returned yet, and makes room. */
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

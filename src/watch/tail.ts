/**
 * A log that is read on as it grows, by asking for its size again and again: file systems of a network tell of no
 * change. What
 * was replaced, cut off or written anew is read from its beginning, which the bytes before the place reached tell: not
 * every
 * file system numbers its files for good.
 */
import { withFile } from './files.js';
import { RunLog } from './run-log.js';

/** Bytes before the place reached by which a file is known again. */
const KNOWN_BYTES = 512;
const PIECE = 1 << 20;

export class Tail {
  log = new RunLog();
  /** Counts the logs that there were. */
  restarts = 0;
  private offset = 0;
  private known = Buffer.alloc(0);

  constructor(private readonly path: string) {}

  /**
   * Reads what was added since, of a log of any length in pieces; whether there was anything, null if there is no
   * file.
   */
  read(signal?: AbortSignal): Promise<boolean | null> {
    return withFile(this.path, async (file, { size }) => {
      const begun = Buffer.alloc(this.known.length);
      if (begun.length > 0) await file.read(begun, 0, begun.length, this.offset - begun.length);
      const restarted = size < this.offset || !begun.equals(this.known);
      if (restarted) this.restart();
      if (size === this.offset) return restarted;
      const piece = Buffer.alloc(Math.min(PIECE, size - this.offset));
      while (this.offset < size && signal?.aborted !== true) {
        const { bytesRead } = await file.read(
          piece,
          0,
          Math.min(piece.length, size - this.offset),
          this.offset,
        );
        if (bytesRead === 0) break;
        const added = piece.subarray(0, bytesRead);
        this.log.take(added);
        this.known = Buffer.from(Buffer.concat([this.known, added]).subarray(-KNOWN_BYTES));
        this.offset += bytesRead;
      }
      return true;
    });
  }

  private restart(): void {
    this.log = new RunLog();
    this.restarts++;
    this.offset = 0;
    this.known = Buffer.alloc(0);
  }
}

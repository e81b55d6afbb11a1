/** Files of Node's file system, read in parts. */
import { constants, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';

/** Most bytes that one read asks for: a call reads at most 2 GiB. */
const READ_BYTES = 1 << 30;
/** Opening a named pipe for reading would otherwise wait for a writer. */
const READ_AT_ONCE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Closes files that the garbage collector collects: Node itself would warn of them. */
const FORGOTTEN = new FinalizationRegistry((file: FileHandle) => void file.close());

export class NodeFile implements RandomAccessFile {
  /** Not under Windows, where a folder with an open file can not be renamed. */
  readonly readNow?: (into: Uint8Array, offset: number) => void;

  private constructor(
    private readonly file: FileHandle,
    private readonly shown: string,
    readonly size: number,
  ) {
    FORGOTTEN.register(this, file, this);
    if (process.platform !== 'win32') this.readNow = this.#readNow;
  }

  /**
   * Opens a file. Throws CheckpointError for a folder or device, and the system's error if there is no file.
   *
   * @param shown the file's name in messages
   */
  static async open(path: string, shown: string): Promise<NodeFile> {
    const file = await open(path, READ_AT_ONCE);
    const status = await file.stat();
    if (status.isFile()) return new NodeFile(file, shown, status.size);
    await file.close();
    throw new CheckpointError(shown, 'must be a file', 'a folder or device');
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    for (let at = 0; at < into.length; ) {
      const wanted = Math.min(READ_BYTES, into.length - at);
      const { bytesRead } = await this.file.read(into, at, wanted, offset + at);
      at += this.#atLeastOne(bytesRead);
    }
  }

  #readNow(into: Uint8Array, offset: number): void {
    for (let at = 0; at < into.length; ) {
      const wanted = Math.min(READ_BYTES, into.length - at);
      at += this.#atLeastOne(readSync(this.file.fd, into, at, wanted, offset + at));
    }
  }

  #atLeastOne(bytes: number): number {
    if (bytes > 0) return bytes;
    throw new CheckpointError(this.shown, 'has become shorter while it was read');
  }

  [Symbol.asyncDispose](): Promise<void> {
    FORGOTTEN.unregister(this);
    return this.file.close();
  }
}

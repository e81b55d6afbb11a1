/** Files of Node's file system, read in parts. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';

/** Most bytes that one read asks for: a call reads at most 2 GiB. */
const READ_BYTES = 1 << 30;
/** Opening a named pipe for reading would otherwise wait for somebody who writes. */
const READ_AT_ONCE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

export class NodeFile implements RandomAccessFile {
  private constructor(
    private readonly file: FileHandle,
    private readonly shown: string,
    readonly size: number,
  ) {}

  /**
   * Opens a file. Throws CheckpointError for a folder or device, and what the system throws where there is none.
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
      if (bytesRead === 0) throw new CheckpointError(this.shown, 'has become shorter while it was read');
      at += bytesRead;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.file.close();
  }
}

/**
 * What an environment provides: a place for runs, files that are read in parts, and the time. Node's are in `node/`.
 */

/** Where runs are kept: files in folders, replaced whole. The host supplies it. */
export interface Store {
  /** The content of a file. Throws if there is none. */
  read(path: string): Promise<Uint8Array>;
  /** Opens a file to be read in parts. Throws if there is none. */
  open(path: string): Promise<RandomAccessFile>;
  /** Whether there is a file or folder of this name. */
  has(path: string): Promise<boolean>;
  /** Names in a folder, sorted; none where the folder does not exist. */
  list(path: string): Promise<string[]>;
  /** Adds text or bytes to the end of a file, creating it. */
  append(path: string, content: string | Uint8Array): Promise<void>;
  /** Writes a file such that a reader, or a crash at any moment, sees the former content or the new one. */
  replace(path: string, content: string | Uint8Array): Promise<void>;
  /**
   * The same for a folder with all its files, written in their order: it appears whole, and is on disk when this
   * returns.
   */
  createFolder(path: string, files: Iterable<readonly [name: string, content: FileContent]>): Promise<void>;
  /** Removes a file, or a folder with its content, if it exists. */
  remove(path: string): Promise<void>;
  /**
   * Claims the store for one writer until the claim is disposed of; a write by this one throws LockError if it is lost
   * meanwhile. Throws LockError if another has it.
   */
  lock(): Promise<AsyncDisposable>;
  /** CRC-32C of bytes, or of what has the checksum `before` followed by them: the host's own is fast. */
  crc32c(bytes: Uint8Array, before?: number): number;
}

/**
 * A file's content, in pieces so that a large one need not be in memory whole. A piece is written while the next one is
 * made, and may be overwritten by the one after that.
 */
export type FileContent = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A file that is read in parts. */
export interface RandomAccessFile extends AsyncDisposable {
  /** In bytes. */
  readonly size: number;
  /** Fills `into` with the bytes from `offset` on. Throws where the file ends before. */
  read(into: Uint8Array, offset: number): Promise<void>;
  /**
   * The same at once, of the file that was opened, whatever has its name by then: for a file that stays open as long as
   * something of it is wanted. Absent if the environment can not wait, or an open file is in others' way.
   */
  readNow?(into: Uint8Array, offset: number): void;
}

/** The time. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
  /** Lets the event loop run whatever waits. */
  yield(): Promise<void>;
}

/** The same clock for work that `signal` ends: its `yield` then throws the signal's reason. */
export function endedBy(signal: AbortSignal | undefined, clock: Clock): Clock {
  return {
    now: () => clock.now(),
    async yield() {
      await clock.yield();
      signal?.throwIfAborted();
    },
  };
}

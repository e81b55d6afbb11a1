/**
 * A folder with the checksums of its files, so that a damaged file is detected. The checksums are in `checksums.json`,
 * which is written last: size and CRC-32C (8 hexadecimal digits) of each other file. A folder without `checksums.json`,
 * from former versions, is read unchecked.
 */
import { CheckpointError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import { chunksOf } from '../formats/chunks.js';
import type { FileContent, RandomAccessFile, Store } from '../platform.js';

export const CHECKSUMS_FILE = 'checksums.json';

/** A file's size in bytes, and its checksum. */
export interface FileSum {
  readonly bytes: number;
  readonly crc32c: string;
}

/** Sums a file that is read or written piece by piece. */
export class RunningSum {
  private bytes = 0;
  private crc = 0;

  constructor(private readonly store: Store) {}

  add(piece: Uint8Array): void {
    this.crc = this.store.crc32c(piece, this.crc);
    this.bytes += piece.length;
  }

  get sum(): FileSum {
    return { bytes: this.bytes, crc32c: this.crc.toString(16).padStart(8, '0') };
  }
}

/**
 * A folder's files, followed by the file with their checksums; each must be read to its end before the next is
 * requested.
 */
export function* withChecksums(
  store: Store,
  files: Iterable<readonly [name: string, content: FileContent]>,
): Generator<[name: string, content: FileContent]> {
  const sums: [string, RunningSum][] = [];
  for (const [name, content] of files) {
    const running = new RunningSum(store);
    sums.push([name, running]);
    yield [name, summed(content, running)];
  }
  const json = { files: Object.fromEntries(sums.map(([name, { sum }]) => [name, sum])) };
  yield [CHECKSUMS_FILE, [new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`)]];
}

async function* summed(content: FileContent, running: RunningSum): AsyncGenerator<Uint8Array> {
  for await (const piece of content) {
    running.add(piece);
    yield piece;
  }
}

/** Such a folder, for reading. */
export class CheckedFolder {
  private constructor(
    private readonly store: Store,
    readonly path: string,
    /** By file; null without checksums. */
    private readonly sums: ReadonlyMap<string, FileSum> | null,
    private readonly wayOut: () => Promise<string | null>,
  ) {}

  /**
   * Opens a folder. Throws CheckpointError if its list of checksums is damaged.
   *
   * @param wayOut what the user can do if a file is damaged or missing; null for nothing
   */
  static async open(
    store: Store,
    path: string,
    wayOut: () => Promise<string | null>,
  ): Promise<CheckedFolder> {
    const unchecked = new CheckedFolder(store, path, null, wayOut);
    if (!(await store.has(`${path}/${CHECKSUMS_FILE}`))) return unchecked;
    const sums = parseSums(await unchecked.read(CHECKSUMS_FILE));
    if (sums) return new CheckedFolder(store, path, sums, wayOut);
    throw await unchecked.failure(CHECKSUMS_FILE, 'must hold the size and crc32c of each file of its folder');
  }

  /** Whether a file was written. */
  async has(name: string): Promise<boolean> {
    return this.sums ? this.sums.has(name) : this.store.has(`${this.path}/${name}`);
  }

  /** A whole file. Throws CheckpointError if it is missing or damaged. */
  async read(name: string): Promise<Uint8Array> {
    const content = await this.readable(name, this.store.read(`${this.path}/${name}`));
    const running = new RunningSum(this.store);
    running.add(content);
    await this.require(name, running);
    return content;
  }

  /** A file to be read in parts, whose sum the reader checks. Throws CheckpointError if it is missing. */
  open(name: string): Promise<RandomAccessFile> {
    return this.readable(name, this.store.open(`${this.path}/${name}`));
  }

  /** Throws CheckpointError unless the sum is that of the file as it was written. */
  async require(name: string, running: RunningSum): Promise<void> {
    if (!this.sums) return;
    const found = running.sum;
    const expected = this.sums.get(name);
    if (expected?.bytes === found.bytes && expected.crc32c === found.crc32c) return;
    if (!expected) throw await this.failure(name, `must be one of the files in ${CHECKSUMS_FILE}`);
    const show = ({ bytes, crc32c }: FileSum) => `${bytes} bytes with CRC-32C ${crc32c}`;
    throw await this.failure(name, `must hold the ${show(expected)} in ${CHECKSUMS_FILE}`, show(found));
  }

  /** Reads a file to its end, or until `signal` is aborted. Throws CheckpointError if it is missing or damaged. */
  async verify(name: string, signal?: AbortSignal): Promise<void> {
    if (!this.sums) return;
    await using file = await this.open(name);
    const running = new RunningSum(this.store);
    for await (const chunk of chunksOf(file, 0)) {
      signal?.throwIfAborted();
      running.add(chunk);
    }
    await this.require(name, running);
  }

  /** The same for all files. */
  async verifyAll(): Promise<void> {
    for (const name of this.sums?.keys() ?? []) await this.verify(name);
  }

  private async readable<Content>(name: string, content: Promise<Content>): Promise<Content> {
    try {
      return await content;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw await this.failure(name, `could not be read (${reason})`);
    }
  }

  private async failure(name: string, rule: string, got?: string): Promise<CheckpointError> {
    const wayOut = (await this.wayOut()) ?? 'there is no other checkpoint to go back to';
    return new CheckpointError(`${this.path}/${name}`, rule, got, `it is damaged: ${wayOut}`);
  }
}

/** The sums in such a file; null if it is damaged. */
export function parseSums(bytes: Uint8Array): Map<string, FileSum> | null {
  try {
    const { files } = parseJSON(new TextDecoder().decode(bytes)) as { files: Record<string, FileSum> };
    const sums = new Map(Object.entries(files));
    const whole = [...sums.values()].every(
      ({ bytes: size, crc32c }) => Number.isSafeInteger(size) && /^[0-9a-f]{8}$/.test(crc32c),
    );
    return whole ? sums : null;
  } catch {
    return null;
  }
}

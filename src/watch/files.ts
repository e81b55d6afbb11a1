/** Files of folders that others write to: read as they are, never through a link, never written. */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Links are not followed, and a pipe without a writer does not block. */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * Does `work` with an open file; null if there is none, or it is no plain file, or the system refuses it for the
 * moment.
 */
export async function withFile<Result>(
  path: string,
  work: (file: FileHandle, stat: Stats) => Promise<Result>,
): Promise<Result | null> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, FLAGS);
    const stat = await file.stat();
    return stat.isFile() ? await work(file, stat) : null;
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return null;
    throw error;
  } finally {
    await file?.close().catch(() => {});
  }
}

/** A small file that others replace now and then: it is read and parsed when its time or size has changed. */
export class SmallFile<Content> {
  private known = '';
  private content: Content | null = null;

  /** `parse` gives null for what is none; a file of more than a few MB is none. */
  constructor(
    private readonly path: string,
    private readonly parse: (text: string) => Content | null,
  ) {}

  /** What it holds; null if that is damaged, undefined if there is no file. */
  async read(): Promise<Content | null | undefined> {
    const found = await withFile(this.path, async (file, { size, mtimeMs, ino }) => {
      const known = `${size} ${mtimeMs} ${ino}`;
      if (known !== this.known) {
        this.content = size > MOST_BYTES ? null : this.parse(await file.readFile('utf8'));
        this.known = known;
      }
      return { content: this.content };
    });
    return found?.content;
  }
}

const MOST_BYTES = 4 << 20;

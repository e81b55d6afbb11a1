/** Files of folders that others write to: read as they are, never through a link, never written. */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** A link is not followed, and a pipe that nobody writes to is not waited for. */
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Does `work` with an open file; null where there is none, or it is no plain file, or the system refuses it for the moment. */
export async function withFile<Result>(
  path: string,
  work: (file: FileHandle, size: number) => Promise<Result>,
): Promise<Result | null> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, FLAGS);
    const stat = await file.stat();
    return stat.isFile() ? await work(file, stat.size) : null;
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return null;
    throw error;
  } finally {
    await file?.close().catch(() => {});
  }
}

/** The content of a small file; null where there is none, or it has more than `most` bytes. */
export function readSmall(path: string, most: number): Promise<Buffer | null> {
  return withFile(path, (file, size) => (size > most ? Promise.resolve(null) : file.readFile()));
}

/** What the file system refuses, in words: which file, what was tried, what is wrong and what to do. */
import { FileError } from '../errors.js';

/** By the system's code: what is wrong, and what helps. */
const FAULTS: Readonly<Record<string, readonly [reason: string, remedy?: string]>> = {
  ENOSPC: ['the disk is full', 'free some space and try again'],
  EDQUOT: ['the quota of the disk is used up', 'free some space and try again'],
  EFBIG: ['files may not become so large here', 'raise the limit (ulimit -f), or choose another disk'],
  EROFS: ['its file system is read-only', 'choose a folder on another'],
  EACCES: ['permission is denied', 'choose a folder that is yours, or change its owner or mode'],
  EPERM: ['permission is denied', 'choose a folder that is yours, or change its owner or mode'],
  ENOENT: ['there is no such file or folder', 'check its path'],
  ENOTDIR: ['it, or what it should lie in, is no folder', 'check its path'],
  EISDIR: ['a folder is there', 'choose another name'],
  EEXIST: ['something is there already', 'choose another name'],
  ENOTEMPTY: ['something is there already', 'choose another name'],
  EBUSY: ['it is where a disk is mounted, or in use', 'choose a folder in it'],
  ENAMETOOLONG: ['its name is too long', 'choose a shorter one'],
  ELOOP: ['its links lead round in a circle', 'check its path'],
  EMFILE: ['too many files are open', 'raise the limit (ulimit -n)'],
  ENFILE: ['too many files are open on this machine', 'try again later'],
  EIO: ['the disk reports an error', 'look at the system log'],
};

/** What was tried, by system call; all others open or ask. */
const TRIED: Readonly<Record<string, string>> = {
  read: 'read',
  write: 'written',
  fsync: 'written',
  ftruncate: 'written',
  mkdir: 'made',
  mkdtemp: 'made',
  rename: 'renamed',
  unlink: 'removed',
  rm: 'removed',
  rmdir: 'removed',
  symlink: 'linked',
  link: 'linked',
};

/** The code of a system's error, as ENOENT; '' of any other error. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export const isMissing = (error: unknown) => codeOf(error) === 'ENOENT';

/** The error to throw where `file` could not be written, `note` being the end of its hint; one that is not the system's stays. */
export function writeError(error: unknown, file: string, note?: string): unknown {
  if (!(error instanceof Error) || !/^E[A-Z0-9]+$/.test(codeOf(error))) return error;
  const [reason, remedy] = faultOf(error) ?? [error.message];
  const hint = [remedy, note].filter((part) => part !== undefined).join(': ');
  return new FileError(file, `could not be written, ${reason}`, hint || undefined, error);
}

/** Does `work`, which writes `file`. Throws FileError where the file system refuses. */
export async function writing<Result>(
  file: string,
  work: () => Promise<Result>,
  note?: string,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw writeError(error, file, note);
  }
}

/** The error for a file below `aside` as one for the same file below `folder`, where it was to come to lie; others stay. */
export function underItsName(error: unknown, aside: string, folder: string, note?: string): unknown {
  if (!(error instanceof FileError) || !error.file.startsWith(aside)) return error;
  return writeError(error.cause, folder + error.file.slice(aside.length), note);
}

/** An error of the file system that nobody has put into words, as one that names what it says itself; others stay. */
export function fileError(error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  const { syscall = '', path } = error as NodeJS.ErrnoException;
  const fault = faultOf(error);
  // Those of sockets name no file.
  if (!fault || (path === undefined && !Object.hasOwn(TRIED, syscall))) return error;
  const [reason, remedy] = fault;
  return new FileError(
    path ?? 'a file',
    `could not be ${TRIED[syscall] ?? 'opened'}, ${reason}`,
    remedy,
    error,
  );
}

function faultOf(error: Error): readonly [reason: string, remedy?: string] | undefined {
  const code = codeOf(error);
  return Object.hasOwn(FAULTS, code) ? FAULTS[code] : undefined;
}

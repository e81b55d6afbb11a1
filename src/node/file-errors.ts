/** Errors of the file system in words: the file, the attempt, the fault and the remedy. */
import { FileError } from '../errors.js';

/** By the system's code: the fault and the remedy. */
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

/** The attempt, by system call; all others open or query. */
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

/**
 * The error to throw if `file` could not be written; `note` ends its hint. Errors that are not the system's are
 * unchanged.
 */
export function writeError(error: unknown, file: string, note?: string): unknown {
  if (!(error instanceof Error) || !/^E[A-Z0-9]+$/.test(codeOf(error))) return error;
  const [reason, remedy] = faultOf(error) ?? [error.message];
  const hint = [remedy, note].filter((part) => part !== undefined).join(': ');
  return new FileError(file, `could not be written, ${reason}`, hint || undefined, error);
}

/** Runs `work`, which writes `file`. Throws FileError if the file system refuses. */
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

/**
 * Turns the error for a file below `aside` into one for the same file below its destination `folder`; others are
 * unchanged.
 */
export function underItsName(error: unknown, aside: string, folder: string, note?: string): unknown {
  if (!(error instanceof FileError) || !error.file.startsWith(aside)) return error;
  return writeError(error.cause, folder + error.file.slice(aside.length), note);
}

/** Turns a plain error of the file system into a FileError with the file and the fault; others are unchanged. */
export function fileError(error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error;
  const { syscall = '', path } = error as NodeJS.ErrnoException;
  const fault = faultOf(error);
  // Errors of sockets name no file.
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

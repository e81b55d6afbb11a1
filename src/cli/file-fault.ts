/** What the file system refused, in words: which file, what was tried, and what can be done. */

/** By the system's code: what is wrong, and what helps. */
const FAULTS: Readonly<Record<string, readonly [fault: string, hint?: string]>> = {
  ENOSPC: ['the disk is full', 'free some space and run the command again'],
  EDQUOT: ['your quota of the disk is used up', 'free some space and run the command again'],
  EFBIG: ['the file would be too large', 'raise the limit (ulimit -f), or choose another disk'],
  EROFS: ['the disk is read-only', 'choose a folder on another disk'],
  EACCES: ['permission denied', 'choose a file or folder that is yours, or change its permissions'],
  EPERM: ['permission denied', 'choose a file or folder that is yours, or change its permissions'],
  ENOENT: ['no such file or folder', 'is its path right?'],
  ENOTDIR: ['a part of its path is no folder', 'is its path right?'],
  EISDIR: ['it is a folder', 'name a file'],
  EEXIST: ['it is there already'],
  ENAMETOOLONG: ['its name is too long'],
  ELOOP: ['its links lead round in a circle'],
  EMFILE: ['too many files are open', 'raise the limit (ulimit -n)'],
  EIO: ['the disk reports an error', 'look at the system log'],
};

/** What was tried, by system call; all others read or ask. */
const TRIED: Readonly<Record<string, string>> = {
  write: 'written',
  fsync: 'written',
  ftruncate: 'written',
  mkdir: 'made',
  rename: 'renamed',
  unlink: 'removed',
  rm: 'removed',
  rmdir: 'removed',
  symlink: 'linked',
  link: 'linked',
};

/** An error of the file system as `where: could not be …; hint`; undefined for any other error. */
export function fileFault(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error)) return undefined;
  const { code = '', syscall = '', path } = error as NodeJS.ErrnoException;
  // Those of sockets name no file.
  if (!Object.hasOwn(FAULTS, code) || (path === undefined && !Object.hasOwn(TRIED, syscall)))
    return undefined;
  const [fault, hint] = FAULTS[code];
  const tried = `could not be ${TRIED[syscall] ?? 'opened'}: ${fault} (${code})`;
  return `${path ?? 'a file'}: ${tried}${hint === undefined ? '' : `; ${hint}`}`;
}

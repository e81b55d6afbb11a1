/** What the file system says by its error codes, in words that name what was being written and what to do. */
import { CheckpointError } from '../errors.js';

/** The code of a system's error, as ENOENT; '' of any other error. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export const isMissing = (error: unknown) => codeOf(error) === 'ENOENT';
/** Whether a disk or a quota had no room for what was written. */
export const isFull = (error: unknown) => ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(codeOf(error));

/** The error to throw where `target` could not be written; one that is not the file system's stays as it is. */
export function writeError(error: unknown, target: string): unknown {
  if (!(error instanceof Error) || !/^E[A-Z0-9]+$/.test(codeOf(error))) return error;
  const intact = 'what was there before is intact';
  const [reason, remedy] = isFull(error)
    ? ['the disk is full', `free some space and try again: ${intact}`]
    : codeOf(error) === 'EROFS'
      ? ['its file system is read-only', 'choose a folder on another']
      : ['EACCES', 'EPERM'].includes(codeOf(error))
        ? ['permission is denied', 'choose another folder, or change its owner or mode']
        : [error.message, intact];
  return new CheckpointError(target, `could not be written, ${reason}`, undefined, remedy);
}

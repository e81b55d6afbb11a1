/**
 * Records how far the encoding of a corpus has come, beside the shards that are being written, so that interrupted work
 * resumes from there. It handles counts, not text.
 *
 * A record is written only once the bytes that it counts are on the disk. When the work resumes, the shards are cut to
 * these bytes. So nothing is lost and nothing is written twice.
 */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writing } from '../node/file-errors.js';
import { readJSON } from '../node/json-file.js';
import { writeFlushed } from './output-folder.js';
import type { TextWarnings } from './corpus/source.js';

const JOURNAL = 'progress.json';

/** What has been written of one split. */
export interface SplitProgress {
  readonly documents: number;
  readonly bytes: number;
  readonly tokens: number;
  readonly largestId: number;
}

/** A record of the journal. */
export interface EncodeRecord {
  /** A hash of everything that the result depends on; work with another key is not resumed. */
  readonly key: string;
  readonly train: SplitProgress;
  readonly val: SplitProgress;
  readonly warnings: TextWarnings;
}

/** The last record of a folder; null if there is none with this key. */
export async function readRecord(folder: string, key: string): Promise<EncodeRecord | null> {
  const record = (await readJSON(join(folder, JOURNAL)).catch(() => undefined)) as EncodeRecord | undefined;
  return record?.key === key ? record : null;
}

export async function writeRecord(folder: string, record: EncodeRecord): Promise<void> {
  const path = join(folder, JOURNAL);
  await rm(`${path}.new`, { force: true });
  await writeFlushed(`${path}.new`, `${JSON.stringify(record)}\n`);
  await writing(path, () => rename(`${path}.new`, path));
}

export async function removeJournal(folder: string): Promise<void> {
  await rm(join(folder, JOURNAL), { force: true });
  await rm(join(folder, `${JOURNAL}.new`), { force: true });
}

/**
 * A run's files as a page reads them from a server: what `loopnn export --format browser` writes, without writing it.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../platform.js';
import { weightsStep } from '../train/checkpoint.js';
import { publishedFiles } from '../train/published.js';
import { openedWhenRead, PAGE_HEADERS, type ServedFile } from './page-files.js';
import { openRun } from './run.js';

/** Files up to this size are kept in memory. */
const KEPT_BYTES = 2 ** 20;

/** A published run; large files stay in its folder. */
export class PublishedRun {
  private constructor(
    private readonly folder: string,
    private readonly store: Store,
    readonly step: number,
    /** Each file's size, and its content if small. */
    private readonly files: ReadonlyMap<string, { readonly bytes: number; readonly kept: Uint8Array | null }>,
  ) {}

  /** Throws CheckpointError if there is no run or it is damaged, DataError if it has no tokenizer. */
  static async open(folder: string): Promise<PublishedRun> {
    const run = await openRun(folder);
    await run.tokenizer(); // pages turn texts into tokens
    const published = await publishedFiles(run.store);
    const files = new Map<string, { bytes: number; kept: Uint8Array | null }>();
    for (const [name, content] of published.files) {
      const pieces: Uint8Array[] = [];
      let bytes = 0;
      for await (const piece of content) {
        bytes += piece.length;
        if (bytes <= KEPT_BYTES) pieces.push(piece.slice());
      }
      files.set(name, { bytes, kept: bytes <= KEPT_BYTES ? Buffer.concat(pieces) : null });
    }
    return new PublishedRun(folder, run.store, published.step, files);
  }

  /** Whether its folder has new weights, for example after an evaluation of a training. */
  async isReplaced(): Promise<boolean> {
    return (await weightsStep(this.store)) !== this.step;
  }

  /** The file at a path; null if there is none. */
  file(path: string): ServedFile | null {
    const found = this.files.get(path);
    if (!found) return null;
    const { bytes, kept } = found;
    const inFolder = join(this.folder, path);
    if (!kept && !existsSync(inFolder)) return null;
    return {
      content: kept ? ReadableStream.from([kept]) : openedWhenRead(inFolder),
      headers: {
        ...PAGE_HEADERS,
        'content-type': path.endsWith('.json') ? 'application/json' : 'application/octet-stream',
        'content-length': String(bytes),
      },
    };
  }
}

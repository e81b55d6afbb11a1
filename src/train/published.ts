/**
 * A published run: the files needed to generate, without those needed to train, and `checksums.json`, the list of all
 * its files, because a reader over HTTP can not list a folder.
 */
import { chunksOf } from '../formats/chunks.js';
import type { FileContent, Store } from '../platform.js';
import { weightFiles } from './checkpoint.js';
import { withChecksums } from './checksums.js';
import { CONVENTION_FILES } from './conventions.js';
import { CONFIG_FILE, TOKENIZER_FILE } from './run.js';

/** The files of a published run, each to be read before the next is requested, and the step of its weights. */
export async function publishedFiles(
  store: Store,
  signal?: AbortSignal,
): Promise<{
  readonly files: Iterable<readonly [name: string, content: FileContent]>;
  readonly step: number;
}> {
  const { files: inFolder, folder, step } = await weightFiles(store, signal);
  const there = await store.list('.');
  const names = [TOKENIZER_FILE, ...CONVENTION_FILES, CONFIG_FILE].filter((name) => there.includes(name));
  function* all(): Generator<[string, FileContent]> {
    for (const name of names) yield [name, contentOf(store, name)];
    const checkpoint = inFolder.map((name) => [name, contentOf(store, `${folder}/${name}`)] as const);
    for (const [name, content] of withChecksums(store, checkpoint)) yield [`${folder}/${name}`, content];
  }
  return { files: withChecksums(store, all()), step };
}

async function* contentOf(store: Store, path: string): AsyncGenerator<Uint8Array> {
  await using file = await store.open(path);
  // Copied: the reader's buffers are refilled before a consumer may be done with a piece.
  for await (const chunk of chunksOf(file, 0)) yield chunk.slice();
}

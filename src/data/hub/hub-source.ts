/**
 * A dataset on the hub as a source of documents: `openwebtext`, or `hf:owner/name`, at `@revision`. It finds the files
 * of a split by their names; `hub.ts` downloads files, and `parquet.ts` reads columns.
 */
import { createHash } from 'node:crypto';
import { DataError } from '../../errors.js';
import type { Hub, HubFile, HubListing } from './hub.js';
import { announce, type DownloadOptions, downloadFiles, parseHubSpec } from './hub-download.js';
import { checkNotSaid } from '../corpus/kind.js';
import { belongsTo, meantBy, ownSplits, type SplitName, splitWords } from '../split-names.js';
import type { FieldOptions, SourceCensus, TextDocument, TextSource, TextWarnings } from '../corpus/source.js';

/** The datasets that have a short name. */
const NAMED: Readonly<Record<string, { readonly repo: string; readonly split: string }>> = {
  openwebtext: { repo: 'Skylion007/openwebtext', split: 'train' },
};
/** The branch where the hub keeps the parquet files that it makes of datasets in other formats. */
const CONVERTED = 'refs/convert/parquet';

/** The requested part of a dataset, and callbacks. */
export interface HubOptions extends DownloadOptions {
  /** Default: train, or all files if none is named after a split. */
  readonly split?: string | undefined;
  /** The folder of the files, if a dataset has several with the split. */
  readonly subset?: string | undefined;
}

export const HUB_NAMES: readonly string[] = Object.keys(NAMED);

/** Whether a source lies on the hub. */
export function isHubSpec(spec: string): boolean {
  return spec.startsWith('hf:') || Object.hasOwn(NAMED, spec);
}

/**
 * Downloads the parquet files of a split that the hub's cache lacks, and opens the split.
 *
 * @throws DataError if the dataset, the split or the column is missing, or the download fails for good
 */
export async function openHubSource(
  spec: string,
  fields: FieldOptions,
  options: HubOptions = {},
): Promise<HubTextSource> {
  checkNotSaid(fields, spec);
  const named = Object.hasOwn(NAMED, spec) ? NAMED[spec].repo : undefined;
  const { name, revision } = named === undefined ? parseHubSpec(spec) : { name: named, revision: undefined };
  const { Hub } = await import('./hub.js');
  const hub = new Hub(options);
  const { listing, files, splits } = await findFiles(hub, name, revision, options);
  await announce(hub, listing, files, options);

  const shards: Shard[] = [];
  for await (const { file, path } of downloadFiles(hub, listing, files, options)) {
    const shown = `hf:${name}/${file.path}`;
    const { openParquet } = await import('../corpus/parquet.js');
    const text = await openParquet(path, fields.column, shown);
    shards.push({ path, shown, documents: text.texts, bytes: text.bytes });
    await text.close();
  }
  return new HubSource(spec.replace(/^hf:/, ''), shards, fields.column, fingerprint(files), splits);
}

interface Shard {
  readonly path: string;
  readonly shown: string;
  /** Undefined if the file does not count its nulls. */
  readonly documents: number | undefined;
  readonly bytes: number;
}

/** A dataset's files of a split. */
export interface HubTextSource extends TextSource {
  /** How many files each split has, if every file names one split and there are files to train and to validate on. */
  readonly splits: ReadonlyMap<SplitName, number> | undefined;
}

class HubSource implements HubTextSource {
  readonly census?: SourceCensus;

  constructor(
    readonly name: string,
    private readonly shards: readonly Shard[],
    private readonly column: string,
    fingerprint: string,
    readonly splits: HubTextSource['splits'],
  ) {
    let documents = 0;
    let bytes = 0;
    for (const shard of shards) {
      if (shard.documents === undefined) return;
      documents += shard.documents;
      bytes += shard.bytes;
    }
    this.census = { documents, bytes, fingerprint };
  }

  async *documents(warnings: TextWarnings, skip = 0): AsyncGenerator<TextDocument> {
    let first = 0;
    for (const { path, shown, documents } of this.shards) {
      if (documents === undefined || first + documents > skip) {
        const { openParquet } = await import('../corpus/parquet.js');
        const text = await openParquet(path, this.column, shown);
        try {
          yield* text.documents(warnings, Math.max(0, skip - first));
        } finally {
          await text.close();
        }
      }
      first += documents ?? 0;
    }
  }
}

/** The wanted parquet files: the dataset's own, else those that the hub made of it. */
async function findFiles(
  hub: Hub,
  name: string,
  revision: string | undefined,
  options: HubOptions,
): Promise<{ listing: HubListing; files: HubFile[]; splits: HubTextSource['splits'] }> {
  const repo = { type: 'dataset', name } as const;
  let listing = await hub.list(repo, revision);
  const isParquet = ({ path }: HubFile) => path.endsWith('.parquet');
  if (revision === undefined && !listing.files.some(isParquet)) {
    listing = await hub.list(repo, CONVERTED).catch(() => listing);
  }
  const all = listing.files.filter(isParquet);
  if (all.length === 0) throw new DataError(`hf:${name}`, 'must have parquet files', 'none');
  const files = chooseFiles(`hf:${name}`, all, options);
  const made =
    listing.revision === CONVERTED
      ? `the files that the hub made of the dataset (${CONVERTED})`
      : 'the files';
  const parted = files.some(({ path }) => /(^|\/)partial-[^/]+\//.test(path));
  if (parted)
    hub.notice(`hf:${name}: ${made} hold only a part of it: the first gigabytes (${files[0].path})`);
  else if (listing.revision === CONVERTED && revision === undefined) hub.notice(`hf:${name}: uses ${made}`);
  const inSubset = all.filter(({ path }) => isInSubset(path, options.subset));
  const validation = inSubset.filter(({ path }) => belongsTo(path, 'validation'));
  const splits = folders(validation).length === 1 ? ownSplits(inSubset.map(({ path }) => path)) : undefined;
  return { listing, files, splits };
}

/** The files of a split, sorted by path. Throws DataError if there are none, or they lie in several folders. */
export function chooseFiles(
  where: string,
  all: readonly HubFile[],
  { split, subset }: Pick<HubOptions, 'split' | 'subset'>,
): HubFile[] {
  const inSubset = all.filter(({ path }) => isInSubset(path, subset));
  if (inSubset.length === 0) {
    throw new DataError(where, `must have parquet files in the folder '${subset}'`, folders(all).join(', '));
  }
  const wanted = split ?? 'train';
  const ofSplit = inSubset.filter(({ path }) => belongsTo(path, meantBy(wanted)));
  const files = ofSplit.length === 0 && split === undefined ? inSubset : ofSplit;
  if (files.length === 0) {
    const known = ['train', 'validation', 'valid', 'val', 'dev', 'test'];
    const there = known.filter((name) => inSubset.some(({ path }) => splitWords(path).includes(name)));
    throw new DataError(
      where,
      `must have the split '${wanted}'`,
      there.join(', ') || 'none',
      'choose with --split',
    );
  }
  const places = folders(files);
  if (places.length > 1) {
    throw new DataError(
      where,
      'must have the split in one folder',
      places.join(', '),
      'choose with --subset',
    );
  }
  return [...files].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

function isInSubset(path: string, subset: string | undefined): boolean {
  return subset === undefined || path.startsWith(`${subset}/`);
}

/** The folders that files lie in; a last folder that only names a split does not count. */
function folders(files: readonly HubFile[]): string[] {
  const names = files.map(({ path }) => {
    const parts = path.split('/').slice(0, -1);
    if (/^(partial-)?(train|validation|valid|val|dev|test)$/.test(parts.at(-1) ?? '')) parts.pop();
    return parts.join('/') || '.';
  });
  return [...new Set(names)].sort();
}

function fingerprint(files: readonly HubFile[]): string {
  const hash = createHash('sha256');
  for (const { path, hash: own } of files) hash.update(`${path}\0${own.hex}\n`);
  return hash.digest('hex');
}

/** `loopnn prepare`: text to token shards. */
import { type Command, Option } from 'commander';
import { CORPORA } from '../data/corpus/corpora.js';
import { LEAST_HELD_OUT } from '../data/holdout.js';
import { type PrepareProgress, type PrepareResult, prepareCorpus } from '../data/prepare.js';
import type { DownloadPlan } from '../data/hub/hub-download.js';
import { HUB_NAMES } from '../data/hub/hub-source.js';
import { FIELD_DEFAULTS, FILE_KINDS, type FileKind } from '../data/corpus/source.js';
import { ownVersion, requireAlike } from '../operations/together.js';
import type { Peers } from '../train/peers.js';
import { anyNumber, notEmpty, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { interruptible } from './interrupt.js';
import { byteSize, grouped, metric, notice, Progress, printResult, table } from './output.js';
import { together } from './together.js';

interface PrepareFlags {
  readonly out: string;
  readonly tokenizer: string;
  readonly eot?: string;
  readonly val?: string;
  readonly valSplit?: string;
  readonly valFraction?: number;
  readonly seed: number;
  readonly field: string;
  readonly column: string;
  readonly as?: FileKind;
  readonly splitOn?: string;
  readonly maxBroken: number;
  readonly followLinks?: true;
  readonly split?: string;
  readonly subset?: string;
  readonly workers?: number;
  readonly force?: true;
  readonly json?: true;
}

export function prepareCommand(program: Command): void {
  program
    .command('prepare')
    .description('turn text into token shards (train.bin, val.bin, in nanoGPT’s layout)')
    .argument(
      '<sources...>',
      `files or folders of text, JSON Lines, JSON arrays of records, CSV or parquet, also as .gz or .zst (the content shows which); or built-in corpora: ${CORPORA.map(({ name }) => name).join(', ')}; or datasets on the Hugging Face hub: ${HUB_NAMES.join(', ')}, hf:owner/name`,
    )
    .requiredOption('--out <dir>', 'folder to write')
    .option(
      '--tokenizer <name>',
      'bytes, gpt2, bpe:<vocabulary size> (trained here), or a tokenizer.json; a tokenizer_config.json beside it may name its end of text',
      'gpt2',
    )
    .option(
      '--eot <token>',
      'token of a tokenizer.json that ends each document; by default the one that the files beside it name, or a usual name',
      notEmpty,
    )
    .option(
      '--val-fraction <f>',
      'share of the text to hold out; by default a tenth, of large corpora 6 MB or 0.05 %',
      anyNumber,
    )
    .option(
      '--val <source>',
      'source to hold out whole, in place of a share: a file, folder, corpus or dataset',
    )
    .option(
      '--val-split <name>',
      'split to hold out, of a dataset on the hub or a folder whose files name their splits; by default such a folder’s validation split',
    )
    .option('--seed <n>', 'decides which documents are held out', wholeNumber(0), 2357)
    .option(
      '--field <name>',
      'field of JSON records, or column of CSV, that holds the text',
      FIELD_DEFAULTS.field,
    )
    .option('--column <name>', 'column of parquet files that holds the text', FIELD_DEFAULTS.column)
    .addOption(
      new Option(
        '--as <kind>',
        'read every file as this kind, whatever its content shows; text reads it whole, even if it looks like records',
      ).choices(FILE_KINDS),
    )
    .option(
      '--split-on <string>',
      "text that separates the documents of a text file, such as '<|endoftext|>'; by default each file is one document",
      notEmpty,
    )
    .option(
      '--max-broken <n>',
      'most broken records of JSON or CSV to skip; more are an error',
      wholeNumber(0),
      FIELD_DEFAULTS.maxBroken,
    )
    .option('--follow-links', 'read files and folders outside a source folder that its links lead to')
    .option(
      '--split <name>',
      'split to read, of a dataset on the hub or a folder whose files name their splits; by default train',
    )
    .option('--subset <folder>', 'folder of the dataset to read, where several have the split')
    .option(
      '--workers <n>',
      'encoding threads of each process; by default one a processor, at most 6',
      wholeNumber(1),
    )
    .option('--force', 'replace a folder that was prepared before')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn prepare sotu --out data/sotu --tokenizer bytes',
        'npx loopnn prepare src --out data/code --tokenizer bpe:1000',
      ),
    )
    .action((sources: string[], flags: PrepareFlags) =>
      together((peers) => interruptible((signal) => prepareText(sources, flags, peers, signal))),
    );
}

async function prepareText(
  sources: string[],
  flags: PrepareFlags,
  peers: Peers | null,
  signal: AbortSignal,
): Promise<void> {
  if (peers) {
    await requireAlike(peers, { ...ownVersion(), options: JSON.stringify({ sources, ...flags }) });
    notice(`${peers.size} processes encode`);
  }
  const {
    json,
    field,
    column,
    as,
    splitOn,
    maxBroken,
    followLinks = false,
    split,
    subset,
    ...options
  } = flags;
  const fields = { field, column, as, splitOn, maxBroken, followLinks };
  const onPlan = (plan: DownloadPlan) => notice(describePlan(plan, options.tokenizer));
  const hub = { split, subset, onPlan, onNotice: notice };
  const preparing = new Preparing();
  const { onProgress } = preparing;
  const result = await prepareCorpus({
    ...{ sources, fields, hub, ...options, signal, onProgress },
    ...(peers ? { peers } : {}),
  });
  preparing.end(result);
  printResult(json === true, { out: flags.out, ...result }, () => render(flags.out, result));
}

/** A preparation as the terminal shows it: a bar for each phase, warnings on stderr. */
export class Preparing {
  private progress = new Progress('');
  private phase = '';
  private start = 0;
  private from = 0;

  readonly onProgress = (at: PrepareProgress): void => {
    if (at.phase !== this.phase) {
      this.progress.clear();
      this.progress = new Progress(at.phase.padEnd('train tokenizer'.length));
      this.phase = at.phase;
      this.start = performance.now();
      // Work of an earlier run does not count for this run's speed.
      this.from = at.bytes;
    }
    if (!at.totalBytes) return;
    const megabytes = (at.bytes - this.from) / 1000 / Math.max(1, performance.now() - this.start);
    const details = [
      byteSize(at.bytes),
      `${megabytes.toFixed(1)} MB/s`,
      ...(at.phase === 'download' ? [] : [`${grouped(at.documents)} documents`]),
      ...(at.tokens > 0 ? [`${metric(at.tokens)} tokens`] : []),
    ];
    this.progress.update(at.bytes / at.totalBytes, details, this.from / at.totalBytes);
  };

  readonly end = ({ notices, warnings, meta }: PrepareResult): void => {
    this.progress.clear();
    for (const line of notices) notice(line);
    for (const warning of warnings) notice(`warning: ${warning}`);
    const { bytes } = meta.val;
    if (bytes >= LEAST_HELD_OUT) return;
    const more = 'hold out more by --val-fraction, or another source by --val';
    notice(`warning: only ${grouped(bytes)} bytes are held out, and a loss on them says little: ${more}`);
  };
}

/** Bytes of shards for a byte of parquet, roughly: two for each token, and compressed text is about 0.6 of its size. */
const SHARD_BYTES = { bytes: 3.3, other: 0.8 };

/** The needed disk space, as a sentence. */
function describePlan(plan: DownloadPlan, tokenizer: string): string {
  const { files, totalBytes, missingBytes, cache, freeBytes } = plan;
  const shards = totalBytes * (tokenizer === 'bytes' ? SHARD_BYTES.bytes : SHARD_BYTES.other);
  const free = freeBytes === undefined ? '' : ` (${byteSize(freeBytes)} free)`;
  return (
    `${files} parquet ${files === 1 ? 'file' : 'files'}, ${byteSize(totalBytes)}: ${byteSize(missingBytes)} to download to ` +
    `${cache}${free}; the token shards will take about ${byteSize(shards)}`
  );
}

function render(out: string, { meta }: PrepareResult): string[] {
  const all = meta.train.tokens + meta.val.tokens;
  const rows = (['train', 'val'] as const).map((split) => {
    const { documents, bytes, tokens } = meta[split];
    const share = `${((100 * tokens) / all).toPrecision(3)} %`;
    return [split, grouped(documents), grouped(bytes), grouped(tokens), share, (bytes / tokens).toFixed(3)];
  });
  const { name, vocabSize } = meta.tokenizer;
  const { unit, fraction } = meta.heldOut;
  const units = { documents: 'whole documents', tail: 'the end of one document' };
  const what =
    unit === 'sources'
      ? `held out: ${meta.heldOut.sources!.join(' ')}`
      : `held out: ${units[unit]}, ${Number((100 * fraction).toPrecision(3))} % requested`;
  return [
    ...table(['split', 'documents', 'bytes', 'tokens', 'of all', 'bytes/token'], rows),
    '',
    what,
    `tokenizer ${name} (${grouped(vocabSize)} ids), written to ${out}`,
  ];
}

/** `loopnn prepare`: text to token shards. */
import type { Command } from 'commander';
import { CORPORA } from '../data/corpora.js';
import { type PrepareProgress, type PrepareResult, prepareCorpus } from '../data/prepare.js';
import { FIELD_DEFAULTS } from '../data/source.js';
import { anyNumber, wholeNumber } from './flags.js';
import { interruptible } from './interrupt.js';
import { byteSize, grouped, notice, Progress, printResult, table } from './output.js';

interface PrepareFlags {
  readonly out: string;
  readonly tokenizer: string;
  readonly valFraction?: number;
  readonly seed: number;
  readonly field: string;
  readonly column: string;
  readonly maxBroken: number;
  readonly force?: true;
  readonly json?: true;
}

export function prepareCommand(program: Command): void {
  program
    .command('prepare')
    .description('turn text into token shards (train.bin, val.bin, in nanoGPT’s layout)')
    .argument(
      '<sources...>',
      `files or folders of text, .jsonl or .parquet, also as .gz or .zst; or built-in corpora: ${CORPORA.map(({ name }) => name).join(', ')}`,
    )
    .requiredOption('--out <dir>', 'folder to make')
    .option(
      '--tokenizer <name>',
      'bytes, gpt2, bpe:<vocabulary size> (trained here), or a tokenizer.json',
      'gpt2',
    )
    .option(
      '--val-fraction <f>',
      'share of documents to hold out; by default it goes by their number',
      anyNumber,
    )
    .option('--seed <n>', 'decides which documents are held out', wholeNumber(0), 2357)
    .option('--field <name>', 'field of JSONL lines that holds the text', FIELD_DEFAULTS.field)
    .option('--column <name>', 'column of parquet files that holds the text', FIELD_DEFAULTS.column)
    .option(
      '--max-broken <n>',
      'broken JSONL lines to leave out before it stops',
      wholeNumber(0),
      FIELD_DEFAULTS.maxBroken,
    )
    .option('--force', 'replace a folder that was prepared before')
    .option('--json', 'print one JSON document')
    .action((sources: string[], flags: PrepareFlags) =>
      interruptible(async (signal) => {
        const { json, field, column, maxBroken, ...options } = flags;
        const fields = { field, column, maxBroken };
        const result = await prepareWithProgress({ sources, fields, ...options, signal });
        printResult(json === true, { out: flags.out, ...result }, () => render(flags.out, result));
      }),
    );
}

/** Prepares a corpus with a progress bar; warnings go to stderr. */
export async function prepareWithProgress(
  options: Omit<Parameters<typeof prepareCorpus>[0], 'onProgress'>,
): Promise<PrepareResult> {
  let progress = new Progress('');
  let phase = '';
  const onProgress = (at: PrepareProgress) => {
    if (at.phase !== phase) {
      progress.clear();
      progress = new Progress(at.phase.padEnd('train tokenizer'.length));
      phase = at.phase;
    }
    const documents = `${grouped(at.documents)} documents`;
    if (at.totalBytes) progress.update(at.bytes / at.totalBytes, `${documents}  ${byteSize(at.bytes)}`);
  };
  const result = await prepareCorpus({ ...options, onProgress });
  progress.clear();
  for (const warning of result.warnings) notice(`warning: ${warning}`);
  return result;
}

function render(out: string, { meta }: PrepareResult): string {
  const rows = (['train', 'val'] as const).map((split) => {
    const { documents, bytes, tokens } = meta[split];
    return [split, grouped(documents), grouped(bytes), grouped(tokens), (bytes / tokens).toFixed(3)];
  });
  const { name, vocabSize } = meta.tokenizer;
  return [
    table(['split', 'documents', 'bytes', 'tokens', 'bytes/token'], rows),
    '',
    `tokenizer ${name} (${grouped(vocabSize)} ids), written to ${out}`,
  ].join('\n');
}

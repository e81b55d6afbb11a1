/** `loopnn import`: a model in Hugging Face's layout becomes a run, to evaluate, generate from and train on. */
import type { Command } from 'commander';
import type { DownloadPlan } from '../data/hub/hub-download.js';
import { importModel } from '../operations/import.js';
import { notEmpty } from './flags.js';
import { examples } from './help.js';
import { interruptible } from './interrupt.js';
import { byteSize, counted, grouped, notice, Progress, printResult } from './output.js';

interface ImportFlags {
  readonly out: string;
  readonly eot?: string;
  readonly followLinks?: true;
  readonly json?: true;
}

export function importCommand(program: Command): void {
  program
    .command('import')
    .description('make a run from a GPT-2 or an exported loop network in Hugging Face’s layout')
    .argument(
      '<source>',
      'folder with config.json, *.safetensors and, if any, the tokenizer’s files and chat template; or a model on the Hugging Face hub: hf:owner/name, hf:owner/name@revision, hf:gpt2',
    )
    .requiredOption('--out <run>', 'folder of the new run; loopnn train --resume trains it further')
    .option(
      '--eot <token>',
      'token that ends a text; by default the one that the model’s files name, or a usual name',
      notEmpty,
    )
    .option('--follow-links', 'read files outside the folder that its links lead to')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn import hf:gpt2 --out runs/gpt2',
        'npx loopnn generate --model runs/gpt2 --prompt "Once upon a time"',
      ),
    )
    .action((source: string, flags: ImportFlags) =>
      interruptible((signal) => runImport(source, flags, signal)),
    );
}

async function runImport(source: string, flags: ImportFlags, signal: AbortSignal): Promise<void> {
  const { json, ...options } = flags;
  const download = new Download();
  const { onPlan, onProgress } = download;
  const onDownloaded = () => download.progress.clear();
  const hooks = { onPlan, onProgress, onDownloaded, onNotice: notice };
  const imported = await importModel({ ...options, source, signal, ...hooks });
  printResult(json === true, imported, () => {
    const { depth, nLayer, nEmbd, vocabSize } = imported.model;
    const size = `${counted(nLayer, 'layer')} of ${nEmbd} channels, ${grouped(vocabSize)} tokens`;
    return [`${flags.out}: ${depth} with ${size}, ${grouped(imported.parameters)} parameters`];
  });
}

/** A download as the terminal shows it: what it takes in one line, then a bar. */
class Download {
  progress = new Progress('download');
  /** Share that was there before. */
  #from: number | undefined;

  readonly onPlan = (plan: DownloadPlan, runBytes: number): void => {
    const { files, totalBytes, missingBytes, cache, freeBytes } = plan;
    this.progress.clear();
    this.progress = new Progress('download');
    this.#from = undefined;
    const free = freeBytes === undefined ? '' : ` (${byteSize(freeBytes)} free)`;
    notice(
      `${counted(files, 'file')} of weights, ${byteSize(totalBytes)}: ${byteSize(missingBytes)} to ` +
        `download to ${cache}${free}; the run will take about ${byteSize(runBytes)}`,
    );
  };

  readonly onProgress = (bytes: number, totalBytes: number): void => {
    if (totalBytes === 0) return;
    const fraction = bytes / totalBytes;
    this.#from ??= fraction;
    this.progress.update(fraction, byteSize(bytes), this.#from);
  };
}

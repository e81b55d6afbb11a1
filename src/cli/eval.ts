/** `loopnn eval`: loss, perplexity and bits per byte of a trained model on held-out text. */
import { type Command, Option } from 'commander';
import { NodeStore, nodeClock } from '../data/node-store.js';
import { openDataset } from '../data/shard.js';
import type { TrainConfig } from '../train/config.js';
import { type Evaluation, evaluate } from '../train/evaluation.js';
import { requireSameTokenizer } from '../train/run.js';
import { wholeNumber, wholeNumbers } from './flags.js';
import { grouped, notice, Progress, printResult, table } from './output.js';
import { openModel, precisionOption } from './runtime.js';

interface EvalFlags {
  readonly model: string;
  readonly data: string;
  readonly split: 'train' | 'val';
  readonly loops?: number[];
  readonly batchSize: number;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

export function evalCommand(program: Command): void {
  program
    .command('eval')
    .description('loss, perplexity and bits per byte on every token of a split')
    .requiredOption('--model <run>', 'folder of a trained run')
    .requiredOption('--data <dir>', 'folder that loopnn prepare wrote')
    .addOption(new Option('--split <name>', 'which split to score').choices(['val', 'train']).default('val'))
    .option('--loops <n,…>', 'loop counts to run, e.g. 1,2,4; the trained count by default', wholeNumbers)
    .option('--batch-size <n>', 'sequences in a forward pass', wholeNumber(1), 8)
    .addOption(precisionOption())
    .option('--json', 'print one JSON document')
    .action(async (flags: EvalFlags) => {
      const { model, config, step } = await openModel(flags.model, flags.precision);
      const backend = model.runtime.backend.description;
      await using data = await openDataset(flags.data);
      await requireSameTokenizer(new NodeStore(flags.model), data.tokenizer, flags.model);
      const source = flags.split === 'train' ? data.train : data.val;
      const bytes = data.meta?.[flags.split].bytes ?? null;
      const trained = config.model.nLoop;
      const results: Evaluation[] = [];
      for (const loops of flags.loops ?? [trained]) {
        if (loops > trained && trained > 1) {
          notice(`loops ${loops}: beyond the ${trained} trained ones, which reuses the last gate`);
        }
        const progress = new Progress(`loops ${loops}`);
        const onProgress = (fraction: number) => progress.update(fraction, `${flags.split} split`);
        results.push(
          await evaluate(model, source, { B: flags.batchSize, loops, bytes, onProgress }, nodeClock),
        );
        progress.clear();
      }
      const document = {
        model: flags.model,
        step,
        backend,
        split: flags.split,
        trainedLoops: trained,
        results,
      };
      printResult(flags.json === true, document, () =>
        table(
          ['loops', 'tokens', 'loss (nats/token)', 'perplexity', 'bits per byte'],
          results.map((r) => [
            `${r.loops}${r.loops === trained ? ' (trained)' : ''}`,
            grouped(r.tokens),
            r.loss.toFixed(4),
            r.perplexity.toFixed(2),
            r.bpb === null ? '–' : r.bpb.toFixed(4),
          ]),
        ),
      );
    });
}

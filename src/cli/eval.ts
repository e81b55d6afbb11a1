/** `loopnn eval`: loss, perplexity and bits per byte of a trained model on held-out text. */
import { type Command, Option } from 'commander';
import { NodeStore, nodeClock } from '../data/node-store.js';
import { openDataset } from '../data/shard.js';
import type { TrainConfig } from '../train/config.js';
import { type Evaluation, evaluate } from '../train/evaluation.js';
import { requireSameTokenizer } from '../train/run.js';
import { exitCount } from '../models/config.js';
import { anyNumber, wholeNumber, wholeNumbers } from './flags.js';
import { grouped, Progress, printResult, table } from './output.js';
import { noticeLoops, openModel, precisionOption } from './runtime.js';

interface EvalFlags {
  readonly model: string;
  readonly data: string;
  readonly split: 'train' | 'val';
  readonly loops?: number[];
  readonly batchSize: number;
  readonly exitThreshold?: number;
  readonly earlyExit: boolean;
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
    .option('--loops <n,…>', 'loops, steps or layers to run, e.g. 1,2,4; all by default', wholeNumbers)
    .option('--exit-threshold <p>', 'probability at which a halting rule stops a token', anyNumber)
    .option('--no-early-exit', 'let no halting rule stop a token')
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
      const trained = exitCount(config.model);
      const { exitThreshold, earlyExit } = flags;
      const results: Evaluation[] = [];
      for (const loops of flags.loops ?? [trained]) {
        noticeLoops(config.model, loops);
        const progress = new Progress(`loops ${loops}`);
        const onProgress = (fraction: number) => progress.update(fraction, `${flags.split} split`);
        results.push(
          await evaluate(
            model,
            source,
            {
              B: flags.batchSize,
              loops,
              earlyExit,
              bytes,
              onProgress,
              ...(exitThreshold === undefined ? {} : { exitThreshold }),
            },
            nodeClock,
          ),
        );
        progress.clear();
      }
      const halts = results.some((r) => r.meanSteps !== null);
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
          [
            'loops',
            'tokens',
            'loss (nats/token)',
            'perplexity',
            'bits per byte',
            ...(halts ? ['mean steps'] : []),
          ],
          results.map((r) => [
            `${r.loops}${r.loops === trained ? ' (trained)' : ''}`,
            grouped(r.tokens),
            r.loss.toFixed(4),
            r.perplexity.toFixed(2),
            r.bpb === null ? '–' : r.bpb.toFixed(4),
            ...(halts ? [r.meanSteps?.toFixed(2) ?? '–'] : []),
          ]),
        ),
      );
    });
}

/** `loopnn generate`: continues a prompt, streaming the text as it is made. */
import type { Command } from 'commander';
import { NodeStore } from '../data/node-store.js';
import { generate, type StopReason } from '../generate/generate.js';
import { exitCount } from '../models/config.js';
import type { TrainConfig } from '../train/config.js';
import { total } from '../train/evaluation.js';
import { readRunTokenizer } from '../train/run.js';
import { anyNumber, wholeNumber } from './flags.js';
import { notice, printResult } from './output.js';
import { noticeLoops, openModel, precisionOption } from './runtime.js';

interface GenerateFlags {
  readonly model: string;
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed: number;
  readonly loops?: number;
  readonly exitThreshold?: number;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

export function generateCommand(program: Command): void {
  program
    .command('generate')
    .description('continue a prompt with a trained model')
    .requiredOption('--model <run>', 'folder of a trained run')
    .option('--prompt <text>', 'text to continue; a new document where empty', '')
    .option('--tokens <n>', 'most tokens to make', wholeNumber(1), 100)
    .option('--temperature <t>', '0 always takes the most probable token', anyNumber, 0.8)
    .option('--top-k <k>', 'sample among the k most probable tokens', wholeNumber(1))
    .option('--top-p <p>', 'sample among the most probable tokens that together reach p', anyNumber)
    .option(
      '--seed <n>',
      'the same seed gives the same text on the same precision and instruction set',
      wholeNumber(0),
      1337,
    )
    .option('--loops <n>', 'loops, steps or layers for each token; all by default', wholeNumber(1))
    .option('--exit-threshold <p>', 'probability at which a halting rule stops a token', anyNumber)
    .addOption(precisionOption())
    .option('--json', 'print one JSON document at the end')
    .action(async (flags: GenerateFlags) => {
      const { model: folder, json, prompt, precision, topK = null, topP = null, ...rest } = flags;
      const { loops } = flags;
      const tokenizer = await readRunTokenizer(new NodeStore(folder), folder);
      const { model, config } = await openModel(folder, precision);
      noticeLoops(config.model, loops);
      const options = { ...rest, topK, topP };
      const stream = generate(model, tokenizer, prompt, options);
      const ids: number[] = [];
      const steps: number[] = [];
      let text = '';
      let next = await stream.next();
      if (!json) process.stdout.write(prompt);
      for (; !next.done; next = await stream.next()) {
        if (next.value.id !== null) ids.push(next.value.id);
        if (next.value.steps !== null) steps.push(next.value.steps);
        text += next.value.text;
        if (!json) process.stdout.write(next.value.text);
      }
      const stopped: StopReason = next.value;
      const halted = steps.length > 0 ? { steps, meanSteps: total(steps) / steps.length } : {};
      printResult(json === true, { prompt, text, ids, ...halted, stopped }, () => '');
      if (halted.meanSteps !== undefined) {
        notice(
          `${halted.meanSteps.toFixed(2)} steps a token, of at most ${loops ?? exitCount(config.model)}`,
        );
      }
      if (stopped !== 'tokens') notice(`stopped: ${explain(stopped, config.model.blockSize)}`);
    });
}

function explain(reason: StopReason, blockSize: number): string {
  if (reason === 'block size') return `the sequence has filled the block size of ${blockSize} tokens`;
  return reason;
}

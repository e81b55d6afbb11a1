/** `loopnn generate`: continues a prompt, streaming the text as it is generated. */
import type { Command } from 'commander';
import type { StopReason } from '../generate/request.js';
import { type GenerateOptions, Model } from '../generate/model.js';
import { exitCount } from '../models/config.js';
import { total } from '../evaluate/evaluation.js';
import { anyNumber, several, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { notice, printResult } from './output.js';
import {
  addOpenFlags,
  exitCriterionOption,
  type ExitFlags,
  exitOptions,
  exitThresholdOption,
  noticeLoops,
  type OpenFlags,
  openModel,
} from './runtime.js';
import { openRun } from '../node/run.js';
import { nodeClock } from '../node/store.js';

interface GenerateFlags
  extends OpenFlags,
    ExitFlags,
    Omit<GenerateOptions, 'maxTokens' | 'topLogprobs' | 'logitBias' | 'draft' | 'exit' | 'signal'> {
  readonly model: string;
  readonly prompt: string;
  readonly tokens: number;
  readonly draftLoops?: number;
  readonly draftTokens?: number;
  readonly json?: true;
}

const DRAFT_TOKENS = 4;

export function generateCommand(program: Command): void {
  const command = program
    .command('generate')
    .description('continue a prompt with a trained model')
    .requiredOption('--model <run>', 'folder of a trained run')
    .option('--prompt <text>', 'text to continue; a new document where empty', '')
    .option('--tokens <n>', 'most tokens to generate', wholeNumber(1), 100)
    .option('--stop <text>', 'stop before this text; may be repeated', several)
    .option(
      '--temperature <t>',
      'temperature of sampling; 0 always picks the most probable token',
      anyNumber,
      0.8,
    )
    .option('--top-k <k>', 'sample among the k most probable tokens; 0 or −1 for all', wholeNumber(-1))
    .option('--top-p <p>', 'sample among the most probable tokens that together reach p', anyNumber)
    .option('--min-p <p>', 'sample among tokens at least p times as probable as the most probable', anyNumber)
    .option(
      '--repetition-penalty <x>',
      'divide by x the scores of tokens that the prompt or the text has',
      anyNumber,
    )
    .option(
      '--frequency-penalty <x>',
      'subtract x from a token’s score for each time that it was generated',
      anyNumber,
    )
    .option('--presence-penalty <x>', 'subtract x from the scores of tokens that were generated', anyNumber)
    .option(
      '--seed <n>',
      'the same seed gives the same text with the same precision and instruction set',
      wholeNumber(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
      1337,
    )
    .option('--loops <n>', 'loops, steps or layers for each token; all by default', wholeNumber(1))
    .addOption(exitCriterionOption())
    .addOption(exitThresholdOption())
    .option(
      '--draft-loops <n>',
      'draft tokens with this many loops, then check them at full depth: the same text, perhaps sooner',
      wholeNumber(1),
    )
    .option(
      '--draft-tokens <n>',
      'tokens to draft before each check, with --draft-loops; 4 by default',
      wholeNumber(1),
    )
    .option('--json', 'print one JSON document at the end')
    .addHelpText(
      'after',
      examples(
        'npx loopnn generate --model models/playground --prompt "what we can do for"',
        'npx loopnn generate --model models/playground --loops 2 --temperature 0',
      ),
    );
  addOpenFlags(command).action(async (flags: GenerateFlags) => {
    const {
      model: folder,
      json,
      prompt,
      tokens,
      backend,
      precision,
      weights,
      kvSharing,
      kvLoops,
      draftLoops,
      draftTokens,
      exitCriterion: _criterion,
      exitThreshold: _threshold,
      topK = 0,
      ...rest
    } = flags;
    if (draftLoops === undefined && draftTokens !== undefined) {
      command.error('error: --draft-tokens needs --draft-loops');
    }
    const draft =
      draftLoops === undefined ? {} : { draft: { loops: draftLoops, tokens: draftTokens ?? DRAFT_TOKENS } };
    const options = { ...rest, ...(topK > 0 ? { topK } : {}), ...draft, ...exitOptions(flags) };
    const run = await openRun(folder);
    const tokenizer = await run.tokenizer();
    const textIds = await run.textIds();
    const { model: gpt } = await openModel(run, { backend, precision, weights, kvSharing, kvLoops });
    const { config } = gpt;
    noticeLoops(config, options.loops);
    const stream = new Model(gpt, tokenizer, nodeClock, textIds).generate(prompt, {
      ...options,
      maxTokens: tokens,
    });
    const ids: number[] = [];
    const steps: number[] = [];
    let text = '';
    let next = await stream.next();
    if (!json) process.stdout.write(prompt);
    for (; !next.done; next = await stream.next()) {
      if (next.value.id !== null) {
        ids.push(next.value.id);
        steps.push(next.value.steps);
      }
      text += next.value.text;
      if (!json) process.stdout.write(next.value.text);
    }
    const { reason, drafted, accepted } = next.value;
    const drafts = draftLoops === undefined ? {} : { drafted, accepted };
    const halted =
      (config.halting !== 'none' || options.exit) && ids.length > 0
        ? { steps, meanSteps: total(steps) / steps.length }
        : {};
    printResult(json === true, { prompt, text, ids, ...halted, ...drafts, stopped: reason }, () => ['']);
    if (halted.meanSteps !== undefined) {
      const most = options.loops ?? exitCount(config);
      notice(`${halted.meanSteps.toFixed(2)} steps a token, of at most ${most}`);
    }
    if (draftLoops !== undefined) notice(`${accepted} of ${drafted} drafted tokens accepted`);
    if (reason !== 'tokens') notice(`stopped: ${explain(reason, config.blockSize)}`);
  });
}

function explain(reason: StopReason, blockSize: number): string {
  if (reason === 'block size') return `the sequence has filled the block size of ${blockSize} tokens`;
  return reason;
}

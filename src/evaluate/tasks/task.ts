/**
 * How well a model answers the questions of a benchmark: which tokens are scored, and the figures computed from the
 * scores.
 */
import { exitCount } from '../../models/config.js';
import type { GPT } from '../../models/gpt.js';
import type { Clock } from '../../platform.js';
import { deviation, mean } from '../../statistics.js';
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { total } from '../evaluation.js';
import type { Choice, Question, Questions } from './questions.js';
import { type Score, type Scored, type ScoringOptions, scoreSequences } from './scoring.js';

/** Figures by their names, in the order of reports; a name that ends in `_stderr` belongs to the figure before it. */
export type Figures = Readonly<Record<string, number>>;

export interface TaskResult {
  /** Loops, steps or layers that were run. */
  readonly loops: number;
  readonly [figure: string]: number;
}

/** A benchmark as token ids: the sequences to score, question by question, and how scores become figures. */
export interface Task {
  readonly kind: Question['kind'];
  readonly questions: number;
  readonly sequences: readonly Scored[];
  figures(scores: readonly Score[]): Figures;
}

/** Turns texts into ids; `prefix` begins a text without context. */
export interface TaskTokenizer {
  readonly tokenizer: Tokenizer;
  readonly prefix: number;
  readonly blockSize: number;
}

/** A task of questions of one kind. */
export function taskOf({ form, questions }: Questions, tokens: TaskTokenizer): Task {
  const [{ kind }] = questions;
  const groups = questions.map((question) => sequencesOf(question, form, tokens));
  const figuresOf = form === 'core' ? coreFigures : harnessFigures;
  return {
    kind,
    questions: questions.length,
    sequences: groups.flat(),
    figures(scores) {
      let first = 0;
      const byQuestion = groups.map(({ length }) => {
        first += length;
        return scores.slice(first - length, first);
      });
      return figuresOf(questions, byQuestion);
    },
  };
}

/** Scores a task at a number of loops. */
export async function runTask(
  model: GPT,
  tokenizer: Tokenizer,
  task: Task,
  options: ScoringOptions,
  clock: Clock,
): Promise<TaskResult> {
  const scores = await scoreSequences(model, tokenizer, task.sequences, options, clock);
  return { loops: options.loops ?? exitCount(model.config), ...task.figures(scores) };
}

function sequencesOf(question: Question, form: Questions['form'], tokens: TaskTokenizer): Scored[] {
  if (question.kind === 'rolling') return rollingWindows(question.text, tokens);
  if (form === 'lm-eval') {
    const options = question.kind === 'choice' ? question.options : [question];
    return options.map(({ context, continuation }) => pair(context, continuation, tokens));
  }
  return question.kind === 'choice' ? coreChoice(question, tokens) : [coreContinuation(question, tokens)];
}

/**
 * A continuation's tokens as in the harness: those of the whole text beyond the number of the context's tokens. White
 * space at the end of the context is the continuation's.
 */
function pair(context: string, continuation: string, { tokenizer, prefix }: TaskTokenizer): Scored {
  if (context === '') {
    const ids = Array.from(tokenizer.encode(continuation));
    return ids[0] === prefix ? { ids, from: 1 } : { ids: [prefix, ...ids], from: 1 };
  }
  const trimmed = context.trimEnd();
  const ids = Array.from(tokenizer.encode(context + continuation));
  const before = tokenizer.encode(trimmed).length;
  return before > 0 ? { ids, from: before } : { ids: [prefix, ...ids], from: 1 };
}

/**
 * Windows in which each token of a text is predicted once; all but the first have a whole window's tokens before their
 * last.
 */
function rollingWindows(text: string, { tokenizer, prefix, blockSize: T }: TaskTokenizer): Scored[] {
  const all = [prefix, ...tokenizer.encode(text)];
  const windows: Scored[] = [];
  for (let seen = 1; seen < all.length; ) {
    const end = Math.min(seen + T, all.length);
    const start = Math.max(0, end - T - 1);
    windows.push({ ids: all.slice(start, end), from: seen - start });
    seen = end;
  }
  return windows;
}

/**
 * Options that differ in the continuation, or in the context: the common beginning is not scored, or only the common
 * end is.
 */
function coreChoice({ options }: Choice, { tokenizer, prefix, blockSize }: TaskTokenizer): Scored[] {
  const all = options.map(({ context, continuation }) => [
    prefix,
    ...tokenizer.encode(context + continuation),
  ]);
  const shortest = Math.min(...all.map(({ length }) => length));
  const alike = (i: number) => all.every((ids) => ids.at(i) === all[0].at(i));
  const contextsDiffer = options.some(({ context }) => context !== options[0].context);
  let common = 0;
  while (common < shortest && alike(contextsDiffer ? -1 - common : common)) common++;
  return all.map((ids) => cropped({ ids, from: contextsDiffer ? ids.length - common : common }, blockSize));
}

function coreContinuation(
  { context, continuation }: Extract<Question, { kind: 'continuation' }>,
  { tokenizer, prefix, blockSize }: TaskTokenizer,
): Scored {
  const ids = [prefix, ...tokenizer.encode(context + continuation)];
  const before = [prefix, ...tokenizer.encode(context.trim())];
  let common = 0;
  while (common < before.length && before[common] === ids[common]) common++;
  return cropped({ ids, from: common }, blockSize);
}

/** The last tokens of a sequence, as many as the model reads; the harness reads one more. */
function cropped({ ids, from }: Scored, blockSize: number): Scored {
  const cut = Math.max(0, ids.length - blockSize);
  return { ids: ids.slice(cut), from: from - cut };
}

/** Share of right answers, and its standard error. */
function accuracy(name: string, right: readonly boolean[]): Figures {
  const values = right.map(Number);
  const spread = deviation(values);
  const stderr = spread === null ? Number.NaN : spread / Math.sqrt(values.length);
  return { [name]: mean(values), [`${name}_stderr`]: stderr };
}

/** Whether the option with the highest value, the first of equal ones, is a right one. */
function isRight({ gold }: Choice, values: readonly number[]): boolean {
  return gold.includes(values.indexOf(Math.max(...values)));
}

/** The harness's figures: acc by the sum of log-probabilities, acc_norm by that over the option's characters. */
function harnessFigures(questions: readonly Question[], scores: readonly (readonly Score[])[]): Figures {
  const [{ kind }] = questions;
  if (kind === 'choice') {
    const choices = questions as readonly Choice[];
    const sums = scores.map((all) => all.map(({ logprob }) => logprob));
    return {
      ...accuracy(
        'acc',
        choices.map((choice, q) => isRight(choice, sums[q])),
      ),
      ...accuracy(
        'acc_norm',
        choices.map((choice, q) =>
          isRight(
            choice,
            sums[q].map((sum, i) => sum / characters(choice.options[i].continuation)),
          ),
        ),
      ),
    };
  }
  if (kind === 'continuation') {
    const logprobs = scores.map(([{ logprob }]) => logprob);
    const right = scores.map(([{ greedy }]) => greedy);
    return { perplexity: Math.exp(-mean(logprobs)), ...accuracy('acc', right) };
  }
  const texts = questions.map((question) => (question as Extract<Question, { kind: 'rolling' }>).text);
  const nats = -total(scores.flat().map(({ logprob }) => logprob));
  const words = total(texts.map((text) => text.split(/\s+/).length));
  const bytes = total(texts.map((text) => new TextEncoder().encode(text).length));
  return {
    word_perplexity: Math.exp(nats / words),
    byte_perplexity: Math.exp(nats / bytes),
    bits_per_byte: nats / bytes / Math.LN2,
  };
}

/** Code points of an option without the space before it, which the harness adds and does not count. */
function characters(continuation: string): number {
  return Array.from(continuation.replace(/^ /, '')).length;
}

/**
 * CORE's figures: acc by the mean log-probability of a token, or all of them the most probable; centred, guessing is 0.
 */
function coreFigures(questions: readonly Question[], scores: readonly (readonly Score[])[]): Figures {
  const right = questions.map((question, q) =>
    question.kind === 'choice'
      ? isRight(
          question,
          scores[q].map(({ logprob, tokens }) => logprob / tokens),
        )
      : scores[q][0].greedy,
  );
  const guessing = mean(questions.map((one) => (one.kind === 'choice' ? 1 / one.options.length : 0)));
  const acc = accuracy('acc', right);
  return { ...acc, centred: (acc.acc - guessing) / (1 - guessing) };
}

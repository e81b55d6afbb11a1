/**
 * The questions of a benchmark, from records of two forms: the logs of lm-evaluation-harness (`--log_samples`), which
 * have every prompt of any of its tasks as it was scored, and the files of DCLM's CORE (Li et al. 2024, arXiv
 * 2406.11794). It works on records and texts, and must not import files, tokenizers or models.
 */
import { DataError } from '../../errors.js';
import { PythonRandom } from './python-random.js';

/** Texts that may follow a context, one of which is right. */
export interface Choice {
  readonly kind: 'choice';
  /** Indices of the right options; exactly one except in a few benchmarks. */
  readonly gold: readonly number[];
  readonly options: readonly { readonly context: string; readonly continuation: string }[];
}

/** A text that should follow a context. */
export interface Continuation {
  readonly kind: 'continuation';
  readonly context: string;
  readonly continuation: string;
}

/** A text whose every token is predicted. */
export interface Rolling {
  readonly kind: 'rolling';
  readonly text: string;
}

export type Question = Choice | Continuation | Rolling;

/** All questions of a file, of one kind. */
export interface Questions<One extends Question = Question> {
  /**
   * The rules of scoring: the harness's, where a continuation's tokens are those beyond its context's tokens; or
   * CORE's, where they are those in which the options differ, each option's first token but one.
   */
  readonly form: 'lm-eval' | 'core';
  readonly questions: readonly One[];
}

/** How the examples of CORE's questions are written. */
export interface ShotOptions {
  /** Number of other questions of the same file, with answers, before each question. */
  readonly shots: number;
  /** Between a question and its answer. */
  readonly delimiter: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** A named record, as one line of a file. */
export interface NamedRecord {
  readonly name: string;
  readonly value: unknown;
}

/** Orders and examples are drawn with these, as nanochat's evaluation of CORE does. */
const ORDER_SEED = 1337;
const SHOT_SEED = 1234;

/**
 * The questions of the records of one file, at least one. The fields tell the form: `arguments` for a log of the
 * harness; `query, choices, gold`, or `context_options, continuation, gold`, or `context, continuation` for CORE;
 * `text` for texts whose every token is predicted. Throws DataError for other records, or for a mixture.
 */
export function readQuestions(file: string, records: readonly NamedRecord[], shots: ShotOptions): Questions {
  if (records.length === 0) throw new DataError(file, 'must hold a question', 'none');
  const first = fieldsOf(records[0]);
  if ('arguments' in first) return { form: 'lm-eval', questions: sameKind(file, records.map(logged)) };
  if ('text' in first && !('context' in first)) {
    const questions = records.map((record): Rolling => ({ kind: 'rolling', text: text(record, 'text') }));
    return { form: 'lm-eval', questions };
  }
  return { form: 'core', questions: coreQuestions(file, records, shots) };
}

/**
 * A record of the harness's log: `arguments` has a context and a continuation for each thing scored, or a whole text.
 */
function logged(record: NamedRecord): Question {
  const { arguments: given, target, doc } = fieldsOf(record) as Fields & { doc?: Fields };
  const all = Array.isArray(given) ? given : isFields(given) ? Object.values(given) : [];
  const scored = all.map((one: unknown) =>
    Array.isArray(one) ? one : isFields(one) ? Object.values(one) : [],
  );
  const where = `${record.name}: arguments`;
  if (scored.length === 0 || scored.some((texts) => texts.some((one) => typeof one !== 'string'))) {
    throw new DataError(where, 'must hold texts', undefined, 'only tasks that score texts have them');
  }
  const texts = scored as string[][];
  if (texts.length === 1 && texts[0].length === 1) return { kind: 'rolling', text: texts[0][0] };
  if (texts.some(({ length }) => length !== 2)) throw new DataError(where, 'must be pairs of texts');
  const options = texts.map(([context, continuation]) => ({ context, continuation }));
  if (options.length === 1) return { kind: 'continuation', ...options[0] };
  return { kind: 'choice', options, gold: goldOf(record.name, target, options, doc) };
}

/** The right options: a number, several, or the text of one. */
function goldOf(
  name: string,
  target: unknown,
  options: readonly { readonly continuation: string }[],
  doc: Fields = {},
): number[] {
  const targets: unknown[] = Array.isArray(target)
    ? target
    : /^\s*\[/.test(String(target))
      ? JSON.parse(String(target))
      : [target];
  return targets.map((one) => {
    const place = options.findIndex(({ continuation }) => continuation.trim() === String(one).trim());
    const number = typeof one === 'number' || /^\d+$/.test(String(one)) ? Number(one) : place;
    if (Number.isInteger(number) && number >= 0 && number < options.length) return number;
    const rule = `must name one of ${options.length} options`;
    throw new DataError(`${name}: target`, rule, JSON.stringify(one ?? doc), 'by its place from 0');
  });
}

/** CORE's questions in nanochat's order, each with its examples before it. */
function coreQuestions(
  file: string,
  records: readonly NamedRecord[],
  { shots, delimiter }: ShotOptions,
): Question[] {
  if (shots >= records.length) {
    throw new DataError(file, `must hold more questions than the ${shots} shown before each`, records.length);
  }
  const items = new PythonRandom(ORDER_SEED).shuffled(records.map(coreItem));
  return sameKind(
    file,
    items.map((item, i) => {
      const others = items.filter((_, j) => j !== i);
      const shown = shots === 0 ? [] : new PythonRandom(SHOT_SEED + i).sample(others, shots);
      const before = shown.map((one) => `${one.shown(delimiter)}\n\n`).join('');
      return item.ask(before, delimiter);
    }),
  );
}

/** A question, and its text with the answer. */
interface CoreItem {
  ask(before: string, delimiter: string): Question;
  shown(delimiter: string): string;
}

function coreItem(record: NamedRecord): CoreItem {
  const fields = fieldsOf(record);
  if ('choices' in fields) {
    const query = text(record, 'query');
    const choices = texts(record, 'choices');
    const gold = place(record, 'gold', choices.length);
    return {
      ask: (before, delimiter) => ({
        kind: 'choice',
        gold: [gold],
        options: choices.map((continuation) => ({ context: `${before}${query}${delimiter}`, continuation })),
      }),
      shown: (delimiter) => `${query}${delimiter}${choices[gold]}`,
    };
  }
  const continuation = text(record, 'continuation');
  if ('context_options' in fields) {
    const contexts = texts(record, 'context_options');
    const gold = place(record, 'gold', contexts.length);
    return {
      ask: (before, delimiter) => ({
        kind: 'choice',
        gold: [gold],
        options: contexts.map((context) => ({ context: `${before}${context}${delimiter}`, continuation })),
      }),
      shown: (delimiter) => `${contexts[gold]}${delimiter}${continuation}`,
    };
  }
  const context = text(record, 'context').trim();
  return {
    ask: (before, delimiter) => ({
      kind: 'continuation',
      context: `${before}${context}${delimiter}`,
      continuation,
    }),
    shown: (delimiter) => `${context}${delimiter}${continuation}`,
  };
}

function sameKind(file: string, questions: Question[]): Question[] {
  const [{ kind }] = questions;
  if (questions.every((one) => one.kind === kind)) return questions;
  throw new DataError(
    file,
    'must hold questions of one kind',
    [...new Set(questions.map((one) => one.kind))].join(', '),
  );
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fieldsOf({ name, value }: NamedRecord): Fields {
  if (isFields(value)) return value;
  throw new DataError(name, 'must be a JSON object');
}

function text(record: NamedRecord, field: string): string {
  const value = fieldsOf(record)[field];
  if (typeof value === 'string') return value;
  const known =
    'arguments; query, choices, gold; context_options, continuation, gold; context, continuation; text';
  throw new DataError(
    `${record.name}: ${field}`,
    'must be a text',
    undefined,
    `a record has the fields ${known}`,
  );
}

function texts(record: NamedRecord, field: string): string[] {
  const value = fieldsOf(record)[field];
  if (Array.isArray(value) && value.length > 1 && value.every((one) => typeof one === 'string')) return value;
  throw new DataError(`${record.name}: ${field}`, 'must be a list of at least two texts');
}

function place(record: NamedRecord, field: string, below: number): number {
  const value = fieldsOf(record)[field];
  if (Number.isInteger(value) && Number(value) >= 0 && Number(value) < below) return Number(value);
  throw new DataError(`${record.name}: ${field}`, `must be a place from 0 to ${below - 1}`, String(value));
}

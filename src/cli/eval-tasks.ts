/**
 * `loopnn eval --tasks`: what a trained model answers to the questions of benchmarks, at several loop counts side by
 * side.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { BackendName, Weights } from '../node/backend.js';
import { nodeClock } from '../node/store.js';
import { openRun } from '../node/run.js';
import { ConfigError, DataError } from '../errors.js';
import { type NamedRecord, readQuestions, type ShotOptions } from '../evaluate/tasks/questions.js';
import { runTask, type TaskResult, taskOf } from '../evaluate/tasks/task.js';
import { parseJSON } from '../formats/json.js';
import { exitCount } from '../models/config.js';
import { mean } from '../statistics.js';
import type { TrainConfig } from '../train/config.js';
import { grouped, Progress, printResult, table } from './output.js';
import { type ExitFlags, exitOptions, noticeLoops, openModel } from './runtime.js';

interface TaskFlags extends ExitFlags, ShotOptions {
  readonly model: string;
  readonly tasks: readonly string[];
  readonly loops?: number[];
  readonly backend?: BackendName;
  readonly precision: TrainConfig['precision'];
  readonly weights: Weights;
  readonly json?: true;
}

/** A task in the document. */
interface ToldTask {
  readonly task: string;
  readonly file: string;
  readonly form: 'lm-eval' | 'core';
  readonly kind: string;
  readonly questions: number;
  readonly shots?: number;
  readonly results: readonly TaskResult[];
}

export async function evaluateTasks(flags: TaskFlags): Promise<void> {
  // Errors in the files are reported before a large model is read.
  const files = flags.tasks.map((file) => ({
    file,
    name: basename(file)
      .replace(/\.jsonl?$/, '')
      .replace(/^samples_/, ''),
    asked: readQuestions(file, records(file), flags),
  }));
  const run = await openRun(flags.model);
  const tokenizer = await run.tokenizer();
  const { bos } = await run.textIds();
  const prefix = bos ?? tokenizer.eot;
  if (prefix === null) {
    throw new ConfigError(
      '--tasks',
      `must have a token that begins a text, tokenizer ${tokenizer.name} has none`,
    );
  }
  const { model, config, step } = await openModel(run, flags);
  const { blockSize } = model.config;
  const trained = exitCount(config.model);
  const counts = flags.loops ?? [trained];
  const exit = exitOptions(flags);
  for (const loops of counts) model.requireOptions({ loops, ...exit });
  const tasks: ToldTask[] = [];
  for (const { file, name, asked } of files) {
    const task = taskOf(asked, { tokenizer, prefix, blockSize });
    const results: TaskResult[] = [];
    for (const loops of counts) {
      noticeLoops(config.model, loops);
      const progress = new Progress(`loops ${loops}`);
      const onProgress = (fraction: number) => progress.update(fraction, name);
      results.push(await runTask(model, tokenizer, task, { loops, onProgress, ...exit }, nodeClock));
      progress.clear();
    }
    const { kind, questions } = task;
    const shots = asked.form === 'core' ? { shots: flags.shots } : {};
    tasks.push({ task: name, file, form: asked.form, kind, questions, ...shots, results });
  }
  const centred = tasks
    .filter(({ form }) => form === 'core')
    .map(({ results }) => results.map((one) => one.centred));
  const core = centred.length > 1 ? counts.map((_, i) => mean(centred.map((values) => values[i]))) : null;
  const document = {
    model: flags.model,
    step,
    backend: model.runtime.backend.description,
    trainedLoops: trained,
    loops: counts,
    tasks,
    ...(core ? { core } : {}),
  };
  printResult(flags.json === true, document, () =>
    table(
      ['task', 'questions', 'figure', ...counts.map((n) => `${n} loops${n === trained ? ' (trained)' : ''}`)],
      [
        ...tasks.flatMap(({ task, questions, results }) => rowsOf(task, questions, results)),
        ...(core ? [['CORE', '', 'mean centred', ...core.map((value) => value.toFixed(4))]] : []),
      ],
    ),
  );
}

/** A row for each figure; a standard error follows its figure. */
function rowsOf(task: string, questions: number, results: readonly TaskResult[]): string[][] {
  const figures = Object.keys(results[0]).filter((name) => name !== 'loops' && !name.endsWith('_stderr'));
  return figures.map((figure, i) => [
    i === 0 ? task : '',
    i === 0 ? grouped(questions) : '',
    figure,
    ...results.map((one) => {
      const stderr = one[`${figure}_stderr`];
      return one[figure].toFixed(4) + (stderr === undefined ? '' : ` ± ${stderr.toFixed(4)}`);
    }),
  ]);
}

/** The records of a file in JSON Lines. Throws DataError if it cannot be read, or a line is not JSON. */
function records(file: string): NamedRecord[] {
  return contentOf(file)
    .split('\n')
    .flatMap((line, i) => {
      if (line.trim() === '') return [];
      const name = `${file}, line ${i + 1}`;
      try {
        return [{ name, value: parseJSON(line) }];
      } catch (error) {
        throw new DataError(name, `must be JSON (${error instanceof Error ? error.message : error})`);
      }
    });
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new DataError(file, `must be a readable file (${error instanceof Error ? error.message : error})`);
  }
}

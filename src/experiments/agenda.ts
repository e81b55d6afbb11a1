/**
 * What is to be trained next in a comparison: all pilots, and a model's runs once its pilots have chosen their
 * fields. It must not import training or processes.
 */
import type { TrainConfig } from '../train/config.js';
import { TrainingError } from '../train/trainer.js';
import type { ComparisonEvent } from './comparison-events.js';
import { type Choice, choicesOf, type Entrant, pilotOf, runOf, trainingFlops } from './entrants.js';
import { candidates, seedsOf, type Suite } from './suites.js';

/** A pilot or a run by its numbers, which mean the same in every process. */
export interface Job {
  /** In the suite. */
  readonly model: number;
  /** Among those of the model. */
  readonly choice: number;
  /** Null for a pilot. */
  readonly seed: number | null;
}

export class Agenda {
  /** Of each model, its configuration with each combination of the grid that it is tried with. */
  private readonly choices: readonly (readonly Choice[])[];
  /** Jobs that may begin. */
  private readonly waiting: Job[] = [];
  /** Of each model, the losses of the pilots that are over, by their combination. */
  private readonly losses: readonly (number | null | undefined)[][];

  /**
   * @param longestFirst for many processes, of which none should begin with a long run when others end; by default
   *   in the suite's order, seed by seed
   * @throws ConfigError if a model's configuration is wrong
   */
  constructor(
    private readonly suite: Suite,
    private readonly seeds: number,
    vocabSize: number,
    precision: TrainConfig['precision'],
    private readonly longestFirst = false,
  ) {
    this.choices = suite.models.map((model) => choicesOf(suite, model, vocabSize, precision));
    this.losses = this.choices.map((choices) => choices.map(() => undefined));
    const tuned = candidates(suite).length > 0;
    for (const [model, choices] of this.choices.entries()) {
      if (!tuned) this.addRuns(model, 0);
      else for (const choice of choices.keys()) this.waiting.push({ model, choice, seed: null });
    }
  }

  /** The next that may begin, which then waits no more; null while there is none. */
  next(): Job | null {
    this.waiting.sort((a, b) => firstDifference(this.precedence(a), this.precedence(b)));
    return this.waiting.shift() ?? null;
  }

  entrant({ model, choice, seed }: Job): Entrant {
    const own = this.choices[model][choice];
    const run = runOf(this.suite.models[model], own, seed ?? undefined);
    return seed === null ? pilotOf(run, own) : run;
  }

  /** Receives a finished pilot. With the last one of a model its fields are chosen, and its runs may begin. */
  *takePilot({ model: index, choice }: Job, valLoss: number | null): Generator<ComparisonEvent> {
    const model = this.suite.models[index];
    const choices = this.choices[index];
    const losses = this.losses[index];
    losses[choice] = valLoss;
    if (losses.includes(undefined)) return;
    const pilots = choices.map(({ fields }, i) => ({ fields, valLoss: losses[i]! }));
    const finished = pilots.filter((pilot) => pilot.valLoss !== null);
    if (finished.length === 0) {
      const error = new TrainingError(model.name, 'no pilot finished, with any fields of the grid');
      yield { kind: 'failed', entrant: { ...runOf(model, choices[0]), ...model }, error };
      return;
    }
    const best = finished.reduce((a, b) => (b.valLoss < a.valLoss ? b : a));
    this.addRuns(index, pilots.indexOf(best));
    yield { kind: 'tuned', model, fields: best.fields, pilots };
  }

  private addRuns(model: number, choice: number): void {
    for (const seed of seedsOf(this.seeds)) this.waiting.push({ model, choice, seed });
  }

  /** The criteria between two jobs, the most important first: runs wait for pilots, and none for runs. */
  private precedence(job: Job): number[] {
    const { model, choice, seed } = job;
    const length = this.longestFirst ? trainingFlops(this.entrant(job)) : 0;
    return [seed === null ? 0 : 1, -length, seed ?? 0, model, choice];
  }
}

function firstDifference(a: readonly number[], b: readonly number[]): number {
  return a.map((value, i) => value - b[i]).find((difference) => difference !== 0) ?? 0;
}

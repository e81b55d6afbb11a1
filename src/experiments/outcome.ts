/** The outcome of a comparison's events. */
import type { ComparisonEvent, Pilots } from './comparison-events.js';
import { isPilot } from './entrants.js';
import type { RunResult } from './result.js';
import type { Fields, Suite } from './suites.js';

/** A model's fields of the grid, and the pilots that they were chosen by. */
export interface Tuned {
  readonly name: string;
  readonly label: string;
  readonly fields: Fields;
  readonly pilots: Pilots;
}

export class Outcome {
  /** Finished runs, in the order of the seeds and the suite, whichever ended first. */
  readonly results: RunResult[] = [];
  readonly tuned: Tuned[] = [];
  /** What is missing, in sentences. */
  readonly missing: string[] = [];

  constructor(private readonly suite: Pick<Suite, 'models'>) {}

  take(event: ComparisonEvent): void {
    switch (event.kind) {
      case 'result':
        this.results.push(event.result);
        this.results.sort((a, b) => a.seed - b.seed || this.place(a.name) - this.place(b.name));
        break;
      case 'failed':
        // A pilot may fail: its learning rate is too high.
        if (!isPilot(event.entrant)) {
          this.missing.push(`${event.entrant.label} failed: ${event.error.message}`);
        }
        break;
      case 'tuned': {
        const { model, fields, pilots } = event;
        this.tuned.push({ name: model.name, label: model.label, fields, pilots });
        this.tuned.sort((a, b) => this.place(a.name) - this.place(b.name));
        break;
      }
    }
  }

  private place(model: string): number {
    return this.suite.models.findIndex(({ name }) => name === model);
  }
}

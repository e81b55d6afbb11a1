/** What a comparison's events come to. */
import { type ComparisonEvent, isPilot, type Pilots } from './compare.js';
import type { RunResult } from './result.js';
import type { Fields } from './suites.js';

/** A model's fields of the grid, and the pilots that they were chosen by. */
export interface Tuned {
  readonly name: string;
  readonly label: string;
  readonly fields: Fields;
  readonly pilots: Pilots;
}

export class Outcome {
  /** Finished runs. */
  readonly results: RunResult[] = [];
  readonly tuned: Tuned[] = [];
  /** What is missing, in sentences. */
  readonly missing: string[] = [];

  take(event: ComparisonEvent): void {
    switch (event.kind) {
      case 'result':
        this.results.push(event.result);
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
        break;
      }
    }
  }
}

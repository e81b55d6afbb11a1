/** What a comparison's events come to. */
import { type ComparisonEvent, isPilot, type Pilots } from './compare.js';
import type { RunResult } from './result.js';

/** A model's learning rate, and the pilots that it was chosen by. */
export interface Tuned {
  readonly name: string;
  readonly label: string;
  readonly lr: number;
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
        const { model, lr, pilots } = event;
        this.tuned.push({ name: model.name, label: model.label, lr, pilots });
        break;
      }
    }
  }
}

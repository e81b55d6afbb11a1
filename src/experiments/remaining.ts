/** The time that the rest of a comparison takes, by the FLOPs that its runs have behind them. */
import type { Clock } from '../platform.js';
import type { ComparisonEvent } from './comparison-events.js';
import { type Entrant, pilotSteps, runName } from './entrants.js';
import type { PlannedModel } from './plan.js';
import { trainingFlopsPerToken } from './result.js';
import { seedsOf, tokensPerStep } from './suites.js';

export class RemainingWork {
  private readonly start: number;
  private readonly all: number;
  /** FLOPs that each run has behind it, by its folder. */
  private readonly behind = new Map<string, number>();
  /** FLOPs done since the start, by all processes. */
  private done = 0;

  constructor(
    private readonly planned: readonly PlannedModel[],
    private readonly clock: Clock,
  ) {
    this.start = clock.now();
    this.all = planned.reduce((sum, { flops }) => sum + flops, 0);
  }

  take(event: ComparisonEvent): void {
    switch (event.kind) {
      case 'start':
        this.reached(event.entrant, event.step);
        break;
      case 'train':
        this.done += this.reached(event.entrant, event.event.step);
        break;
      case 'pilot':
      case 'failed':
      case 'result':
        this.reached(event.entrant, event.entrant.until);
        break;
      case 'tuned': {
        // Pilots of an earlier call reported nothing.
        const { config } = this.planned.find(({ name }) => name === event.model.name)!;
        for (const { fields } of event.pilots) {
          const name = runName(event.model.name, fields, seedsOf(1)[0]);
          this.reached({ name, config }, pilotSteps(config.train));
        }
        break;
      }
    }
  }

  /** Seconds; not a number before the first step. */
  get secondsLeft(): number {
    const behind = [...this.behind.values()].reduce((sum, flops) => sum + flops, 0);
    return (((this.clock.now() - this.start) / 1000) * Math.max(0, this.all - behind)) / this.done;
  }

  /** Records the number of steps that a run has done; returns the new FLOPs. */
  private reached({ name, config }: Pick<Entrant, 'name' | 'config'>, step: number): number {
    const before = this.behind.get(name) ?? 0;
    const now = Math.max(before, step * tokensPerStep(config) * trainingFlopsPerToken(config, step));
    this.behind.set(name, now);
    return now - before;
  }
}

/** How a training run looks in the terminal. */
import type { StepEvent, TrainEvent } from '../train/events.js';
import { counted } from '../printable.js';
import { grouped, type Progress } from './output.js';

/** Milliseconds of training that a speed is taken over. */
const WINDOW_MS = 5000;

/** Tokens a second over the last seconds of training. */
export class Speed {
  private readonly steps: { ms: number; tokens: number }[] = [];
  private ms = 0;
  private tokens = 0;

  add({ stepMs: ms, tokensPerSecond }: StepEvent): void {
    const step = { ms, tokens: (tokensPerSecond * ms) / 1000 };
    this.steps.push(step);
    this.ms += step.ms;
    this.tokens += step.tokens;
    while (this.steps.length > 1 && this.ms - this.steps[0].ms >= WINDOW_MS) {
      const first = this.steps.shift()!;
      this.ms -= first.ms;
      this.tokens -= first.tokens;
    }
  }

  /** Null before the first step. */
  get tokensPerSecond(): number | null {
    return this.steps.length === 0 ? null : (this.tokens * 1000) / this.ms;
  }
}

/** One training on the terminal, from step `from` to `until`. */
export class TrainingProgress {
  readonly speed = new Speed();

  constructor(
    readonly progress: Progress,
    private readonly until: number,
    private readonly from: number,
    /** The cost of all updates before a step, in any unit; by default all updates cost the same. */
    private readonly work: (step: number) => number = (step) => step,
    /** Seconds of work after this training; by default the time left is this training's only. */
    private readonly left?: () => number,
  ) {}

  show(event: TrainEvent): void {
    const { progress, until, from, work } = this;
    switch (event.kind) {
      case 'step': {
        this.speed.add(event);
        const details = [
          `step ${event.step}/${until}`,
          `loss ${event.loss.toFixed(3)}`,
          `${grouped(this.speed.tokensPerSecond!)} tokens/s`,
          ...(event.loops === undefined ? [] : [counted(event.loops, 'loop')]),
          ...(event.meanSteps === undefined ? [] : [`${event.meanSteps.toFixed(2)} steps a token`]),
        ];
        const [done, begun] = [event.step, from].map((step) => work(step) / work(until));
        progress.update(done, details, begun, this.left?.());
        break;
      }
      case 'eval': {
        const plain = event.plainValLoss;
        const own = plain === undefined ? '' : ` (average of weights; plain ${plain.toFixed(4)})`;
        const losses = `train ${event.trainLoss.toFixed(4)}  val ${event.valLoss.toFixed(4)}${own}`;
        const loops = event.loops === undefined ? '' : ` with ${counted(event.loops, 'loop')}`;
        const best = event.best ? '  (best)' : '';
        progress.line(`step ${String(event.step).padStart(6)}  ${losses}, on fixed batches${loops}${best}`);
        break;
      }
      case 'stopped':
        progress.line(
          event.step === 0
            ? 'stopped before the first step'
            : `stopped at step ${event.step}; checkpoint saved`,
        );
        break;
      case 'checkpoint':
      case 'done':
        break;
    }
  }
}

/** One model of the race: makes one step at a time, and writes a sample on request. */
import type { Backend } from '../../../backend/backend.js';
import { Decoder } from '../../../generate/decoder.js';
import { Engine } from '../../../generate/engine.js';
import type { TrainEvent } from '../../../train/events.js';
import { webClock } from '../../../web/clock.js';
import { splitIds, Training, type TrainingOptions } from '../../../web/training.js';

/** Characters of the held-out text that a sample begins with. */
const PROMPT_LENGTH = 24;

export class Runner implements AsyncDisposable {
  readonly prompt: string;
  private readonly events: AsyncGenerator<TrainEvent>;
  private over = false;

  private constructor(readonly training: Training) {
    this.events = training.trainer.run();
    this.prompt = promptOf(training);
  }

  static async open(options: TrainingOptions, backend: Backend): Promise<Runner> {
    return new Runner(await Training.open(options, backend));
  }

  /** Number of updates made. */
  get step(): number {
    return this.training.trainer.step;
  }

  /** Whether all steps are made, and the events after them have come. */
  get done(): boolean {
    return this.over;
  }

  /** Makes one update, with the evaluation and the checkpoint that are due before it, or ends the run. */
  async *advance(): AsyncGenerator<TrainEvent> {
    for (let last: TrainEvent['kind'] | undefined; !this.over && last !== 'step'; ) {
      const event = await this.next();
      if (!event) return;
      last = event.kind;
      yield event;
    }
  }

  /** Saves the current state of the run, after the events that are due before. */
  async *save(): AsyncGenerator<TrainEvent> {
    const { trainer } = this.training;
    if (this.over || trainer.step === 0 || trainer.progress.savedAt === trainer.step) return;
    trainer.saveSoon();
    for (;;) {
      const event = await this.next();
      if (!event) return;
      yield event;
      if (event.kind === 'checkpoint' && event.which === 'last') return;
    }
  }

  /** Continues the beginning of the held-out text with the current weights. */
  async sample(): Promise<string> {
    const { model, tokenizer } = this.training;
    const decoder = new Decoder(model);
    const engine = new Engine(decoder, tokenizer, webClock);
    try {
      const prompt = tokenizer.encode(this.prompt);
      const maxTokens = model.config.blockSize - prompt.length;
      const request = { prompt, maxTokens, temperature: 0.8, topK: 50, seed: 1 };
      const made = engine.generate(request);
      for (let text = ''; ; ) {
        const { value, done } = await made.next();
        text += value.text;
        if (done) return text;
      }
    } finally {
      await engine.dispose();
      decoder.dispose();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.events.return(undefined);
    await this.training[Symbol.asyncDispose]();
  }

  private async next(): Promise<TrainEvent | null> {
    const { value, done } = await this.events.next();
    if (done || value.kind === 'done') this.over = true;
    return done ? null : value;
  }
}

/** Whole words from the beginning of the held-out text. */
function promptOf({ tokenizer, text }: Training): string {
  const { val } = splitIds(tokenizer, text);
  const words = tokenizer
    .decode(val.subarray(0, 200))
    .replace(/^\S*\s+/, '')
    .replaceAll('\uFFFD', '');
  const end = words.indexOf(' ', PROMPT_LENGTH);
  return words.slice(0, end > 0 && end < 2 * PROMPT_LENGTH ? end : PROMPT_LENGTH) || ' ';
}

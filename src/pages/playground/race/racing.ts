/** The race in its worker: three runs take turns, and the page's commands are handled between two steps. */
import type { Backend } from '../../../backend/backend.js';
import type { Store } from '../../../platform.js';
import { trainBpe } from '../../../tokenizer/bpe-train.js';
import { resumableStep } from '../../../train/checkpoint.js';
import type { TrainEvent } from '../../../train/events.js';
import { createBackend } from '../../../web/backend.js';
import { MemoryStore } from '../../../web/memory-store.js';
import { OpfsStore } from '../../../web/opfs-store.js';
import { splitIds } from '../../../web/training.js';
import { messageOf } from '../../shared/words.js';
import { engineOf } from '../engine.js';
import { archive } from './archive.js';
import { costOf, ENTRANTS, raceConfig, SIZES, tooFewTokens, VOCAB_SIZE } from './entrants.js';
import { KeptStore } from './kept-store.js';
import type { FoundRace, KeptRace, RaceEvent, RaceCommand, Point } from './messages.js';
import { Runner } from './runner.js';

const FOLDER = 'playground/race';
const RACE_FILE = 'race.json';
/** The channels that choose the engine: one engine computes all sizes. */
const WIDEST = Math.max(...Object.values(SIZES).map(({ model }) => model.nEmbd));
/** Least milliseconds between two messages with points, since the page draws no faster. */
const POST_EVERY = 100;

export class Racing {
  private stores: readonly Store[] = [];
  private runners: readonly Runner[] = [];
  private backend: Promise<Backend> | undefined;
  private points: Point[] = [];
  private postedAt = 0;
  private stopping = false;
  private turns: Promise<void> | null = null;
  private handled: Promise<void> = Promise.resolve();

  constructor(private readonly tell: (event: RaceEvent) => void) {}

  /** Handles a command after those before it. */
  take(command: RaceCommand): void {
    this.handled = this.handled.then(() => this.handle(command)).catch((error) => this.fail(error));
  }

  private async handle(command: RaceCommand): Promise<void> {
    switch (command.kind) {
      case 'look':
        this.tell({ kind: 'found', race: await this.kept() });
        break;
      case 'start':
        this.status('preparing');
        await this.clear();
        await this.begin(command);
        this.go();
        break;
      case 'resume':
        this.status('preparing');
        await this.clear();
        await this.resume();
        this.go();
        break;
      case 'pause':
        this.status('pausing');
        await this.halt();
        this.status(this.done ? 'done' : 'paused');
        break;
      case 'continue':
        this.go();
        break;
      case 'save':
        await this.save();
        break;
    }
  }

  /** The kept race, if its runs can be resumed. */
  private async kept(): Promise<FoundRace | null> {
    try {
      const store = new OpfsStore(FOLDER);
      if (!(await store.has(RACE_FILE))) return null;
      const race = JSON.parse(new TextDecoder().decode(await store.read(RACE_FILE))) as KeptRace;
      const steps = await Promise.all(this.opfs().map(resumableStep));
      if (steps.some((step) => step === null)) return null;
      return { ...race, step: Math.min(...steps.map(Number)) };
    } catch {
      return null; // nothing is kept, so nothing can be resumed
    }
  }

  private async begin({
    text: { text, name },
    size,
    maxSteps,
  }: RaceCommand & { kind: 'start' }): Promise<void> {
    const tokenizer = trainBpe([text], VOCAB_SIZE);
    const config = (i: number) => raceConfig(ENTRANTS[i], size, tokenizer.vocabSize, maxSteps);
    const few = tooFewTokens(splitIds(tokenizer, text).val.length, size);
    if (few) throw new Error(few);
    const race: KeptRace = { textName: name, size, maxSteps: config(0).train.maxSteps };
    const { shared, stores } = await this.newStores();
    this.stores = stores;
    await this.open(race, (i) => ({ ...config(i), text, tokenizer, overwrite: true }));
    await shared.replace(RACE_FILE, JSON.stringify(race));
  }

  private async resume(): Promise<void> {
    const found = await this.kept();
    if (!found) throw new Error('there is no race to resume here');
    this.stores = this.opfs();
    await this.open(found, () => ({ resume: true }));
    for (const runner of this.runners) await this.sample(runner, runner.step);
  }

  private async open(kept: KeptRace, options: (entrant: number) => object): Promise<void> {
    this.backend ??= createBackend({
      channels: WIDEST,
      // One processor is left for the page, so that typing stays smooth.
      threads: Math.max(1, navigator.hardwareConcurrency - 1),
      onWarning: (text) => this.note(text),
    });
    const backend = await this.backend.catch((error) => {
      this.backend = undefined;
      throw error;
    });
    const opened: Runner[] = [];
    this.runners = opened;
    for (const [i, store] of this.stores.entries())
      opened.push(await Runner.open({ store, ...options(i) }, backend));
    const { tokenizer, text } = opened[0].training;
    const { train, val } = splitIds(tokenizer, text);
    const race = {
      ...{ textName: kept.textName, size: kept.size },
      maxSteps: opened[0].training.config.train.maxSteps,
      costs: opened.map(({ training }) => costOf(training.config.model)),
      ...{ trainTokens: train.length, valTokens: val.length, vocabSize: tokenizer.vocabSize },
      engine: engineOf(backend),
    };
    this.tell({ kind: 'begun', race });
    for (const [entrant, { training }] of opened.entries()) {
      for (const event of training.log) this.push(entrant, event);
    }
    this.flush();
    if ((globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== true) {
      this.note('This page does not share memory with its workers, so one thread computes.');
    }
  }

  private go(): void {
    if (this.turns || this.runners.length === 0) return;
    this.stopping = false;
    this.status('running');
    this.turns = this.takeTurns()
      .catch((error) => this.fail(error))
      .finally(() => {
        this.turns = null;
      });
  }

  /** The model with the fewest steps makes the next step. */
  private async takeTurns(): Promise<void> {
    while (!this.stopping) {
      const waiting = this.runners.filter(({ done }) => !done);
      if (waiting.length === 0) {
        this.flush();
        this.status('done');
        return;
      }
      const next = waiting.reduce((least, runner) => (runner.step < least.step ? runner : least));
      await this.follow(next, next.advance());
    }
    this.flush();
  }

  /** Reports the events of a run, with a sample after each evaluation. */
  private async follow(runner: Runner, events: AsyncGenerator<TrainEvent>): Promise<void> {
    const entrant = this.runners.indexOf(runner);
    for await (const event of events) {
      this.push(entrant, event);
      if (event.kind === 'eval') await this.sample(runner, event.step);
    }
    if (performance.now() - this.postedAt >= POST_EVERY) this.flush();
  }

  private async sample(runner: Runner, step: number): Promise<void> {
    const entrant = this.runners.indexOf(runner);
    this.tell({ kind: 'sample', entrant, step, prompt: runner.prompt, text: await runner.sample() });
  }

  private push(entrant: number, event: TrainEvent): void {
    const { step } = event;
    if (event.kind === 'eval') this.points.push({ entrant, step, valLoss: event.valLoss });
    if (event.kind !== 'step') return;
    const { loss, stepMs, tokensSeen } = event;
    this.points.push({ entrant, step, loss, stepMs, tokensSeen });
  }

  private flush(): void {
    if (this.points.length > 0) this.tell({ kind: 'points', points: this.points });
    this.points = [];
    this.postedAt = performance.now();
  }

  /** Stops the turns after the current step, and saves a checkpoint of each run. */
  private async halt(): Promise<void> {
    this.stopping = true;
    await this.turns;
    for (const runner of this.runners) await this.follow(runner, runner.save());
    this.flush();
  }

  private get done(): boolean {
    return this.runners.every(({ done }) => done);
  }

  private async save(): Promise<void> {
    const running = this.turns !== null;
    await this.halt();
    const [{ training }] = this.runners;
    this.tell({ kind: 'saved', zip: await archive(this.stores, training) });
    if (running && !this.done) this.go();
  }

  /** Stops the current race. */
  private async clear(): Promise<void> {
    this.stopping = true;
    await this.turns;
    const { runners } = this;
    this.runners = [];
    this.points = [];
    for (const runner of runners) await runner[Symbol.asyncDispose]();
  }

  private opfs(): KeptStore[] {
    return ENTRANTS.map(({ id }) => this.keptStore(`${FOLDER}/${id}`));
  }

  private keptStore(folder: string): KeptStore {
    const onFull = (reason: string) =>
      this.note(`From now on the race is kept only in memory, and is lost when the tab is closed: ${reason}`);
    return new KeptStore(new OpfsStore(folder), onFull);
  }

  /** The stores of a new race: in memory if the browser has no file system. */
  private async newStores(): Promise<{ readonly shared: Store; readonly stores: readonly Store[] }> {
    try {
      const shared = this.keptStore(FOLDER);
      await shared.has(RACE_FILE);
      return { shared, stores: this.opfs() };
    } catch (error) {
      this.note(`This race is lost when the tab is closed: ${messageOf(error)}`);
      return { shared: new MemoryStore(), stores: ENTRANTS.map(() => new MemoryStore()) };
    }
  }

  private status(status: (RaceEvent & { kind: 'status' })['status']): void {
    this.tell({ kind: 'status', status });
  }

  private note(text: string): void {
    this.tell({ kind: 'note', text });
  }

  private fail(error: unknown): void {
    this.flush();
    this.backend = undefined; // a GPU that was lost does not come back
    this.tell({ kind: 'failed', message: messageOf(error) });
  }
}

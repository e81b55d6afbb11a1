/**
 * The folder of a comparison: what it began with, its runs in folders of their own, the timings of their steps, and the
 * report. It works over a store.
 */
import { ConfigError } from '../errors.js';
import { parseFields } from '../fields.js';
import { type TrainConfig, trainFields } from '../train/config.js';
import { readJSON } from '../train/json.js';
import type { Store } from '../platform.js';
import { type ComparisonData, type ComparisonOptions, describeData } from './compare.js';
import { chosenFields, runName } from './entrants.js';
import { chartFiles, renderHtml, renderMarkdown } from './document.js';
import type { Outcome } from './outcome.js';
import type { MeasuredLaw } from './law/measured.js';
import type { CostVerdict } from './law/verdict.js';
import { type ReportContext, reportSections } from './report.js';
import type { Provenance, RunResult } from './result.js';
import type { Suite } from './suites.js';
import { measureTimings, type Timing } from './timing.js';

/** The settings with which a comparison began, and with which alone it resumes. */
interface Begun {
  readonly suite: string;
  readonly scale: string;
  readonly precision: TrainConfig['precision'];
  /** The data by its size and tokenizer. */
  readonly data: string;
}

/** The content of `results.json`. */
export interface ComparisonDocument extends Provenance, Pick<Outcome, 'missing' | 'tuned' | 'results'> {
  readonly suite: string;
  readonly scale: string;
  readonly timings: readonly Timing[];
  /** Of suites that measure what loops are worth; empty for others. */
  readonly law: readonly MeasuredLaw[];
  /** Of the same suites: looped models against models without loops of equal cost. */
  readonly equalCost: readonly CostVerdict[];
}

const BEGUN_FILE = 'comparison.json';
const TIMINGS_FILE = 'timings.json';

export class ComparisonFolder {
  private constructor(
    private readonly home: Store,
    private readonly suite: Suite,
    private readonly begun: Begun | null,
  ) {}

  /**
   * Opens a folder, empty or with a comparison of this suite. Throws ConfigError, which begins with `where`, if it has
   * another suite's.
   */
  static async open(home: Store, suite: Suite, where = '--out'): Promise<ComparisonFolder> {
    if (!(await home.has(BEGUN_FILE))) return new ComparisonFolder(home, suite, null);
    const found = await readJSON(home, BEGUN_FILE, 'choose another folder, or delete this one');
    const begun = {
      ...found,
      ...parseFields({ precision: trainFields.precision }, { precision: found.precision }, BEGUN_FILE),
    } as unknown as Begun;
    const { name, scale } = suite;
    if (begun.suite === name && begun.scale === scale) return new ComparisonFolder(home, suite, begun);
    const rule = `must hold a comparison of suite ${name} at scale ${scale}, or none`;
    throw new ConfigError(where, rule, `${begun.suite} at ${begun.scale}`, 'choose another folder');
  }

  /** The precision with which it began, or else the requested one. Throws ConfigError if that or the data differ. */
  precision(data: ComparisonData, asked: TrainConfig['precision']): TrainConfig['precision'] {
    const { begun } = this;
    if (!begun) return asked;
    const own = describeData(data);
    if (begun.data !== own) {
      const rule = `must stay the data that this comparison began with, ${begun.data}`;
      throw new ConfigError('--data', rule, own);
    }
    if (asked !== 'auto' && asked !== begun.precision) {
      const rule = `must stay ${begun.precision}, which this comparison began with`;
      throw new ConfigError('--precision', rule, asked);
    }
    return begun.precision;
  }

  /** What a folder notes of the comparison that began there, as it is written; null in another folder. */
  static async note(home: Store): Promise<string | null> {
    return (await home.has(BEGUN_FILE)) ? new TextDecoder().decode(await home.read(BEGUN_FILE)) : null;
  }

  /** Notes what the comparison begins with, unless it began earlier. */
  async begin(data: ComparisonData, precision: TrainConfig['precision']): Promise<void> {
    if (this.begun) return;
    const { name, scale } = this.suite;
    const noted: Begun = { suite: name, scale, precision, data: describeData(data) };
    await this.#write(BEGUN_FILE, noted);
  }

  /** Steps of all models in turns, at the mini scale; measured once and kept. */
  async timings(
    results: readonly RunResult[],
    { data, runtime, clock, store, provenance }: ComparisonOptions,
    onStep: (done: number, of: number) => void,
  ): Promise<readonly Timing[]> {
    const { suite, home } = this;
    if (suite.scale === 'full') return [];
    const finished = suite.models.flatMap(({ name }) => results.find((r) => r.name === name) ?? []);
    if (await home.has(TIMINGS_FILE)) {
      const { timings } = (await readJSON(home, TIMINGS_FILE, 'delete it to time the steps again')) as {
        timings?: readonly Timing[];
      };
      if (timings && finished.every(({ name }) => timings.some((timing) => timing.name === name)))
        return timings;
    }
    const models = finished.map(({ name, config }) => ({
      name,
      config,
      store: store(runName(name, chosenFields(suite, config), config.train.seed)),
    }));
    const timings = await measureTimings(models, data.val, runtime.backend, clock, provenance, onStep);
    await this.#write(TIMINGS_FILE, { timings });
    return timings;
  }

  /** Writes the report as a page, as Markdown with its charts, and as numbers. */
  async writeReport(context: ReportContext, document: ComparisonDocument): Promise<void> {
    const { title } = this.suite;
    const sections = reportSections(document.results, context);
    await this.home.replace('report.html', renderHtml(title, sections));
    await this.home.replace('report.md', renderMarkdown(title, sections));
    for (const [name, svg] of chartFiles(sections)) await this.home.replace(`plots/${name}`, svg);
    await this.#write('results.json', document);
  }

  #write(file: string, value: object): Promise<void> {
    return this.home.replace(file, `${JSON.stringify(value, null, 2)}\n`);
  }
}

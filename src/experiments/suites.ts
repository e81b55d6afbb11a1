/** Suites: which models a comparison trains, on which text, for how long. Knows no training. */
import { unknownName } from '../models/fields.js';

export interface Suite {
  readonly name: string;
  /** What the suite shows, in one line. */
  readonly title: string;
  /** Presets, the baseline first. */
  readonly models: readonly { readonly preset: string; readonly label: string }[];
  /** A built-in corpus and the tokenizer it is prepared with. */
  readonly corpus: string;
  readonly tokenizer: string;
  /** Model and training fields that all models share, over those of their presets. */
  readonly model: Readonly<Record<string, unknown>>;
  readonly train: Readonly<Record<string, unknown>>;
  /** What every trained model continues. */
  readonly prompt: string;
}

const SUITES: readonly Suite[] = [
  {
    name: 'demo',
    title: 'One block, the same block looped twice, and two blocks',
    models: [
      { preset: 'mini-1x1', label: '1 layer' },
      { preset: 'mini-1x2', label: '1 layer × 2 loops' },
      { preset: 'mini-2x1', label: '2 layers' },
    ],
    corpus: 'sotu',
    tokenizer: 'bytes',
    // Narrow, so that minutes are enough to pass the point from which depth pays (docs/log.md).
    model: { nEmbd: 64, blockSize: 256 },
    train: {
      batchSize: 8,
      maxSteps: 3000,
      warmupSteps: 100,
      lr: 3e-3,
      minLr: 3e-4,
      evalInterval: 250,
      evalBatches: 16,
      checkpointInterval: 1000,
    },
    prompt: 'The people of the United States',
  },
];

/** A suite by name. Throws ConfigError for an unknown one. */
export function findSuite(name: string): Suite {
  const suite = SUITES.find((s) => s.name === name);
  if (!suite) {
    throw unknownName(
      '--suite',
      'name',
      name,
      SUITES.map((s) => s.name),
    );
  }
  return suite;
}

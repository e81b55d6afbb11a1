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
  /** Training fields that all models share, over those of their presets. */
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
    tokenizer: 'bpe:4096',
    train: { maxSteps: 400, warmupSteps: 40, evalInterval: 40, evalBatches: 8, checkpointInterval: 100 },
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

/** The entrants of the race, and their sizes. */
import { seriesColor } from '../../../experiments/style.js';
import type { ModelConfig } from '../../../models/config.js';
import { type ModelCost, modelCost } from '../../../models/cost.js';
import { parseRunConfig, type RunConfig } from '../../../train/config.js';

export interface Entrant {
  /** The name of the entrant's folder. */
  readonly id: string;
  readonly label: string;
  readonly color: string;
  readonly depth: Partial<ModelConfig>;
}

export const ENTRANTS: readonly Entrant[] = [
  { id: 'one-layer', label: '1 layer', color: seriesColor(3), depth: { depth: 'gpt2', nLayer: 1 } },
  {
    id: 'looped',
    label: '1 layer × 2 loops',
    color: seriesColor(0),
    depth: { depth: 'loop', nLayer: 1, nLoop: 2 },
  },
  { id: 'two-layers', label: '2 layers', color: seriesColor(2), depth: { depth: 'gpt2', nLayer: 2 } },
];

export interface RaceSize {
  readonly label: string;
  readonly model: Partial<ModelConfig>;
  readonly maxSteps: number;
}

export const SIZES = {
  small: {
    label: 'small: 64 channels, 64 tokens at a time',
    model: { nEmbd: 64, nHead: 4, blockSize: 64 },
    maxSteps: 600,
  },
  medium: {
    label: 'medium: 128 channels, 128 tokens at a time',
    model: { nEmbd: 128, nHead: 4, blockSize: 128 },
    maxSteps: 1500,
  },
} as const satisfies Record<string, RaceSize>;

export type SizeName = keyof typeof SIZES;

/** Number of ids in the vocabulary, which is learned from the text; a short text gives fewer. */
export const VOCAB_SIZE = 512;

/**
 * Why models of a size cannot learn a text, in words; null if they can. The training part and the held-out part must
 * each hold a sequence, and the held-out tenth is the shorter part.
 */
export function tooFewTokens(heldOut: number, size: SizeName): string | null {
  const { blockSize } = SIZES[size].model;
  if (heldOut > blockSize) return null;
  const way =
    size === 'small' ? 'a text that is longer, or repeats itself less' : 'a longer text, or the small size';
  return (
    `The text’s last tenth, which is held out, has only ${heldOut} tokens (pieces of words), and these models read ` +
    `${blockSize} at a time: choose ${way}.`
  );
}

/** An entrant's configuration; `maxSteps` may be below that of the size. */
export function raceConfig(
  { depth }: Entrant,
  size: SizeName,
  vocabSize: number,
  maxSteps: number = SIZES[size].maxSteps,
): RunConfig {
  const train = {
    ...{
      batchSize: 8,
      maxSteps,
      lr: 3e-3,
      minLr: 3e-4,
      warmupSteps: Math.min(40, Math.floor(maxSteps / 10)),
    },
    ...{ evalInterval: 50, evalBatches: 4, checkpointInterval: 25, precision: 'f32' },
  };
  const model = { vocabSize, initStd: 'width', ...SIZES[size].model, ...depth };
  return parseRunConfig({ model, train }, 'the race');
}

/** An entrant's size and cost. */
export interface EntrantCost {
  readonly parameters: number;
  /** FLOPs per token of training: forward and backward. */
  readonly flopsPerToken: number;
}

export function costOf(config: ModelConfig): EntrantCost {
  const { parameters, flopsPerToken }: ModelCost = modelCost(config);
  return { parameters: parameters.total, flopsPerToken: flopsPerToken.forward + flopsPerToken.backward };
}

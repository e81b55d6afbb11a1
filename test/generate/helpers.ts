/** Shared by the generation tests: small random models, decoders that count or follow a script, and whole answers. */
import type { Backend } from '../../src/backend/backend.js';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import {
  Decoder,
  type Extension,
  type Next,
  type Sequence,
  type SequenceOptions,
} from '../../src/generate/decoder.js';
import type { Engine } from '../../src/generate/engine.js';
import type { GeneratedToken, GenerationEnd, GenerationRequest } from '../../src/generate/request.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';

/** A model with random weights that knows bytes; `config` overrides its dimensions. */
export function randomModel(
  config: Record<string, unknown> = {},
  backend: Backend = onEngine(new NativeBackend('f32')),
) {
  const tiny = { vocabSize: 257, blockSize: 32, nHead: 2, nEmbd: 8, nLayer: 1 };
  const model = new GPT(parseModelConfig({ ...tiny, ...config }), new Runtime(backend), { train: false });
  for (const p of model.parameters.all) {
    const gain = p.role === 'norm' ? 1 : 0;
    const values = normal(3, p.name, p.size, 0.4).map((x) => x + gain);
    backend.write(p.storage, values);
  }
  return model;
}

/** Counts the sequences that are open, and keeps the token counts of each step. */
export class CountingDecoder extends Decoder {
  living = new Set<Sequence>();
  opened = 0;
  readonly stepSizes: number[][] = [];

  override open(options?: SequenceOptions): Sequence {
    const sequence = super.open(options);
    this.opened++;
    this.living.add(sequence);
    const dispose = sequence.dispose.bind(sequence);
    sequence.dispose = () => {
      this.living.delete(sequence);
      dispose();
    };
    return sequence;
  }

  override extend(batch: readonly Extension[]): Promise<Next> {
    this.stepSizes.push(batch.map(({ tokens }) => tokens.length));
    return super.extend(batch);
  }
}

/** Makes the token at place i of every sequence `script[i]`, whatever the model says. */
export class ScriptedDecoder extends Decoder {
  constructor(
    model: GPT,
    private readonly script: ArrayLike<number>,
  ) {
    super(model);
  }

  override async extend(batch: readonly Extension[]): Promise<Next> {
    const next = await super.extend(batch);
    const { vocabSize: V } = this.model.config;
    next.logits.fill(-5);
    for (const [b, { sequence }] of batch.entries()) next.logits[b * V + this.script[sequence.length]] = 5;
    return next;
  }
}

export interface Answer {
  readonly tokens: GeneratedToken[];
  readonly end: GenerationEnd;
  /** Everything that belongs to the answer. */
  readonly text: string;
}

/** Reads an answer to its end; `onToken` may wait, and is told how many tokens there are. */
export async function answer(
  engine: Engine,
  request: GenerationRequest,
  signal?: AbortSignal,
  onToken?: (made: number) => unknown,
): Promise<Answer> {
  const stream = engine.generate(request, signal);
  const tokens: GeneratedToken[] = [];
  for (;;) {
    const next = await stream.next();
    if (next.done) {
      const text = tokens.map((token) => token.text).join('') + next.value.text;
      return { tokens, end: next.value, text };
    }
    tokens.push(next.value);
    await onToken?.(tokens.length);
  }
}

/** Every system, as fields of a small model and of its training, for tests that go through all of them. */
export type System = readonly [model: Record<string, unknown>, train?: Record<string, unknown>];

const plain = { depth: 'gpt2', nLoop: 1 };
export const systems: Record<string, System> = {
  gpt2: [plain],
  loop: [{ nInnerLoop: 2 }],
  'loop, sampled and truncated': [{ nLoop: 4 }, { loopSampling: 'poisson', backpropLoops: 2 }],
  'loop, layout, injection, every loss': [
    { nLayer: 3, nPrelude: 1, nCoda: 1, inputInjection: 'linear', nLoop: 3 },
    { exitLoss: 'linear', loopSampling: 'uniform' },
  ],
  'loop, stable injection into a random state, embeddings, norm': [
    { nLoop: 3, inputInjection: 'stable', initialState: 'random', loopEmbedding: true, loopNorm: true },
    { loopSampling: 'poisson', backpropLoops: 2 },
  ],
  'loop, dynamic streams, scalars': [
    { nLoop: 3, inputInjection: 'scalars', hyperConnections: 'dynamic', nStream: 3 },
  ],
  'loop, ACT': [{ nLoop: 3, halting: 'act' }, { ponderCost: 0.1 }],
  'loop, confidence': [{ nLoop: 3, halting: 'confidence', exitHead: 'separate' }, { exitLoss: 'uniform' }],
  'loop, from one loop to three, Muon, averaged weights': [
    { nLoop: 3 },
    { loopSchedule: 'grow', loopStart: 0.4, optimizer: 'muon', muonLr: 0.05, emaDecay: 0.6 },
  ],
  universal: [{ depth: 'universal', nLayer: 1, nLoop: 3 }],
  'universal, pre, ACT': [{ depth: 'universal', nLayer: 1, nLoop: 3, norm: 'pre', halting: 'act' }],
  'adaptive, geometric': [
    { depth: 'adaptive', nLoop: 1, nLayer: 3, halting: 'geometric' },
    { exitLoss: 'uniform' },
  ],
  'adaptive, multinomial, correctness': [
    { depth: 'adaptive', nLoop: 1, nLayer: 3, halting: 'multinomial', exitHead: 'separate' },
    { exitLoss: 'linear', oracle: 'correctness' },
  ],
  'adaptive, sequence': [
    { depth: 'adaptive', nLoop: 1, nLayer: 3, halting: 'sequence' },
    { exitLoss: 'uniform' },
  ],
  'adaptive, mixed, confidence': [
    { depth: 'adaptive', nLoop: 1, nLayer: 3, halting: 'confidence' },
    { exitLoss: 'mixed' },
  ],
  'sharing, sequence': [{ depth: 'sharing', nLoop: 1, nApplication: 4, sharing: 'sequence' }],
  'sharing, cycle': [{ depth: 'sharing', nLoop: 1, nApplication: 5, sharing: 'cycle' }],
  'sharing, cycle-rev': [{ depth: 'sharing', nLoop: 1, nApplication: 5, sharing: 'cycle-rev' }],
};

/** Trains the two networks of the parity part side by side; they take turns step by step. */
import { QUICK_PARITY, trainParity } from '../../experiments/parity.js';
import { Runtime } from '../../tensor/tensor.js';
import { createBackend } from '../../web/backend.js';
import { messageOf } from '../shared/words.js';
import { NETWORKS, type ParityEvent } from './parity/messages.js';

const tell = (event: ParityEvent) => postMessage(event);

async function train(): Promise<void> {
  // The networks' matrices are too small to be divided among threads.
  const backend = await createBackend({ threads: 1, onWarning: () => {} });
  const trainings = NETWORKS.map(({ changes }, network) =>
    trainParity({ ...QUICK_PARITY, ...changes }, new Runtime(backend), (point) =>
      tell({ kind: 'point', network, point }),
    ),
  );
  tell({ kind: 'done', results: await Promise.all(trainings) });
}

train().catch((error: unknown) => tell({ kind: 'failed', message: messageOf(error) }));

/** The engine that tests run on: the one that they name, or with LOOPNN_BACKEND=delayed its kernels run when something is read. */
import type { Backend } from '../src/backend/backend.js';
import { DelayedBackend } from '../src/backend/delayed.js';

export const delayed = process.env.LOOPNN_BACKEND === 'delayed';

export function onEngine(usual: Backend): Backend {
  return delayed ? new DelayedBackend(usual) : usual;
}

/** A thread of the WebAssembly module under Node. */
import { parentPort, workerData } from 'node:worker_threads';
import { runThread } from '../backend/wasm/thread.js';

export type ReadyMessage = 'ready';

runThread(workerData, () => parentPort!.postMessage('ready' satisfies ReadyMessage));

/** The thread that `in-thread.ts` starts: a server in it, which no computation of another thread delays. */
import { parentPort, workerData } from 'node:worker_threads';
import { ApiKeys } from '../serve/keys.js';
import { codeOf } from '../node/file-errors.js';
import { WatchServer, type WatchServerOptions } from './server.js';

const options = workerData as Omit<WatchServerOptions, 'keys'>;
const keys = new ApiKeys([], '');
try {
  const server = await WatchServer.start({ ...options, keys }).catch((error: unknown) => {
    // Another training has it.
    if (codeOf(error) !== 'EADDRINUSE') throw error;
    return WatchServer.start({ ...options, keys, port: 0 });
  });
  parentPort!.postMessage({ url: server.url });
} catch (error) {
  parentPort!.postMessage({ failure: (error as Error).message });
}

/** A server that shows runs beside the work of this process, on this machine alone. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ConfigError } from '../errors.js';
import { DEFAULT_PORT } from './port.js';

export interface Watching extends AsyncDisposable {
  readonly url: string;
}

/** Listens on the usual port, or any free one. Throws ConfigError if it can not. */
export async function watchInThread(folder: string): Promise<Watching> {
  const thread = new Worker(new URL('./thread.js', import.meta.url), {
    workerData: { folders: [folder], host: '127.0.0.1', port: DEFAULT_PORT },
    execArgv: [],
  });
  thread.unref();
  const [{ url, failure }] = (await once(thread, 'message')) as [{ url?: string; failure?: string }];
  thread.on('error', () => {}); // the page ends; the work continues
  const dispose = async () => {
    await thread.terminate();
  };
  if (url !== undefined) return { url, [Symbol.asyncDispose]: dispose };
  await dispose();
  throw new ConfigError('--watch', `must find its page and a port (${failure})`);
}

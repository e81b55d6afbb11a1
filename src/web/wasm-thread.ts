/** A thread of the WebAssembly module in a browser. */
import { runThread, type ThreadStart } from '../backend/wasm/thread.js';

export type ReadyMessage = 'ready';

const self = globalThis as unknown as {
  onmessage: (message: { readonly data: ThreadStart }) => void;
  postMessage(message: ReadyMessage): void;
};

self.onmessage = ({ data }) => runThread(data, () => self.postMessage('ready'));

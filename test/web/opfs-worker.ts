/** In a browser's worker: does one thing with a store in OPFS and posts what came of it, or what went wrong. */
import { createBackend, MemoryStore, OpfsStore, type TrainEvent } from '../../src/browser.js';
import { storeFindings } from './store-findings.js';
import { trainedBits } from './same-bits.js';

const self = globalThis as unknown as {
  onmessage: (message: { readonly data: string }) => void;
  postMessage(message: unknown): void;
  readonly navigator: { readonly storage: { getDirectory(): Promise<Directory> } };
};
interface Directory {
  readonly kind: string;
  readonly name: string;
  values(): AsyncIterable<Directory>;
  getFileHandle(name: string, options: { readonly create: boolean }): Promise<unknown>;
}

const utf8 = new TextEncoder();
const forever = () => new Promise<never>(() => {});
const store = new OpfsStore('runs/test');

/** A file that is written for ever: code that waits for `middle` may end this worker. */
async function* endless(): AsyncGenerator<Uint8Array> {
  yield utf8.encode('half of it');
  self.postMessage('middle');
  await forever();
}

async function interruptAfter(step: number, event: TrainEvent): Promise<void> {
  if (event.kind !== 'step' || event.step !== step) return;
  self.postMessage('middle');
  await forever();
}

/** Everything in the private file system, what is hidden too. */
async function everything(folder: Directory, path = ''): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of folder.values()) {
    const name = path + entry.name;
    names.push(...(entry.kind === 'file' ? [name] : [`${name}/`, ...(await everything(entry, `${name}/`))]));
  }
  return names.sort();
}

const TASKS: Readonly<Record<string, () => Promise<unknown>>> = {
  findings: () => storeFindings(new OpfsStore('findings/worker')),
  everything: async () => everything(await self.navigator.storage.getDirectory()),
  others: async () => {
    const root = await self.navigator.storage.getDirectory();
    await root.getFileHandle('other.partial', { create: true });
  },
  write: async () => {
    await store.replace('config.json', 'former');
    await store.createFolder('checkpoints/last-1', [['weights', [utf8.encode('former')]]]);
  },
  replace: () => store.replace('config.json', endless()),
  create: () =>
    store.createFolder('checkpoints/last-2', [
      ['a', [utf8.encode('a')]],
      ['b', endless()],
    ]),
  overwrite: () => store.createFolder('checkpoints/last-1', [['weights', endless()]]),
  read: async () => ({
    top: await store.list('.'),
    checkpoints: await store.list('checkpoints'),
    config: new TextDecoder().decode(await store.read('config.json')),
    weights: new TextDecoder().decode(await store.read('checkpoints/last-1/weights')),
  }),
  fill: () => store.replace('config.json', new Uint8Array(8e6)),
  fillFolder: () => store.createFolder('checkpoints/last-2', [['weights', [new Uint8Array(8e6)]]]),
  lock: async () => {
    await store.lock();
    self.postMessage('middle');
    await forever();
  },
  lockAndLeave: async () => {
    await using _lock = await store.lock();
    await store.append('log', 'mine\n');
  },
  trainHalf: async () =>
    trainedBits(await createBackend(), new OpfsStore('trained'), (event) => interruptAfter(5, event)),
  steps: () => new OpfsStore('trained').list('checkpoints'),
  train: async () => trainedBits(await createBackend(), new OpfsStore('trained')),
  trainAnew: async () => trainedBits(await createBackend(), new MemoryStore()),
};

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ found: await TASKS[data]() });
  } catch (error) {
    self.postMessage({ error: `${(error as Error).constructor.name}: ${(error as Error).message}` });
  }
};

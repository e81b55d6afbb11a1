/** What any store must do: the same steps, told in the same words, whatever it is over. */
import type { Store } from '../../src/browser.js';

const utf8 = new TextEncoder();
const text = async (store: Store, path: string) => new TextDecoder().decode(await store.read(path));
const failed = async (work: Promise<unknown>) => {
  try {
    await work;
    return false;
  } catch {
    return true;
  }
};

export async function storeFindings(store: Store): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  found.empty = [
    await store.list('.'),
    await store.has('config.json'),
    await failed(store.read('config.json')),
  ];
  await store.replace('config.json', 'one');
  await store.replace('config.json', utf8.encode('two'));
  await store.append('log', 'a\n');
  await store.append('log', utf8.encode('b\n'));
  await store.append('below/this/log', 'c\n');
  await store.createFolder('checkpoints/last-1', [
    ['weights', pieces('first ', 'then ', 'last')],
    ['state', [utf8.encode('1')]],
  ]);
  await store.createFolder('checkpoints/last-1', [['state', [utf8.encode('again')]]].map(both));
  await store.createFolder('checkpoints/last-1', [['weights', pieces('a', 'b', 'c')]].map(both));
  await store.createFolder('checkpoints/best-1', [['inner/weights', pieces('w')]].map(both));
  const lists = ['.', 'checkpoints', 'checkpoints/last-1', 'checkpoints/best-1', 'nothing'];
  found.lists = await Promise.all(lists.map((path) => store.list(path)));
  const paths = ['config.json', 'log', 'below/this/log', 'checkpoints/last-1/weights'];
  found.texts = await Promise.all(paths.map((path) => text(store, path)));
  found.inner = await text(store, 'checkpoints/best-1/inner/weights');
  found.has = await Promise.all(['checkpoints', 'checkpoints/last-1', 'no'].map((path) => store.has(path)));
  await using file = await store.open('config.json');
  const part = new Uint8Array(2);
  await file.read(part, 1);
  found.part = [file.size, new TextDecoder().decode(part), await failed(file.read(part, 2))];
  found.brokenFolder = await failed(store.createFolder('checkpoints/last-2', [['weights', breaking()]]));
  found.brokenAgain = await failed(store.createFolder('checkpoints/last-1', [['weights', breaking()]]));
  await store.remove('checkpoints/best-1');
  await store.remove('checkpoints/best-1');
  found.removed = [await store.list('checkpoints'), await text(store, 'checkpoints/last-1/weights')];
  found.crc = store.crc32c(utf8.encode('123456789'));
  return found;
}

const both = ([name, content]: unknown[]) => [name, content] as [string, AsyncIterable<Uint8Array>];

/** Two buffers in turns: a piece may be overwritten by the one after the next. */
async function* pieces(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  const buffers = [new Uint8Array(16), new Uint8Array(16)];
  for (const [i, piece] of texts.entries()) {
    yield buffers[i % 2].subarray(0, utf8.encodeInto(piece, buffers[i % 2]).written);
  }
}

async function* breaking(): AsyncGenerator<Uint8Array> {
  yield utf8.encode('half');
  throw new Error('no more');
}

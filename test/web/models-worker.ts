/** In a browser's worker: loads the run that it is told of and says what it generates, or what went wrong. */
import { loadModel, MemoryStore, type ModelSource, OpfsStore } from '../../src/browser.js';

const self = globalThis as unknown as {
  onmessage: (message: { readonly data: Asked }) => void;
  postMessage(message: unknown): void;
};
export interface Asked {
  readonly url: string;
  /** How the worker comes to the run: by its URL, a copy of that, files of its own, or a folder of OPFS. */
  readonly by: 'url' | 'cache' | 'files' | 'folder' | 'store';
}

self.onmessage = async ({ data: { url, by } }) => {
  const warnings: string[] = [];
  try {
    await using model = await loadModel(await sourceOf(url, by), {
      cache: by === 'cache',
      onWarning: (message) => warnings.push(message),
    });
    let text = '';
    for await (const part of model.generate('What ', { maxTokens: 12, temperature: 0 })) text += part.text;
    self.postMessage({ text, warnings });
  } catch (error) {
    self.postMessage({
      error: `${(error as Error).constructor.name}: ${(error as Error).message}`,
      warnings,
    });
  }
};

async function sourceOf(url: string, by: Asked['by']): Promise<ModelSource> {
  if (by === 'url' || by === 'cache') return url;
  const index = (await (await fetch(`${url}/checksums.json`)).json()) as { files: Record<string, unknown> };
  const names = Object.keys(index.files);
  const contents = await Promise.all(
    names.map(async (name) => [name, await (await fetch(`${url}/${name}`)).blob()] as const),
  );
  if (by === 'files') {
    return contents.map(([name, blob]) => {
      const path = { webkitRelativePath: `picked/${name}`, name: name.split('/').at(-1)! };
      return Object.assign(new Blob([blob]), path);
    });
  }
  const store = by === 'folder' ? new OpfsStore('given') : new MemoryStore();
  for (const [name, blob] of contents) await store.replace(name, new Uint8Array(await blob.arrayBuffer()));
  if (by === 'store') return store;
  const { navigator } = globalThis as unknown as {
    navigator: { storage: { getDirectory(): Promise<{ getDirectoryHandle(name: string): Promise<never> }> } };
  };
  return (await navigator.storage.getDirectory()).getDirectoryHandle('given');
}

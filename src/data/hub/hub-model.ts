/**
 * A model on the hub as files by name: `hf:owner/name`, at `@revision`. Only requested files are downloaded;
 * `huggingface.ts` decides which files a model needs.
 */
import { CheckpointError } from '../../errors.js';
import type { HubFile } from './hub.js';
import { announce, type DownloadOptions, downloadFiles, parseHubSpec } from './hub-download.js';
import type { ModelFiles } from './model-files.js';

/** Lists a model's files. Throws DataError if the model is missing or not accessible, or the hub cannot be reached. */
export async function openHubModel(spec: string, options: DownloadOptions = {}): Promise<ModelFiles> {
  const { name, revision } = parseHubSpec(spec);
  const { Hub } = await import('./hub.js');
  const hub = new Hub(options);
  const listing = await hub.list({ type: 'model', name }, revision);
  const byPath = new Map(listing.files.map((file) => [file.path, file]));
  const filesOf = (names: readonly string[]): HubFile[] => names.map((path) => byPath.get(path)!);
  return {
    where: spec,
    names: [...new Set([...byPath.keys()].map((path) => path.split('/')[0]))].sort(),
    async size(name) {
      const file = byPath.get(name);
      if (!file) throw new CheckpointError(`${spec}/${name}`, 'must be a file', 'a folder');
      return file.size;
    },
    announce: (names) => announce(hub, listing, filesOf(names), options),
    async fetch(names) {
      const paths: string[] = [];
      for await (const { path } of downloadFiles(hub, listing, filesOf(names), options)) paths.push(path);
      return paths;
    },
  };
}

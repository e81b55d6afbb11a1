/** Files dropped on a page, or picked as a folder. */
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';
import { blobFile } from './content.js';
import { ListedStore } from './listed-store.js';

/** A File from `<input type="file" webkitdirectory>`: with its path below the picked folder's own name. */
export interface PageFile extends Blob {
  readonly name: string;
  readonly webkitRelativePath: string;
}

export class FilesStore extends ListedStore {
  private readonly files: ReadonlyMap<string, PageFile>;

  constructor(files: Iterable<PageFile>) {
    const found = new Map(
      [...files].map((file) => [file.webkitRelativePath.split('/').slice(1).join('/') || file.name, file]),
    );
    const [first] = found.values();
    super(first?.webkitRelativePath.split('/')[0] || 'files', [...found.keys()]);
    this.files = found;
  }

  async open(path: string): Promise<RandomAccessFile> {
    const file = this.files.get(path);
    if (!file) throw new CheckpointError(`${this.name}/${path}`, 'must be among the files that were picked');
    return blobFile(`${this.name}/${path}`, file);
  }
}

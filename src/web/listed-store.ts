/** What read-only stores with a list of files have in common: at a URL, and of Files on a page. */
import { ConfigError } from '../errors.js';
import { crc32c } from '../formats/crc32c.js';
import type { RandomAccessFile, Store } from '../platform.js';
import { contentOf, hasPath, namesIn } from './content.js';

export abstract class ListedStore implements Store {
  readonly crc32c = crc32c;

  /**
   * @param name the store's name for messages
   * @param paths the paths of all files
   */
  constructor(
    readonly name: string,
    protected readonly paths: readonly string[],
  ) {}

  abstract open(path: string): Promise<RandomAccessFile>;

  async read(path: string): Promise<Uint8Array> {
    return contentOf(await this.open(path));
  }

  async has(path: string): Promise<boolean> {
    return hasPath(this.paths, path);
  }

  async list(path: string): Promise<string[]> {
    return namesIn(this.paths, path);
  }

  append = this.refuse;
  replace = this.refuse;
  createFolder = this.refuse;
  remove = this.refuse;
  lock = this.refuse;

  private async refuse(): Promise<never> {
    throw new ConfigError(this.name, 'is read-only', undefined, 'train into an OpfsStore or a MemoryStore');
  }
}

/** A page of runs while they are trained: `loopnn watch`, and `watchRuns` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { stat } from 'node:fs/promises';
import { ConfigError } from '../errors.js';
import { ApiKeys } from '../serve/keys.js';
import { WatchServer } from '../watch/server.js';

export interface WatchOptions {
  /** Folders that contain runs, or will contain them. */
  readonly runs: readonly string[];
  /** Address to listen on; 127.0.0.1, which only this machine reaches, by default. */
  readonly host?: string;
  /** Port to listen on; 0, the default, is any free one. */
  readonly port?: number;
  /** Keys, one of which the page needs; without keys the page is open. */
  readonly apiKeys?: readonly string[] | ApiKeys;
}

const WATCH_OPTIONS: OptionNames<WatchOptions> = {
  runs: true,
  host: true,
  port: true,
  apiKeys: true,
};

/** The page, while it is shown. */
export interface RunsPage extends AsyncDisposable {
  readonly url: string;
  /** How many runs there were at the first look. */
  readonly found: Promise<number>;
  /** Ends it at once. */
  close(): Promise<void>;
}

/**
 * Shows all runs below some folders on a page, and follows their logs as they grow. Writes nothing.
 *
 * @throws ConfigError for a path that is not a folder, for keys that no header can carry, and if the page is not built;
 * Node's error if the port is taken
 *
 * @example
 * const page = await watchRuns({ runs: ['runs'] });
 * console.log(`${await page.found} runs on ${page.url}`);
 * await page.close();
 */
export async function watchRuns(options: WatchOptions): Promise<RunsPage> {
  requireOptionNames('watchRuns', options, WATCH_OPTIONS);
  const { runs, host = '127.0.0.1', port = 0, apiKeys = [] } = options;
  for (const folder of runs) {
    const found = await stat(folder).catch(() => null);
    if (found?.isDirectory()) continue;
    const hint = found
      ? 'give the folder that holds it'
      : 'runs may be added later, the folder must be there';
    throw new ConfigError(folder, 'must be a folder with runs below it', found ? 'a file' : undefined, hint);
  }
  const keys = apiKeys instanceof ApiKeys ? apiKeys : new ApiKeys(apiKeys, 'apiKeys');
  return WatchServer.start({ folders: runs, host, port, keys });
}

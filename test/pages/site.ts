/** A built page on a server of static files, with the headers that it is sent with. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { PageFiles } from '../../src/node/page-files.js';

export interface PageSite extends AsyncDisposable {
  readonly url: string;
}

/** @param isolated whether the page may share memory with its workers */
export async function servePage(name: string, { isolated = true } = {}): Promise<PageSite> {
  const files = new PageFiles(name);
  const server = createServer((request, response) => {
    const file = files.file(new URL(request.url!, 'http://localhost').pathname);
    if (!file) {
      response.writeHead(404).end();
      return;
    }
    const kept = Object.entries(file.headers).filter(
      ([name]) => isolated || !name.startsWith('cross-origin-'),
    );
    response.writeHead(200, Object.fromEntries(kept));
    Readable.fromWeb(file.content as Parameters<typeof Readable.fromWeb>[0]).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A hub on loopback that answers what the client asks of the real one, and fails where a test tells it to. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubServerFile {
  readonly path: string;
  readonly bytes: Buffer;
  /** Kept as git keeps small files, with its SHA-1, and not by SHA-256. */
  readonly small?: boolean;
}

/**
 * What goes wrong with an answer: a status, with seconds to wait; the connection dropped, or the body ended as if it
 * were whole, after some bytes; a body that is too long, of which bytes are wrong; a range that is ignored.
 */
export interface Failure {
  readonly status?: number;
  readonly retryAfter?: number;
  readonly dropAfter?: number;
  readonly endAfter?: number;
  readonly surplus?: number;
  readonly wrongByte?: number;
  readonly size?: number;
  readonly ignoreRange?: true;
}

/** Which requests: for the repository, for the list of files, for a file's size, for its bytes. */
export type Kind = 'info' | 'tree' | 'size' | 'bytes';

export class HubServer {
  url = '';
  /** Every request as 'kind path range'. */
  readonly requests: string[] = [];
  readonly tokens = new Set<string | undefined>();
  /** Called for each request for bytes, before it is answered. */
  onBytes: (() => void) | undefined;
  /** A token without which nothing is shown. */
  secret: string | undefined;
  /** A name that it had before; who asks by it is sent on, as by the real hub. */
  former: string | undefined;
  /** Whether files are shown in lists, and given to nobody. */
  gated = false;
  /** What of the list of files does not end: its pages, with files or without, or a page. */
  endless: 'pages' | 'empty pages' | 'page' | null = null;
  readonly sha = createHash('sha1').update('commit').digest('hex');
  readonly #failures: { kind: Kind; failure: Failure }[] = [];
  readonly #server = createServer((request, response) => this.#answer(request, response));

  constructor(
    readonly name: string,
    readonly files: HubServerFile[],
    readonly revision = 'main',
    readonly type: 'dataset' | 'model' = 'dataset',
  ) {}

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** The next request of a kind fails so; several are used up in turn. */
  fail(kind: Kind, ...failures: Failure[]): void {
    this.#failures.push(...failures.map((failure) => ({ kind, failure })));
  }

  /** Failures that were not used are forgotten. */
  mend(): void {
    this.#failures.length = 0;
  }

  get unusedFailures(): number {
    return this.#failures.length;
  }

  #take(kind: Kind): Failure | undefined {
    const index = this.#failures.findIndex((planned) => planned.kind === kind);
    return index < 0 ? undefined : this.#failures.splice(index, 1)[0].failure;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    const token = request.headers.authorization?.replace('Bearer ', '');
    const path = decodeURIComponent(url.pathname);
    if (path.startsWith('/storage/')) {
      this.#storage(path.slice('/storage/'.length), request, response);
      return;
    }
    this.tokens.add(token);
    if (this.secret !== undefined && token !== this.secret) {
      json(response, 401, { error: 'closed' });
      return;
    }
    const api = `/api/${this.type}s/${this.name}`;
    const before = `/api/${this.type}s/${this.former}/`;
    if (this.former !== undefined && path.startsWith(before)) {
      this.requests.push(`moved ${path}`);
      response
        .writeHead(307, { location: url.href.slice(url.origin.length).replace(before, `${api}/`) })
        .end();
      return;
    }
    const known = [this.revision, this.sha];
    if (known.some((revision) => path === `${api}/revision/${revision}`)) {
      if (this.#status('info', path, response)) return;
      json(response, 200, { _id: '1', id: this.name, sha: this.sha, lastModified: '2024-01-01' });
      return;
    }
    if (path === `${api}/tree/${this.sha}`) {
      this.#tree(url, response);
      return;
    }
    const resolve = `${this.type === 'model' ? '' : '/datasets'}/${this.name}/resolve/${this.sha}/`;
    if (path.startsWith(resolve)) {
      if (this.gated) {
        json(response, 403, { error: 'gated' });
        return;
      }
      // As the real hub does, bytes come from another place.
      response.writeHead(302, { location: `${this.url}/storage/${path.slice(resolve.length)}` }).end();
      return;
    }
    json(response, 404, { error: 'not found' });
  }

  /** The list of files, two a page. */
  #tree(url: URL, response: ServerResponse): void {
    if (this.#status('tree', url.search, response)) return;
    if (this.endless === 'page') {
      const piece = Buffer.alloc(1 << 20, ' ');
      response.writeHead(200, { 'content-type': 'application/json' });
      const more = (): void => void response.write(piece, (error) => error ?? more());
      more();
      return;
    }
    if (this.endless !== null) {
      const page = Number(url.searchParams.get('cursor') ?? 0);
      url.searchParams.set('cursor', String(page + 1));
      response.setHeader('Link', `<${url}>; rel="next"`);
      const file = { type: 'file', path: `${page}.txt`, size: 1, oid: this.sha };
      json(response, 200, this.endless === 'pages' ? [file] : []);
      return;
    }
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const page = this.files.slice(start, start + 2).map(({ path, bytes, small }) => {
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const lfs = small ? {} : { lfs: { oid: sha256, size: bytes.length, pointerSize: 133 } };
      return { type: 'file', path, size: bytes.length, oid, ...lfs };
    });
    if (start + 2 < this.files.length) {
      url.searchParams.set('cursor', String(start + 2));
      response.setHeader('Link', `<${url}>; rel="next"`);
    }
    json(response, 200, page);
  }

  #storage(path: string, request: IncomingMessage, response: ServerResponse): void {
    const file = this.files.find((candidate) => candidate.path === path);
    if (file === undefined) {
      json(response, 404, { error: 'not found' });
      return;
    }
    const { range } = request.headers;
    const kind = range === 'bytes=0-0' ? 'size' : 'bytes';
    if (kind === 'bytes') this.onBytes?.();
    this.requests.push(`${kind} ${path} ${range ?? 'all'}`);
    const failure = this.#take(kind) ?? {};
    if (failure.status !== undefined) {
      refuse(response, failure.status, failure.retryAfter);
      return;
    }
    const match = failure.ignoreRange ? null : /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
    const total = failure.size ?? file.bytes.length;
    let body = Buffer.from(match ? file.bytes.subarray(Number(match[1]), Number(match[2]) + 1) : file.bytes);
    if (failure.wrongByte !== undefined) body[failure.wrongByte] ^= 0xff;
    if (failure.surplus !== undefined) body = Buffer.concat([body, Buffer.alloc(failure.surplus)]);
    const length = failure.endAfter ?? body.length;
    const headers = { 'content-length': length, etag: '"etag"', 'accept-ranges': 'bytes' };
    const part = match ? { 'content-range': `bytes ${match[1]}-${match[2]}/${total}` } : {};
    response.writeHead(match ? 206 : 200, { ...headers, ...part });
    if (failure.dropAfter === undefined) response.end(body.subarray(0, length));
    else response.write(body.subarray(0, failure.dropAfter), () => setTimeout(() => response.destroy(), 20));
  }

  #status(kind: Kind, path: string, response: ServerResponse): boolean {
    this.requests.push(`${kind} ${path}`);
    const failure = this.#take(kind);
    if (failure === undefined) return false;
    if (failure.status !== undefined) refuse(response, failure.status, failure.retryAfter);
    else
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 })
        .write('{"sha', () => response.destroy());
    return true;
  }
}

function refuse(response: ServerResponse, status: number, retryAfter?: number): void {
  const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
  response.writeHead(status, headers).end('no');
}

function json(response: ServerResponse, status: number, content: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}

/** A headless Chromium, and a server that gives its pages this project's files and hears what they found. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TYPES: Readonly<Record<string, string>> = {
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
};

/** The browser's command, or why there is none. */
export function findChromium(): { readonly command: string } | { readonly missing: string } {
  for (const command of [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome']) {
    if (!command) continue;
    try {
      execFileSync(command, ['--version'], { stdio: 'ignore', timeout: 30_000 });
      return { command };
    } catch {
      // The next one.
    }
  }
  return { missing: 'no Chromium: install it (apt-get install chromium) or set CHROMIUM' };
}

export interface SiteOptions {
  /** Whether its pages may share memory. */
  readonly isolated: boolean;
  /** The folder whose files it gives; this project's own by default. */
  readonly root?: string;
  /** What it gives in place of files, by path. */
  readonly pages?: Readonly<Record<string, string | Uint8Array>>;
}

/** A server of files. */
export class Site implements AsyncDisposable {
  private readonly arrived: unknown[] = [];
  private wake: () => void = () => {};
  /** Paths that were asked for, in order. */
  readonly asked: string[] = [];
  private readonly server;

  private constructor({ isolated, root = ROOT, pages = {} }: SiteOptions) {
    const headers = isolated
      ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
      : {};
    this.server = createServer((request, response) => {
      const path = decodeURIComponent(new URL(request.url!, 'http://localhost').pathname);
      if (path === '/found') {
        let body = '';
        request.on('data', (piece) => {
          body += piece;
        });
        request.on('end', () => {
          response.writeHead(204).end();
          this.arrived.push(JSON.parse(body));
          this.wake();
        });
        return;
      }
      this.asked.push(path);
      try {
        const file = path.endsWith('/') ? `${path}index.html` : path;
        const content = pages[path] ?? readFileSync(join(root, normalize(file)));
        const type = TYPES[extname(file)] ?? 'application/octet-stream';
        response.writeHead(200, { 'content-type': type, ...headers }).end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
  }

  static async open(options: SiteOptions): Promise<Site> {
    const site = new Site(options);
    await new Promise<void>((resolve) => site.server.listen(0, '127.0.0.1', resolve));
    return site;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** The next thing that a page posts to /found. */
  async found<Found>(): Promise<Found> {
    while (this.arrived.length === 0) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.arrived.shift() as Found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A profile of a browser, which outlives it: what its pages stored is there for the next one. */
export function newProfile(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-chromium-'));
  return {
    folder,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
}

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

/** No test takes as long: a page that stands still must not hold up whatever runs the tests. */
const LONGEST_MS = 300_000;

/** A browser with one page, steered over a pipe by the protocol of its developer tools. */
export class Browser implements AsyncDisposable {
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private readonly ended: Promise<void>;
  private last = 0;
  private session: string | undefined;

  private constructor(
    private readonly child: ChildProcess,
    longestMs: number,
  ) {
    this.ended = new Promise((resolve) => child.once('exit', () => resolve()));
    let text = '';
    const answers = child.stdio[4] as Readable;
    answers.setEncoding('utf8').on('data', (piece: string) => {
      const messages = (text + piece).split('\0');
      text = messages.pop()!;
      for (const message of messages) {
        const answer = JSON.parse(message) as Answer;
        if (answer.id !== undefined) this.waiting.get(answer.id)?.(answer);
      }
    });
    const limit = setTimeout(() => void this.kill(), longestMs);
    void this.ended.then(() => {
      clearTimeout(limit);
      for (const answer of this.waiting.values()) answer({ error: { message: 'the browser has ended' } });
    });
    (child.stdio[3] as Writable).on('error', () => {}); // said by its end
  }

  static async open(
    command: string,
    profile: string,
    flags: readonly string[] = [],
    longestMs = LONGEST_MS,
  ): Promise<Browser> {
    const args = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--mute-audio'];
    const child = spawn(
      command,
      [...args, ...flags, `--user-data-dir=${profile}`, '--remote-debugging-pipe'],
      {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
        detached: true,
      },
    );
    const browser = new Browser(child, longestMs);
    const { targetId } = await browser.send<{ targetId: string }>('Target.createTarget', {
      url: 'about:blank',
    });
    const attached = { targetId, flatten: true };
    ({ sessionId: browser.session } = await browser.send<{ sessionId: string }>(
      'Target.attachToTarget',
      attached,
    ));
    return browser;
  }

  /** A command of the protocol, to the page. */
  send<Result>(method: string, params: object = {}): Promise<Result> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) {
      return Promise.reject(new Error(`${method}: the browser has ended`));
    }
    const id = ++this.last;
    const session = this.session === undefined ? {} : { sessionId: this.session };
    return new Promise((resolve, reject) => {
      this.waiting.set(id, ({ result, error }) => {
        this.waiting.delete(id);
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result as Result);
      });
      (this.child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    });
  }

  /** What a page tells the site; rejects where the browser ends before. */
  found<Found>(site: Site): Promise<Found> {
    const early = this.ended.then(() => Promise.reject(new Error('the browser ended before its page did')));
    return Promise.race([site.found<Found>(), early]);
  }

  async goto(url: string): Promise<void> {
    const { errorText } = await this.send<{ errorText?: string }>('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  }

  /** The value of an expression in the page, awaited. */
  async evaluate<Value>(expression: string): Promise<Value> {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send<{
      result: { value: Value };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    }>('Runtime.evaluate', options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Kills it with all its processes, as a machine that loses power. */
  async kill(): Promise<void> {
    try {
      process.kill(-this.child.pid!, 'SIGKILL');
    } catch {
      // It has ended.
    }
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** What a page posts to /found. `isolated`: whether the page may share memory. */
export async function fromPage(command: string, html: string, isolated: boolean): Promise<unknown> {
  using profile = newProfile();
  await using site = await Site.open({ isolated, pages: { '/': html } });
  await using browser = await Browser.open(command, profile.folder);
  await browser.goto(site.url);
  return await browser.found(site);
}
